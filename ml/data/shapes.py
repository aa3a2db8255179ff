"""The regular expression that codes have in common: two capitals, a hyphen, three or four digits."""

import re
from itertools import groupby

import pandas as pd

CLASSES = ((str.isdigit, r"\d"), (str.isupper, "[A-Z]"), (str.islower, "[a-z]"))
MAX_PARTS = 12
MIN_VALUES = 20


def pattern_of(learned: pd.Series, rest: pd.Series) -> str:
    """Return the pattern that all values of two parts of a column obey; empty if they have none in common.

    It is made of the first part alone, each run of a class of characters with a length that may vary by one
    more than was seen.
    """
    values = sorted(set(learned.astype(str)))
    if len(values) < MIN_VALUES or not all(value.isascii() and '"' not in value for value in values):
        return ""
    parts = [_runs(value) for value in values]
    kinds = [kind for kind, _ in parts[0]]
    if len(kinds) > MAX_PARTS or any([kind for kind, _ in one] != kinds for one in parts):
        return ""
    pattern = "^" + "".join(_part(kind, [one[place][1] for one in parts]) for place, kind in enumerate(kinds))
    pattern += "$"
    return pattern if rest.astype(str).str.match(pattern).all() else ""


def _runs(value: str) -> list[tuple[str, int]]:
    return [(kind, len(list(run))) for kind, run in groupby(value, _class)]


def _class(sign: str) -> str:
    return next((name for test, name in CLASSES if test(sign)), re.escape(sign))


def _part(kind: str, lengths: list[int]) -> str:
    least, most = min(lengths), max(lengths)
    if least == most:
        return kind if least == 1 else f"{kind}{{{least}}}"
    return f"{kind}{{{max(1, least - 1)},{most + 1}}}"
