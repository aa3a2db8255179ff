"""The whole loop, played: a world that changes is noticed, learned and deployed; its clock is its own."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from ml import locations
from tests.conftest import VARIABLES
from tests.replay.clock import Clock
from tests.world import World

pytestmark = pytest.mark.slow
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


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """Write a project whose rows are of 2025, of a world with one rule."""
    folder = tmp_path / "projects" / "world"
    folder.mkdir(parents=True)
    (folder / "project.toml").write_text(SETTINGS, encoding="utf-8")
    (folder / "contract.py").write_text(CONTRACT, encoding="utf-8")
    (folder / "features.py").write_text('"""None."""\n', encoding="utf-8")
    (folder / "grid.json").write_text(
        '{"HistGradientBoostingClassifier": {"max_iter": [40], "max_leaf_nodes": [8]}}', encoding="utf-8"
    )
    world = World(7)
    days = np.sort(world.random.uniform(0, DAYS, DAYS * ROWS_A_DAY))
    rows = world.inputs(days)[["size", "age", "kind"]]
    rows["answer"] = (world.random.random(len(days)) < world.chance(rows)).astype(int)
    when = pd.Series(pd.Timestamp("2025-01-01") + pd.to_timedelta(days, unit="D"))
    rows.insert(0, "when", when.dt.strftime("%Y-%m-%dT%H:%M:%SZ"))
    rows.insert(0, "number", range(len(days)))
    rows.to_parquet(folder / "rows.parquet")
    return folder


def replay(project: Path, *options: str) -> tuple[str, dict[str, dict[str, object]]]:
    """Play the project from its fortieth day on; return what is printed, and what came of each policy."""
    environment = {name: value for name, value in os.environ.items() if name not in VARIABLES}
    environment |= {
        "ML_PROJECTS": str(project.parent),
        "LOKY_MAX_CPU_COUNT": "1",
        "PYTHONPATH": str(locations.ROOT),
    }
    into = project.parent.parent / "replay"
    command = [sys.executable, "-m", "tests.replay", "world", "--from", "2025-02-10", "--into", str(into)]
    done = subprocess.run(
        [*command, *options], env=environment, capture_output=True, text=True, cwd=locations.ROOT
    )
    assert done.returncode == 0, done.stdout + done.stderr
    found = [
        one
        for file in (into / "world").glob("*/played.json")
        for one in json.loads(file.read_text(encoding="utf-8"))
    ]
    assert (into / "world" / "replay.png").stat().st_size > 5000
    return done.stdout, {one["policy"]: one for one in found}


def test_a_world_that_changes_is_noticed_learned_and_deployed(project: Path) -> None:
    told, played = replay(project, "--only", "loop", "reckoned", "--inject", "concept:size@2025-02-13")
    assert set(played) == {"never", "loop", "oracle"}
    loop = played["loop"]
    assert loop["failed"] == loop["refused"] == 0
    assert len(loop["loss"]) == len(played["never"]["loss"])  # type: ignore[arg-type]
    assert re.search(
        r"concept: found \d+ hours after it began, a new version deployed \d+ hours later", told
    ), told
    means = {name: float(np.mean(one["loss"])) for name, one in played.items()}  # type: ignore[arg-type]
    assert means["loop"] < means["never"] - 0.02, told


def test_the_clock_of_a_replay_is_that_of_all_its_processes(tmp_path: Path) -> None:
    clock = Clock(tmp_path / "clock")
    environment = os.environ | clock.environment()
    environment["PYTHONPATH"] += f"{os.pathsep}{locations.ROOT}"
    asked = "import time, datetime; print(time.time(), datetime.datetime.now(datetime.UTC).timestamp())"
    script = f"""
import subprocess, sys, time
from tests.replay.clock import Clock
began = time.monotonic()
Clock.of_this_process().move_to(1.4e9)
{asked}
subprocess.run([sys.executable, "-c", {asked!r}])
print(time.monotonic() - began)
"""
    done = subprocess.run(
        [sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True
    )
    *moments, passed = (float(word) for word in done.stdout.split())
    assert len(moments) == 4 and all(0 <= one - 1.4e9 < 60 for one in moments)
    assert 0 <= passed < 60, "clocks that measure are not moved"
