"""The parts of the rows that a look judges: all, and each slice of the project."""

import numpy as np
import pandas as pd

from ml.monitoring.window import Answers
from ml.project import Project
from ml.quality.slices import slice_rows

ALL = ""  # the name of no slice


def parts_of(
    project: Project, reference: pd.DataFrame, rows: Answers
) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Return the rows of the reference and of the window for all, and for each slice that both have."""
    whole = (np.ones(len(reference), bool), np.ones(len(rows), bool))
    slices = project.gates.slices
    if not slices or not len(rows) or any(name not in rows.inputs for by in slices.by for name in by):
        return {ALL: whole}
    names = sorted({name for by in slices.by for name in by})
    before = slice_rows(reference, slices)
    alike = rows.inputs[names].assign(**{name: _like(reference[name], rows.inputs[name]) for name in names})
    now = slice_rows(alike, slices.model_copy(update={"min_rows": project.monitoring.min_rows}))
    return {ALL: whole} | {name: (before[name], now[name]) for name in before if name in now}


def _like(before: pd.Series, now: pd.Series) -> pd.Series:
    """Return a column with the type of the reference, so that its values have the same names."""
    try:
        return now.astype(before.dtype)
    except (TypeError, ValueError):  # whole numbers of which one is missing, a text among numbers
        return now
