"""The whole loop, played: a world that changes is noticed, learned and deployed; its clock is its own."""

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from ml import locations
from tests.replay.clock import Clock
from tests.replay.injected import parse
from tests.replay.small_world import replay

pytestmark = pytest.mark.slow


def test_a_world_that_changes_is_noticed_learned_and_deployed(tmp_path: Path) -> None:
    told, played = replay(tmp_path, "--only", "loop", "reckoned", "--inject", "concept:size@2025-02-13")
    assert set(played) == {"never", "loop", "oracle"}
    assert (tmp_path / "replay" / "world" / "replay.png").stat().st_size > 5000
    loop = played["loop"]
    assert loop.failed == loop.refused == 0
    assert len(loop.loss) == len(played["never"].loss)
    assert re.search(
        r"concept: found \d+ hours after it began, a new version deployed \d+ hours later", told
    ), told
    means = {name: float(np.mean(one.loss)) for name, one in played.items()}
    assert means["loop"] < means["never"] - 0.02, told


def test_a_sensor_that_breaks_leaves_the_labels_as_they_are() -> None:
    rows = pd.DataFrame({"kind": ["round", "square"], "answer": [1, 0]})
    for what in ("lower", "missing"):
        injected = parse(f"{what}:kind@2025-02-13")
        assert injected.labels(rows, "answer", injected.begins + 1, rows) == [1, 0]


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
