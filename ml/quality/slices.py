"""Slices: named parts of a table, e.g. women in third class."""

import numpy as np
import pandas as pd

from ml.errors import MlError
from ml.settings import Slices


def slice_rows(rows: pd.DataFrame, slices: Slices) -> dict[str, np.ndarray]:
    """Return the row mask of each slice with at least ``min_rows`` rows, by a name like ``Sex=female``.

    A column that the rows lack raises ``MlError``. Rows without a value are a slice of their own.
    """
    found: dict[str, np.ndarray] = {}
    for columns in slices.by:
        labels = pd.Series("", index=rows.index)
        for name in columns:
            if name not in rows:
                raise MlError(f"project.toml: gates.slices: no column '{name}' in the data")
            labels = labels + (", " if labels.iloc[0] else "") + _labels(rows[name], slices.bins.get(name))
        for label in sorted(labels.unique()):
            if (mask := (labels == label).to_numpy()).sum() >= slices.min_rows:
                found[label] = mask
    return found


def _labels(column: pd.Series, bins: list[float] | None) -> pd.Series:
    if bins is None:
        texts = column.astype(object).where(column.notna(), "missing").astype(str)
        return f"{column.name}=" + texts
    places = np.searchsorted(bins, column.to_numpy(), side="right")
    ends = ["-inf", *(f"{end:g}" for end in bins), "inf"]
    labels = [f"{column.name} {ends[place]} to {ends[place + 1]}" for place in places]
    return pd.Series(labels, index=column.index).where(column.notna(), f"{column.name}=missing")
