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
    """Return pairs of columns called like a start and an end, of which no row is the wrong way round."""
    kept = {guess.name: guess for guess in guesses if guess.kept and guess.role != "target"}
    found = []
    for first in kept:
        for second in _partners(first):
            if second in kept and second != first and _alike(kept[first], kept[second]):
                both = table[[first, second]].dropna()
                if len(both) and (both[first] <= both[second]).all():
                    found.append((first, second))
    return list(dict.fromkeys(found))


def _partners(name: str) -> list[str]:
    """Return what the column might be called that ends what this one begins."""
    return [
        re.sub(one, other, name)
        for start, end in ORDERED
        for one, other in ((start, end), (start.title(), end.title()))
    ]


def _alike(first: Guess, second: Guess) -> bool:
    numbers = {"int", "float"}
    return {first.kind, second.kind} <= numbers or first.role == second.role == "time"
