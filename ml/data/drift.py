"""How far a column has moved from a reference, and whether chance explains it.

A measure says how large a change is, its p-value how sure. Either alone misleads: in a large table every
change is certain, in a small one every measure is large.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd

from ml.data.rows import is_number

PERCENTILES = np.linspace(0, 1, 101)
BINS = 10
MAX_CATEGORIES = 20
FIRST_ROWS = 1000  # if these have more values than that, nobody counts those of all


@dataclass(frozen=True)
class Drift:
    """One measure of a column: ``psi``, ``ks`` or ``cramers_v``, and the probability of it by chance."""

    measure: str
    value: float
    p_value: float


def statistics(table: pd.DataFrame, personal: Sequence[str] = ()) -> dict[str, dict[str, Any]]:
    """Return what drift is measured against: per column missing rows, percentiles or the share of each value.

    No value of a column with more than ``MAX_CATEGORIES`` texts is told, and none of a personal one.
    """
    found: dict[str, dict[str, Any]] = {}
    for name in table:
        column = table[name]
        entry: dict[str, Any] = {"rows": len(column), "missing": int(column.isna().sum())}
        found[str(name)] = entry
        if name in personal:
            continue
        if is_number(column) and column.notna().any():
            # To sort is cheaper than what ``quantile`` does with values that are in no order.
            ordered = pd.Series(np.sort(column.dropna().to_numpy()))
            entry |= {
                "mean": float(column.mean()),
                "standard_deviation": float(column.std(ddof=0)),
                "percentiles": [float(value) for value in ordered.quantile(PERCENTILES)],
            }
        if column.head(FIRST_ROWS).nunique() > MAX_CATEGORIES:
            continue
        shares = column.value_counts(normalize=True)
        if len(shares) <= MAX_CATEGORIES:
            entry["shares"] = {str(value): float(share) for value, share in shares.sort_index().items()}
    return found


def measure(column: pd.Series, reference: dict[str, Any]) -> list[Drift]:
    """Return every drift measure that fits the column; none if either side has no values."""
    known = reference["rows"] - reference["missing"]
    values = column.dropna()
    if not known or values.empty:
        return []
    if "shares" in reference:
        counts = values.value_counts()  # and texts of these few, not of each row
        counts = counts.groupby(counts.index.astype(str)).sum()
        names = sorted(set(reference["shares"]) | set(counts.index))
        before = np.array([reference["shares"].get(name, 0.0) for name in names]) * known
        now = counts.reindex(names, fill_value=0).to_numpy(dtype=float)
        return [population_stability(before, now), _cramers_v(before, now)]
    if "percentiles" not in reference:
        return []
    percentiles, ordered = np.asarray(reference["percentiles"]), np.sort(values.to_numpy())
    now = binned(percentiles, ordered).astype(float)
    return [
        population_stability(_rows_before(percentiles, known), now),
        _ks(percentiles, known, ordered),
    ]


def binned(percentiles: np.ndarray, ordered: np.ndarray) -> np.ndarray:
    """Return how many values, which are in order, lie in each bin that percentiles of a reference cut."""
    upto = np.searchsorted(ordered, _edges(percentiles), side="right")
    return np.diff(upto, prepend=0, append=len(ordered))


def bins_of_rows(column: pd.Series, reference: dict[str, Any]) -> tuple[np.ndarray, np.ndarray] | None:
    """Return how many rows of the reference lie in each of its bins, and the bin of each row (-1: in none).

    The bins are those of ``measure``; none if it takes no measure.
    """
    known = reference["rows"] - reference["missing"]
    if "shares" in reference:
        codes, values = pd.factorize(column)
        bins = pd.Index(list(reference["shares"])).get_indexer(pd.Index(values).astype(str))
        return np.array(list(reference["shares"].values())) * known, np.append(bins, -1)[codes]
    if "percentiles" not in reference:
        return None
    percentiles = np.asarray(reference["percentiles"])
    numbers = column.to_numpy(float, na_value=np.nan)
    bins = np.where(np.isnan(numbers), -1, np.searchsorted(_edges(percentiles), numbers))
    return _rows_before(percentiles, known), bins


def _rows_before(percentiles: np.ndarray, known: int) -> np.ndarray:
    return binned(percentiles, percentiles) / len(percentiles) * known


def _edges(percentiles: np.ndarray) -> np.ndarray:
    return np.unique(percentiles[:: len(PERCENTILES) // BINS])[1:-1]


def population_stability(before: np.ndarray, now: np.ndarray) -> Drift:
    """Return the population stability index of two counts of the same bins.

    Source: Siddiqi, Credit Risk Scorecards (2006): below 0.1 no change, above 0.25 a large one. By chance
    psi / (1/n + 1/m) follows a chi-square distribution with bins - 1 degrees of freedom: Yurdakul & Naranjo,
    Statistical properties of the population stability index (2020). An empty bin counts as half a row.
    """
    if len(before) < 2:
        return Drift("psi", 0.0, 1.0)
    first, second = before.sum(), now.sum()
    old, new = np.maximum(before, 0.5) / first, np.maximum(now, 0.5) / second
    value = float(np.sum((new - old) * np.log(new / old)))
    return Drift("psi", value, float(_stats().chi2.sf(value / (1 / first + 1 / second), len(before) - 1)))


def _ks(percentiles: np.ndarray, known: int, ordered: np.ndarray) -> Drift:
    """Return the two-sample Kolmogorov-Smirnov distance, with the reference known to one percent.

    Between two percentiles its distribution function stands still, so the largest distance is at one of them
    or just before it. The p-value is the asymptotic one for the true numbers of rows: Smirnov (1948).
    """
    at = np.unique(percentiles)
    distance = max(
        float(np.abs(_share_below(ordered, at, side) - _share_below(percentiles, at, side)).max())
        for side in ("left", "right")
    )
    effective = known * len(ordered) / (known + len(ordered))
    return Drift("ks", distance, float(_stats().kstwobign.sf(distance * np.sqrt(effective))))


def _share_below(ordered: np.ndarray, at: np.ndarray, side: Literal["left", "right"]) -> np.ndarray:
    """Return the share of values below points (``right``: or equal to them)."""
    return np.searchsorted(ordered, at, side=side) / len(ordered)


def _cramers_v(before: np.ndarray, now: np.ndarray) -> Drift:
    """Return Cramér's V of reference against new rows, and the p-value of the chi-square test.

    Source: Cramér, Mathematical Methods of Statistics (1946), page 282; Cohen (1988) calls 0.1 small and 0.3
    medium.
    """
    counts = np.array([before, now])
    if counts.shape[1] < 2:
        return Drift("cramers_v", 0.0, 1.0)
    test = _stats().chi2_contingency(counts, correction=False)
    return Drift("cramers_v", float(np.sqrt(test.statistic / counts.sum())), float(test.pvalue))


def _stats() -> Any:
    """Return SciPy's statistics, which take a second to import and without a champion nobody asks for."""
    from scipy import stats

    return stats
