"""Columns of one row that are in order: a start before its end, a least before its greatest value."""

import re

import pandas as pd

from ml.data.infer import Guess

# What the names of two columns that are in order differ by
ORDERED = (
    ("start", "end"),
    ("begin", "end"),
    ("from", "to"),
    ("min", "max"),
    ("low", "high"),
    ("first", "last"),
    ("open", "close"),
    ("sent", "received"),
    ("arrival", "departure"),
    ("ordered", "delivered"),
)


def ordered_pairs(table: pd.DataFrame, guesses: list[Guess]) -> list[tuple[str, str]]:
    """Return pairs of columns of one kind, called like a start and an end, of which no row is the wrong way."""
    kept = {guess.name: guess for guess in guesses if guess.kept and guess.role != "target"}
    found = []
    for first in kept:
        for word, other in ORDERED:
            for second in (re.sub(word, other, first), re.sub(word.title(), other.title(), first)):
                if second == first or second not in kept or (first, second) in found:
                    continue
                if kept[first].kind not in ("int", "float") and kept[first].role != "time":
                    continue
                if kept[first].kind == kept[second].kind or "str" not in (
                    kept[first].kind,
                    kept[second].kind,
                ):
                    both = table[[first, second]].dropna()
                    if len(both) and (both[first] <= both[second]).all():
                        found.append((first, second))
    return found
