"""Quality that is estimated before labels come: held against NannyML, and against what came true."""

import json
import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from ml import locations
from ml.monitoring.estimate import estimate
from ml.project import Project
from tests.bench.causes import holds
from tests.world import Rows, World, project, project_of_numbers, rows_of_classes, rows_of_numbers

THEIRS = locations.ROOT / "tests" / "of_nannyml.py"
SHARPER = 2.0  # how much surer of itself than it may be the model of a test is


def cases() -> Iterator[tuple[str, Project, Rows, Rows]]:
    """Yield rows of models to estimate, before and now: calibrated, too sure of itself, of numbers."""
    for drift in (False, True):
        inputs = "other inputs" if drift else "the same inputs"
        for sharper in (1.0, SHARPER):
            world = World(5)
            before = rows_of_classes(world, 0, 60, 3000, sharper=sharper)
            now = rows_of_classes(world, 60, 67, 1400, drift=drift, sharper=sharper)
            yield f"{inputs}, {sharper} times as sure", project(), before, now
        world = World(6)
        before, now = rows_of_numbers(world, 0, 60, 3000), rows_of_numbers(world, 60, 67, 1400, drift=drift)
        yield f"{inputs}, numbers", project_of_numbers(), before, now


@pytest.mark.slow
def test_it_is_what_nannyml_estimates(tmp_path: Path) -> None:
    if not (python := os.environ.get("ML_NANNYML")):
        pytest.skip("ML_NANNYML names no Python that has NannyML 0.13")
    ours: dict[str, dict[str, float]] = {}
    for name, made, before, now in cases():
        (tmp_path / name).mkdir()
        before.reference.to_csv(tmp_path / name / "reference.csv", index=False)
        now.inputs.join(now.said).to_csv(tmp_path / name / "now.csv", index=False)
        estimated = estimate(made, before.reference, now.inputs, now.said)
        assert estimated
        ours[name] = estimated.metrics
    command = [python, "-W", "ignore", str(THEIRS), *ours]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    apart = []
    for name, theirs in json.loads(done.stdout.splitlines()[-1]).items():
        for metric, (value, error) in theirs.items():
            found = ours[name][{"mae": "mean_absolute_error"}.get(metric, metric)]
            assert abs(found - value) < 3 * error, f"{name}: {metric} {found}, by NannyML {value}"
            apart.append(abs(found - value) / value)
    assert np.median(apart) < 0.005, apart


@pytest.mark.slow
@pytest.mark.parametrize("drift", [False, True], ids=["the same inputs", "other inputs"])
@pytest.mark.parametrize("make", [rows_of_classes, rows_of_numbers])
def test_the_interval_of_an_estimate_holds_what_comes_true(make: Callable[..., Rows], drift: bool) -> None:
    held = [holds(make, seed, drift) for seed in range(5)]
    assert sum(held) >= 4, held
