"""What became of rows and columns from one version of the data to another."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ml.data.drift import Drift, binned, population_stability
from ml.data.row_index import Rows, asking

if TYPE_CHECKING:
    import duckdb


@dataclass(frozen=True)
class RowChanges:
    """How many rows came, went, say something else under the same id, and stayed as they were.

    Of rows that are ``read_otherwise`` (other columns, another order or types) that is not known: they have
    the id of a row before.
    """

    added: int
    removed: int
    changed: int
    same: int
    read_otherwise: int = 0

    def __str__(self) -> str:
        """Read like a sentence."""
        counts = f"{self.added:,} added, {self.removed:,} removed"
        if self.read_otherwise:
            return f"{counts}, {self.read_otherwise:,} with an id of before, whose columns are others by now"
        return f"{counts}, {self.changed:,} changed, {self.same:,} the same"


def row_changes(before: Rows, now: Rows) -> RowChanges:
    """Compare rows by their fingerprints, ``id`` and ``content``: no value is looked at."""
    counted = """SELECT count(*) FILTER (before.id IS NULL), count(*) FILTER (now.id IS NULL),
        count(*) FILTER (before.content <> now.content), count(*) FILTER (before.content = now.content)
        FROM before FULL JOIN now ON before.id = now.id"""
    with asking(now=now, before=before) as asked:
        changes = RowChanges(*asked.execute(counted).fetchall()[0])
        readings = [_reading(asked, name) for name in ("before", "now")]
    if None in readings or readings[0] == readings[1]:
        return changes
    return RowChanges(changes.added, changes.removed, 0, 0, changes.changed + changes.same)


def _reading(asked: "duckdb.DuckDBPyConnection", rows: str) -> int | None:
    """Return how rows were read; nothing of those that were fingerprinted before it was noted, or of none."""
    if "reading" not in {name for name, *_ in asked.execute(f"DESCRIBE {rows}").fetchall()}:
        return None
    found: int | None = asked.execute(f"SELECT any_value(reading) FROM {rows}").fetchall()[0][0]
    return found


@dataclass(frozen=True)
class ColumnChange:
    """A column before and now: its type, missing share and middle, and how far its distribution moved."""

    name: str
    before: str
    now: str
    moved: Drift | None = None


NOT_THERE = "not there"
Statistics = dict[str, dict[str, Any]]


def column_changes(
    before: Statistics, now: Statistics, types: dict[str, tuple[str, str]]
) -> list[ColumnChange]:
    """Return every column: those of one side, those that moved most; ``types`` are before and now."""
    found = list(_changes(before, now, types))
    elsewhere = [one for one in found if NOT_THERE in (one.before, one.now)]
    moved = sorted(
        (one for one in found if one.moved), key=lambda one: -one.moved.value if one.moved else 0.0
    )
    return elsewhere + moved + [one for one in found if one not in elsewhere and not one.moved]


def _changes(
    before: Statistics, now: Statistics, types: dict[str, tuple[str, str]]
) -> Iterator[ColumnChange]:
    for name in dict.fromkeys([*before, *now]):
        was, becomes = types.get(name, ("", ""))
        first = _told(before[name], was) if name in before else NOT_THERE
        second = _told(now[name], becomes) if name in now else NOT_THERE
        moved = psi(before[name], now[name]) if name in before and name in now else None
        yield ColumnChange(name, first, second, moved)


def psi(before: dict[str, Any], now: dict[str, Any]) -> Drift | None:
    """Return the population stability index of two columns of which only statistics are kept."""
    rows = [one["rows"] - one["missing"] for one in (before, now)]
    if not all(rows):
        return None
    if "shares" in before and "shares" in now:
        names = sorted({*before["shares"], *now["shares"]})
        shares = [np.array([one["shares"].get(name, 0.0) for name in names]) for one in (before, now)]
    elif "percentiles" in before and "percentiles" in now:
        points = [np.asarray(one["percentiles"]) for one in (before, now)]
        shares = [binned(points[0], one) / len(one) for one in points]
    else:
        return None
    return population_stability(shares[0] * rows[0], shares[1] * rows[1])


def _told(entry: dict[str, Any], dtype: str) -> str:
    parts = [dtype] if dtype else []
    if entry["rows"]:
        parts.append(f"{entry['missing'] / entry['rows']:.1%} missing")
    if "mean" in entry:
        parts.append(f"mean {entry['mean']:.4g}, deviation {entry['standard_deviation']:.4g}")
    elif entry.get("shares"):
        value, share = max(entry["shares"].items(), key=lambda one: one[1])
        parts.append(f"{len(entry['shares'])} values, {value} in {share:.0%}")
    return ", ".join(parts)
