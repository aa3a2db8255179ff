"""Is the model good for every part of the data, and does it treat people alike?"""

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest

from ml.console import rounded
from ml.project import Project
from ml.quality.metrics import RecordedPredictions, interval
from ml.training.scores import scorer

MIN_ROWS = 20  # of a value of a sensitive column


def test_slice(
    slice_name: str,
    gate: Callable[..., None],
    project: Project,
    positive: Any,
    slice_masks: dict[str, np.ndarray],
    recorded: RecordedPredictions,
    test_target: pd.Series,
    test_score: float,
    figures: dict[str, Any],
) -> None:
    """A slice reaches its floor and is not far below the whole; refused only if that is hardly chance."""
    slices, metric = project.gates.slices, project.training.metric
    assert slices
    if slices.floor is None and slices.max_gap is None:
        pytest.skip("project.toml sets neither gates.slices.floor nor max_gap")
    rows = np.flatnonzero(slice_masks[slice_name])
    target = test_target.to_numpy()[rows]
    if len(np.unique(target)) < 2:
        pytest.skip("all its rows have the same target")
    part = recorded.part(rows)
    value = float(scorer(metric, positive)(part, np.arange(len(rows)), target))
    low, high = interval(metric, part, target, project.seed, positive)
    figures.setdefault("slices", {})[slice_name] = {
        "rows": len(rows),
        "value": value,
        "low": low,
        "high": high,
    }
    least = [slices.floor] if slices.floor is not None else []
    least += [test_score - slices.max_gap] if slices.max_gap is not None else []
    note = f"({len(rows)} rows; all rows {rounded(test_score)})"
    gate("slice", slice_name, value, at_least=max(least), interval=(low, high), if_sure=True, note=note)


def test_selection_rates(
    sensitive: str,
    gate: Callable[..., None],
    declared: Callable[..., float],
    project: Project,
    recorded: RecordedPredictions,
    test_rows: pd.DataFrame,
) -> None:
    """No value of a sensitive column gets a class much more often than another (demographic parity)."""
    assert project.gates.fairness
    most = declared(
        project.gates.fairness.max_selection_rate_difference, "fairness.max_selection_rate_difference"
    )
    groups = _groups(test_rows, sensitive)
    assert recorded.classes_ is not None
    spread = max(
        np.ptp([(recorded.predictions[rows] == label).mean() for rows in groups.values()])
        for label in recorded.classes_
    )
    gate("fairness", f"selection rates by {sensitive}", float(spread), at_most=most)


def test_error_rates(
    sensitive: str,
    gate: Callable[..., None],
    declared: Callable[..., float],
    project: Project,
    recorded: RecordedPredictions,
    test_rows: pd.DataFrame,
    test_target: pd.Series,
) -> None:
    """No value of a sensitive column is misjudged much more often than another."""
    assert project.gates.fairness
    most = declared(project.gates.fairness.max_error_rate_difference, "fairness.max_error_rate_difference")
    wrong = recorded.predictions != test_target.to_numpy()
    spread = np.ptp([wrong[rows].mean() for rows in _groups(test_rows, sensitive).values()])
    gate("fairness", f"error rates by {sensitive}", float(spread), at_most=most)


def _groups(rows: pd.DataFrame, column: str) -> dict[Any, np.ndarray]:
    assert column in rows, f"gates.fairness: no column '{column}' in the data"
    groups = rows.reset_index(drop=True).groupby(column).indices
    large = {value: numbers for value, numbers in groups.items() if len(numbers) >= MIN_ROWS}
    if len(large) < 2:
        pytest.skip(f"fewer than two values of {column} have {MIN_ROWS} rows")
    return large
