"""Is the model fast and small enough, and does it say here what it said where it was trained?"""

import statistics
import time
from collections.abc import Callable

import pandas as pd

from ml.model import Bundle
from ml.project import Project
from ml.workspace import Workspace


def test_predicts_as_in_training(gate: Callable[..., None], candidate: Bundle) -> None:
    """The pickle, loaded in this process, repeats the training process's predictions to the last bit."""
    gate("pickle: largest difference to the training process", candidate.replay_golden(), at_most=0.0)


def test_seconds_per_row(
    gate: Callable[..., None],
    declared: Callable[..., float],
    project: Project,
    candidate: Bundle,
    test_rows: pd.DataFrame,
) -> None:
    """One batch of all held-out rows is fast."""
    most = declared(project.gates.max_seconds_per_row, "max_seconds_per_row")
    gate("speed: seconds per row", _median_seconds(candidate, test_rows) / len(test_rows), at_most=most)


def test_seconds_per_request(
    gate: Callable[..., None],
    declared: Callable[..., float],
    project: Project,
    candidate: Bundle,
    test_rows: pd.DataFrame,
) -> None:
    """One row alone is fast (R31)."""
    most = declared(project.gates.max_seconds_per_request, "max_seconds_per_request")
    gate("speed: seconds per request", _median_seconds(candidate, test_rows.head(1)), at_most=most)


def test_size(
    gate: Callable[..., None], declared: Callable[..., float], project: Project, workspace: Workspace
) -> None:
    """The pickle fits where it shall run (R33)."""
    most = declared(project.gates.max_model_bytes, "max_model_bytes")
    gate("size: bytes of model.pkl", (workspace.folder("train") / "model.pkl").stat().st_size, at_most=most)


def _median_seconds(candidate: Bundle, rows: pd.DataFrame, repeats: int = 9) -> float:
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        candidate.predict(rows)
        times.append(time.perf_counter() - start)
    return statistics.median(times)
