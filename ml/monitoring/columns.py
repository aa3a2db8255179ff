"""What became of each input column: the same, moved, or broken; in all rows and in each slice."""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
from pandas.api import types
from scipy import stats

from ml.data.drift import MAX_CATEGORIES, Drift, bins_of_rows, measure, population_stability, statistics
from ml.data.rows import is_number
from ml.monitoring_settings import Monitoring

# A share of one value that makes a column constant, and what it must have been below for as many rows.
CONSTANT, NOT_CONSTANT = 0.98, 0.9
# From this distance of Kolmogorov and Smirnov between two blocks of rows that follow each other it is a jump,
# if it is as many times what it is elsewhere.
JUMP, USUAL_RATIO = 0.5, 1.5
BLOCKS, MIN_BLOCK, MIN_STEPS = 30, 50, 8
BLOCKS_OF_MOVES = 10  # of the reference, at least
# Values beyond what was ever seen by this many of its ranges, in most rows, are none that nature sends.
BEYOND, MAX_BEYOND = 0.5, 0.5
ISO_DAY = re.compile(r"\d{4}-\d{2}-\d{2}")


@dataclass(frozen=True)
class ColumnLook:
    """One column in one part of the rows: its measures, and in what it is ``broken`` (or nothing).

    ``part`` names a slice; it is empty for all rows. ``strange`` tells of rows whether they are of those that
    make the column broken.
    """

    column: str
    part: str
    rows: int
    missing: float
    missing_before: float
    measures: tuple[Drift, ...]
    moved: bool
    broken: str = ""
    strange: Callable[[pd.Series], np.ndarray] | None = None

    @property
    def psi(self) -> float | None:
        """The population stability index, if it could be taken."""
        return next((one.value for one in self.measures if one.measure == "psi"), None)


class Reference:
    """The reference of one column in one part of the rows, with what is asked of it more than once."""

    def __init__(self, column: pd.Series) -> None:
        """Refer to the values before; numbers become floats, as JSON tells whole ones without a point."""
        self.numeric = is_number(column)
        self.column = column.astype(float) if self.numeric else column

    @cached_property
    def known(self) -> pd.Series:
        """The values that are there."""
        return self.column.dropna()

    @cached_property
    def missing(self) -> float:
        """The share of rows without a value."""
        return float(self.column.isna().mean()) if len(self.column) else 0.0

    @cached_property
    def statistics(self) -> dict[str, Any]:
        """What drift is measured against."""
        return statistics(self.column.to_frame())[str(self.column.name)]

    @cached_property
    def values(self) -> set[Any]:
        """The distinct values, as texts."""
        return set(self.statistics.get("shares") or self.known.astype(str).unique())

    def usual_move(self, rows: int) -> float:
        """Return the largest stability index of so many rows in a row, or of a tenth if that is less.

        A warm week is another one than the weeks before, and no drift.
        """
        size = min(rows, len(self.column) // BLOCKS_OF_MOVES)
        if size < MIN_BLOCK:
            return 0.0
        if (found := bins_of_rows(self.column, self.statistics)) is None:
            return 0.0
        before, bins = found
        starts = range(0, len(bins) - size + 1, max(1, size // 2))
        blocks = (bins[start : start + size] for start in starts)
        counts = (np.bincount(block[block >= 0], minlength=len(before)) for block in blocks)
        return max((population_stability(before, one).value for one in counts if one.any()), default=0.0)

    def spell(self, strange: Callable[[pd.Series], np.ndarray], rows: int) -> float:
        """Return the largest share of strange rows that so many rows in a row ever had.

        Weather, holidays and outages come in spells: what is rare in the long run is not rare for a day.
        """
        total = np.concatenate([[0], np.cumsum(strange(self.column))])
        rows = min(rows, len(self.column))
        return float((total[rows:] - total[:-rows]).max() / rows) if rows else 0.0


@dataclass(frozen=True)
class SeenElsewhere:
    """What a column had in the rows just before, or in other slices: that is nothing strange.

    Seasons take numbers where the reference never was, step by step.
    """

    low: float = float("inf")
    high: float = float("-inf")
    values: frozenset[str] = frozenset()


def seen_elsewhere(*columns: pd.Series) -> SeenElsewhere:
    """Return what columns had: the range of numbers, else the distinct values."""
    known = [one.dropna() for one in columns if one.notna().any()]
    if known and all(is_number(one) for one in known):
        return SeenElsewhere(min(float(one.min()) for one in known), max(float(one.max()) for one in known))
    return SeenElsewhere(values=frozenset(value for one in known for value in one.astype(str).unique()))


def look(
    reference: pd.Series,
    column: pd.Series,
    settings: Monitoring,
    alpha: float,
    part: str = "",
    elsewhere: SeenElsewhere | None = None,
) -> ColumnLook:
    """Return what became of a column; ``alpha`` is how seldom chance alone may say that it changed.

    It moved, as a whole. Broken is it by its newest rows: missing, constant, full of unseen categories or of
    impossible numbers; each only if its size says so and chance does not explain it. ``jump`` tells of one
    that changed at once.
    """
    before = Reference(reference)
    now = _as_before(before, column)
    found = tuple(measure(now, before.statistics)) if len(before.known) else ()
    surely = [one for one in found if one.p_value < alpha]
    moved = any(
        one.measure == "psi" and one.value >= settings.max_psi and one.value > before.usual_move(len(now))
        for one in surely
    )
    broken, strange = "", None
    newest = now.tail(newest_rows(len(now), settings.min_rows))
    for broken, strange in _faults(before, newest, elsewhere or SeenElsewhere(), settings, alpha):
        break
    missing = float(now.isna().mean()) if len(now) else 0.0
    return ColumnLook(
        str(reference.name), part, len(now), missing, before.missing, found, moved, broken, strange
    )


def _as_before(before: Reference, column: pd.Series) -> pd.Series:
    """Return the column with the type of the reference: what is no number any more is missing."""
    return pd.to_numeric(column, errors="coerce").astype(float) if before.numeric else column


def is_time(column: pd.Series) -> bool:
    """Tell whether a column holds moments: those of tomorrow were never seen before, and that is right."""
    if types.is_datetime64_any_dtype(column):
        return True
    known = column.dropna().head(100)
    return not known.empty and all(isinstance(one, str) and ISO_DAY.match(one) for one in known)


def newest_rows(rows: int, least: int) -> int:
    """Return how many of the newest rows tell whether a column is broken now: a day of a week."""
    return max(least, rows // 7)


def _faults(
    before: Reference, now: pd.Series, seen: SeenElsewhere, settings: Monitoring, alpha: float
) -> Iterator[tuple[str, Callable[[pd.Series], np.ndarray]]]:
    """Yield what is broken, the plainest first, and what tells the rows that make it so."""
    if now.empty:
        return
    missing = _missing(now)
    share = float(missing.mean())
    most = share - settings.max_missing_increase
    if most > 0 and (usual := before.spell(_missing, len(now))) < most and _rarely(missing, usual, alpha):
        yield f"missing in {share:.0%} of the rows, before in {before.missing:.0%}", _missing
    known = now[~missing]
    if known.empty or before.known.empty:
        return
    counts = known.value_counts()
    common = counts.index[0]
    top = float(counts.iloc[0] / len(known))

    def same(column: pd.Series) -> np.ndarray:
        return np.asarray(column == common)

    if top >= CONSTANT and len(known) >= settings.min_rows and before.spell(same, len(now)) < NOT_CONSTANT:
        yield f"{common} in {top:.0%} of the rows", same
    if before.numeric:
        low, high = min(before.known.min(), seen.low), max(before.known.max(), seen.high)
        slack = BEYOND * (high - low)

        def outside(column: pd.Series) -> np.ndarray:
            return np.asarray((column < low - slack) | (column > high + slack))

        beyond = outside(now)
        if float(beyond.mean()) > MAX_BEYOND and _rarely(beyond, 1 / len(before.known), alpha):
            extreme = now[beyond].median()
            yield f"{beyond.mean():.0%} beyond {low:g} to {high:g}, about {extreme:g}", outside
    elif len(before.values) <= max(MAX_CATEGORIES, len(before.known) // 20):
        known_values = before.values | seen.values

        def unseen(column: pd.Series) -> np.ndarray:
            return np.asarray(~column.astype(str).isin(known_values) & column.notna())

        new = unseen(now)
        if float(new.mean()) > settings.max_unseen and _rarely(new, 3 / len(before.known), alpha):
            kinds = now[new].astype(str).value_counts()
            yield f"{new.mean():.0%} of values never seen before, as {kinds.index[0]!r}", unseen


def _missing(column: pd.Series) -> np.ndarray:
    return np.asarray(column.isna())


def seldom(happened: int, of: int, share: float, alpha: float) -> bool:
    """Tell whether what has at least this share would happen so seldom only by a chance below alpha."""
    return bool(stats.binom.cdf(happened, of, share) < alpha)


def _rarely(happened: np.ndarray, share: float, alpha: float) -> bool:
    """Tell whether what has this share would happen so often only by a chance below alpha (binomial)."""
    return bool(stats.binom.sf(int(happened.sum()) - 1, len(happened), min(max(share, 1e-9), 1)) < alpha)


def jump(reference: pd.Series, earlier: pd.Series, now: pd.Series) -> int | None:
    """Return the row of a window at which numbers became other ones from one row to the next, if they did.

    Each block of rows is compared with the one after it (Kolmogorov and Smirnov): nature moves on between
    two blocks as it did before, a unit that was exchanged moves like nothing did. What follows must differ
    from the reference, too: the way back is no fault.
    """
    before = Reference(reference)
    if not before.numeric:
        return None
    values = pd.concat([_as_before(before, earlier), _as_before(before, now)], ignore_index=True).dropna()
    size = max(MIN_BLOCK, len(values) // BLOCKS)
    steps = np.arange(size, len(values) - size + 1, max(1, size // 4))
    if len(steps) < MIN_STEPS:
        return None
    found = values.to_numpy()
    distances = np.array([_distance(found[at - size : at], found[at : at + size]) for at in steps])
    best = int(distances.argmax())
    at = steps[best]
    if distances[best] < JUMP or _distance(before.known.to_numpy(), found[at:]) < JUMP:
        return None
    usual = [*distances[np.abs(steps - at) >= size], *_spells(before.known.to_numpy(), size)]
    if usual and distances[best] < USUAL_RATIO * max(usual):
        return None
    return max(int(values.index[at]) - len(earlier), 0)


def _spells(before: np.ndarray, size: int) -> list[float]:
    """Return how far blocks of the reference are from those before: fog comes from one row to the next."""
    steps = range(size, len(before) - size + 1, max(1, size // 4))
    return [_distance(before[at - size : at], before[at : at + size]) for at in steps]


def far(reference: pd.Series, now: pd.Series) -> bool:
    """Tell whether numbers are still as far from the reference as a jump takes them."""
    before = Reference(reference)
    values = _as_before(before, now).dropna().to_numpy() if before.numeric else np.array([])
    return bool(len(values)) and _distance(before.known.to_numpy(), values) >= JUMP


def _distance(one: np.ndarray, other: np.ndarray) -> float:
    """Return the largest distance of two distribution functions: Smirnov (1948)."""
    both = np.sort(np.concatenate([one, other]))
    first = np.searchsorted(np.sort(one), both, side="right") / len(one)
    second = np.searchsorted(np.sort(other), both, side="right") / len(other)
    return float(np.abs(first - second).max())


def onset(strange: np.ndarray) -> int:
    """Return the row from which on strange rows are frequent: the largest cumulated deviation.

    Source: Page's cumulative sums (1954), from the end of the series.
    """
    if strange.all() or not strange.any():
        return 0
    deviations = np.cumsum(strange - strange.mean())[:-1]  # the last one is zero, but for rounding
    return int(deviations.argmin()) + 1 if deviations.min() < 0 else 0
