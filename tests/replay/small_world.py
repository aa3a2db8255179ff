"""A small project whose rows are of 2025, of a world with one rule: the whole loop, played in a minute."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd

from ml import locations
from tests.conftest import VARIABLES
from tests.replay.play import Played
from tests.world import World

BEGINS = "2025-02-10"  # of the replay: its fortieth day
DAYS, ROWS_A_DAY = 58, 120
SETTINGS = """
title = "A world"
task = "classification"
target = "answer"
id = "number"

[source]
kind = "files"
labelled = "rows.parquet"

[split]
kind = "time"
by = "when"
test_share = 0.3
max_test_days = 4
gap_days = 1

[features]
numeric = ["size", "age"]
categorical = ["kind"]

[training]
metric = "roc_auc"
folds = 3
windows_days = [8]

[gates.floors]
roc_auc = 0.55

[canary]
mode = "shadow"
seconds = 1
min_requests = 30
replay = true
latency_slack_seconds = 10  # this machine has other work
max_share_change = 1.0
max_changed = 1.0

[monitoring]
train_on = ["concept", "drift and concept"]
min_new_labels = 200
cool_down_days = 3

[channels]
production = 8000
"""
CONTRACT = '''
"""What a row of the world must satisfy."""

import pandera.pandas as pa


class Rows(pa.DataFrameModel):
    """One row."""

    number: int = pa.Field(unique=True, ge=0)
    when: str = pa.Field(str_matches=r"^2025-", metadata={"example": "2025-01-01T00:00:00Z"})
    size: float = pa.Field(ge=0, le=1000)
    age: int = pa.Field(ge=0, le=120)
    kind: str = pa.Field(isin=["round", "square", "long"])
    answer: int = pa.Field(isin=[0, 1])

    class Config:
        """No other columns."""

        strict = "filter"
'''


def write_project(folder: Path, seed: int) -> None:
    """Write the project ``world``."""
    folder.mkdir(parents=True)
    (folder / "project.toml").write_text(SETTINGS, encoding="utf-8")
    (folder / "contract.py").write_text(CONTRACT, encoding="utf-8")
    (folder / "features.py").write_text('"""None."""\n', encoding="utf-8")
    (folder / "grid.json").write_text(
        '{"HistGradientBoostingClassifier": {"max_iter": [40], "max_leaf_nodes": [8]}}', encoding="utf-8"
    )
    world = World(seed)
    days = np.sort(world.random.uniform(0, DAYS, DAYS * ROWS_A_DAY))
    rows = world.inputs(days)[["size", "age", "kind"]]
    rows["answer"] = (world.random.random(len(days)) < world.chance(rows)).astype(int)
    when = pd.Series(pd.Timestamp("2025-01-01") + pd.to_timedelta(days, unit="D"))
    rows.insert(0, "when", when.dt.strftime("%Y-%m-%dT%H:%M:%SZ"))
    rows.insert(0, "number", range(len(days)))
    rows.to_parquet(folder / "rows.parquet")


def replay(root: Path, *options: str, seed: int = 7) -> tuple[str, dict[str, Played]]:
    """Play the project in a folder; return what is printed, and what came of each policy."""
    write_project(root / "projects" / "world", seed)
    environment = {name: value for name, value in os.environ.items() if name not in VARIABLES}
    environment |= {
        "ML_PROJECTS": str(root / "projects"),
        "LOKY_MAX_CPU_COUNT": "1",
        "PYTHONPATH": str(locations.ROOT),
    }
    into = root / "replay"
    command = [sys.executable, "-m", "tests.replay", "world", "--from", BEGINS, "--into", str(into)]
    done = subprocess.run(
        [*command, *options], env=environment, capture_output=True, text=True, cwd=locations.ROOT
    )
    assert done.returncode == 0, done.stdout + done.stderr
    found = [
        Played(**one)
        for file in (into / "world").glob("*/played.json")
        for one in json.loads(file.read_text(encoding="utf-8"))
    ]
    return done.stdout, {one.policy: one for one in found}
