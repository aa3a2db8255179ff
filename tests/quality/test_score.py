"""Is the model good enough, does it generalise, and is it no worse than the champion?"""

from collections.abc import Callable

import pandas as pd
import pytest

from ml.metrics import RecordedPredictions, interval, scorer
from ml.model import Bundle
from ml.project import Project, find_project


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Make one test of every floor the project declares."""
    if "floor_metric" in metafunc.fixturenames:
        floors = find_project(metafunc.config.getoption("--project")).gates.floors
        metafunc.parametrize("floor_metric", sorted(floors))


def test_floor(
    floor_metric: str,
    gate: Callable[..., None],
    project: Project,
    recorded: RecordedPredictions,
    test_target: pd.Series,
) -> None:
    """A score on the held-out rows is at least its floor."""
    target = test_target.to_numpy()
    value = scorer(floor_metric)(recorded, list(range(len(target))), target)
    gate(
        f"floor: {floor_metric}",
        value,
        at_least=project.gates.floors[floor_metric],
        interval=interval(floor_metric, recorded, target, project.seed),
    )


def test_gap_between_training_and_test(
    gate: Callable[..., None],
    declared: Callable[..., float],
    project: Project,
    candidate: Bundle,
    test_rows: pd.DataFrame,
    test_target: pd.Series,
) -> None:
    """The model does not know its training rows by heart (R31)."""
    most = declared(project.gates.max_gap, "max_gap")
    metric = project.training.metric
    test_score = scorer(metric)(candidate.pipeline, test_rows, test_target)
    gate(
        f"gap: training minus test {metric}", candidate.manifest["training_score"] - test_score, at_most=most
    )


def test_no_worse_than_the_champion(
    gate: Callable[..., None],
    declared: Callable[..., float],
    project: Project,
    candidate: Bundle,
    champion: Bundle | None,
    test_rows: pd.DataFrame,
    test_target: pd.Series,
) -> None:
    """Both are scored on the same held-out rows, today's."""
    tolerance = declared(project.gates.champion_tolerance, "champion_tolerance")
    if champion is None:
        pytest.skip("the channel has no other champion")
    metric = project.training.metric
    ours, theirs = (scorer(metric)(model.pipeline, test_rows, test_target) for model in (candidate, champion))
    gate(f"champion: {metric}", ours, at_least=theirs - tolerance, note=f"(the champion scores {theirs:.4f})")
