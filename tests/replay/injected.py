"""What goes wrong on purpose in a replay, from a day on: with sensors, with labels, with the world."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from ml.errors import MlError

Rows = pd.DataFrame
# Of the rows below the median so many do not come any more when inputs move.
GONE = 0.9


def _constant(rows: Rows, column: str, all_rows: Rows) -> Rows:
    return rows.assign(**{column: all_rows[column].dropna().iloc[0]})


def _missing(rows: Rows, column: str, _: Rows) -> Rows:
    return rows.assign(**{column: None})


def _halved(rows: Rows, column: str, _: Rows) -> Rows:
    return rows.assign(**{column: (rows[column] / 2).astype(rows[column].dtype)})


def _lower(rows: Rows, column: str, _: Rows) -> Rows:
    return rows.assign(**{column: rows[column].str.lower()})


def _fewer(rows: Rows, column: str, all_rows: Rows) -> Rows:
    low = (rows[column] < all_rows[column].median()).to_numpy()
    stays = np.random.default_rng(len(rows)).random(len(rows)) >= GONE
    return rows[~low | stays]


def _same(rows: Rows, _: str, __: Rows) -> Rows:
    return rows


def _true(label: Any, _: bool, __: list[Any]) -> Any:
    return label


def _another(label: Any, high: bool, classes: list[Any]) -> Any:
    """Return another class than the true one where the column is high: the world has another rule."""
    return classes[(classes.index(label) + 1) % len(classes)] if high else label


def _none(_: Any, __: bool, ___: list[Any]) -> Any:
    return None


def _first(_: Any, __: bool, classes: list[Any]) -> Any:
    return classes[0]


@dataclass(frozen=True)
class Kind:
    """A cause that a look should name, and what brings it about."""

    cause: str
    rows: Callable[[Rows, str, Rows], Rows] = _same
    label: Callable[[Any, bool, list[Any]], Any] = _true


KINDS = {
    "constant": Kind("broken feed", _constant),
    "missing": Kind("broken feed", _missing),
    "halved": Kind("broken feed", _halved),
    "lower": Kind("broken feed", _lower),
    "drift": Kind("drift", _fewer),
    "concept": Kind("concept", label=_another),
    "stopped": Kind("labels", label=_none),
    "flooded": Kind("labels", label=_first),
}


@dataclass(frozen=True)
class Injected:
    """A kind, the column it happens to, and from when on (Unix time)."""

    kind: Kind
    column: str
    begins: float

    def rows(self, rows: Rows, at: float, all_rows: Rows) -> Rows:
        """Return what a client sends at a time, instead of what it would have sent."""
        return self.kind.rows(rows, self.column, all_rows) if at >= self.begins else rows

    def labels(self, rows: Rows, target: str, at: float, all_rows: Rows) -> list[Any]:
        """Return what comes true of rows, or is said to; none for a label that does not come."""
        truth = rows[target].tolist()
        if at < self.begins or self.kind.label is _true:
            return truth
        classes = sorted(set(all_rows[target].tolist()))
        high = [False] * len(rows)
        if self.column:
            high = (rows[self.column] > all_rows[self.column].median()).tolist()
        return [self.kind.label(one, above, classes) for one, above in zip(truth, high, strict=True)]

    def truth(self, rows: Rows, target: str, at: float, all_rows: Rows) -> list[Any]:
        """Return what comes true of rows, whether anybody tells it or not: a wrong label is not the world."""
        if self.kind.cause == "labels":
            return list(rows[target].tolist())
        return self.labels(rows, target, at, all_rows)


NOTHING = Injected(Kind("nothing"), "", float("inf"))


def parse(text: str | None) -> Injected:
    """Return what ``KIND:COLUMN@DAY`` says (labels need no column); anything else raises ``MlError``."""
    if not text:
        return NOTHING
    what, _, day = text.partition("@")
    kind, _, column = what.partition(":")
    try:
        return Injected(KINDS[kind], column, pd.Timestamp(day, tz="UTC").timestamp())
    except (KeyError, ValueError) as error:
        raise MlError(
            f"{text!r} is nothing to inject: write KIND:COLUMN@2013-07-01, KIND one of {', '.join(KINDS)}"
        ) from error
