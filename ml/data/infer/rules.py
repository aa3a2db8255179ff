"""The rules of a column: guessed on some rows, proved on the others, weakened until they hold there."""

import math
import re
from typing import Any

import numpy as np
import pandas as pd

from ml.data.infer.draft import Kind
from ml.data.infer.kinds import DAY_OF_MONTH, HOUR_AND_MINUTE, MONTH, date_shape

LEAST_SPAN = 1e-300  # below it the step of a range would be 0
SLACK = 2.0  # a range ends so many times as far from the median as the values seen
LONG_TAIL, LONG_TAIL_SLACK = 2.0, 4.0  # times as far out as nine tenths of the values; then it ends so far
MIN_MARKED = 0.01  # of the values, for one that may stand for a gap
MIN_BESIDE_MARKER = 10  # different others: among fewer, far away means little
MAX_WIDER = 4  # times that a refuted range is widened before it is given up
MIN_SEEN = 5  # of each value, in the rows that a list of values is guessed from
MIN_SHARE_SEEN = 0.03  # where one value is rarer, others may come
MAX_LISTED = 40
MAX_LETTERS = 40  # of a value in a list
COMMON_END = 0.03  # share of rows on the first or last of few whole numbers: a scale that ends there
MAX_SCALE = 20
MIN_ALIKE = 20  # different categories: fewer tell too little of what others look like
MAX_PARTS = 12  # of a regular expression

Rules = tuple[dict[str, Any], tuple[str, ...]]
# In the pattern of dates: what lets a thirteenth month or a 25th hour pass, and what does not
POSSIBLE = (
    (r"\d{4}-\d{2}-\d{2}", rf"\d{{4}}-{MONTH}-{DAY_OF_MONTH}"),
    (r"\d{4}/\d{2}/\d{2}", rf"\d{{4}}/{MONTH}/{DAY_OF_MONTH}"),
    (r"\d{2}:\d{2}", HOUR_AND_MINUTE),
)
# From strict to loose: which characters count as the same
ALPHABETS = (
    ("\\d", "[A-Z]", "[a-z]"),
    ("\\d", "[A-Za-z]"),
    ("[0-9a-f]",),
    ("[0-9A-F]",),
    ("[A-Z0-9]",),
    ("[A-Za-z0-9]",),
)


def rules_of(kind: Kind, guess: pd.Series, rest: pd.Series, date_format: str | None = None) -> Rules:
    """Return what every value must satisfy, in pandera's names, and what did not hold in the other rows."""
    guess, rest = guess.dropna(), rest.dropna()
    if guess.empty:
        return {}, ()
    if kind in ("number", "whole number"):
        rules, notes = number_rules(guess, rest)
        return rules, (*notes, *_told_markers(pd.concat([guess, rest])))
    return text_rules(kind, guess.astype(str), rest.astype(str), date_format)


def number_rules(guess: pd.Series, rest: pd.Series) -> Rules:
    """Return a range with slack; of a scale with few common steps, its ends."""
    whole = bool((guess % 1 == 0).all() and (rest % 1 == 0).all())
    values = sorted(guess.unique())
    if whole and len(values) == 2 and set(rest) <= set(values) and guess.value_counts().min() >= MIN_SEEN:
        return {"isin": [int(one) for one in values]}, ()
    low, high = float(guess.min()), float(guess.max())
    if whole and len(values) <= MAX_SCALE and _is_scale(guess, low, high) and rest.between(low, high).all():
        # Where counting begins with 1, a 0 is what "none of them" is often written as.
        return {"ge": 0 if low == 1 else int(low), "le": int(high)}, ()
    if not whole and low >= 0 and 0.5 < high <= 1 and rest.between(0, 1).all():
        return {"ge": 0, "le": 1}, ()
    return _range(guess, rest, whole)


def _told_markers(values: pd.Series) -> tuple[str, ...]:
    """Tell of a lowest or highest number that is far from all others and frequent, as -999 for a gap.

    The range has it all the same: the rows have it, until their source says that it is a gap.
    """
    told = []
    for marker in (values.min(), values.max()):
        others = values[values != marker]
        marked = len(values) - len(others)
        if others.nunique() < MIN_BESIDE_MARKER or marked < max(MIN_SEEN, MIN_MARKED * len(values)):
            continue
        if min(abs(others.min() - marker), abs(others.max() - marker)) > others.max() - others.min():
            told.append(
                f"{marked / len(values):.0%} are exactly {marker:.15g}, far from all others "
                f"({others.min():g} to {others.max():g}): if it stands for a gap, say in [source] "
                f'format = {{ empty = ["{marker:.15g}"] }}, and in contract.py nullable=True, and a range'
            )
    return tuple(told)


def _is_scale(values: pd.Series, low: float, high: float) -> bool:
    steps = values.nunique() == high - low + 1
    return steps and all((values == end).mean() >= COMMON_END for end in (low, high))


def _range(guess: pd.Series, rest: pd.Series, whole: bool) -> Rules:
    middle, low, high = float(guess.median()), float(guess.min()), float(guess.max())
    below, above = (_slack(guess, end, share) for end, share in ((low, 0.1), (high, 0.9)))
    notes: list[str] = []
    never_below_zero = low >= 0 and not (rest < 0).any()
    for _ in range(MAX_WIDER):
        ends = _rounded(middle - below * (middle - low), middle + above * (high - middle), whole)
        ge = 0 if ends[0] < 0 and never_below_zero else ends[0]
        outside = rest[(rest < ge) | (rest > ends[1])]
        if outside.empty:
            return {"ge": ge, "le": ends[1]}, tuple(notes)
        notes = [f"the range of {len(guess)} rows is left by {len(outside)} of {len(rest)} others: wider"]
        below, above = 2 * below, 2 * above
    held = {} if (rest < ge).any() else {"ge": ge}
    held |= {} if (rest > ends[1]).any() else {"le": ends[1]}
    lacks = "range" if not held else "upper limit" if "ge" in held else "lower limit"
    told = f"{len(outside)} of {len(rest)} other rows leave that of {len(guess)} rows, however wide"
    return held, (f"no {lacks}: {told}",)


def _slack(values: pd.Series, end: float, share: float) -> float:
    """Return how many times as far from the median as now a range may end: of a long tail more."""
    middle = float(values.median())
    usual = abs(float(values.quantile(share)) - middle)
    return LONG_TAIL_SLACK if abs(end - middle) > LONG_TAIL * usual else SLACK


def _rounded(low: float, high: float, whole: bool) -> tuple[float, float]:
    """Return the ends of a range, moved outward to figures that a person would write."""
    span = max(high - low, abs(high) * 0.1, 1.0 if whole else LEAST_SPAN)
    step = 10.0 ** math.floor(math.log10(span)) / 2
    ends = math.floor(low / step) * step, math.ceil(high / step) * step
    if whole or step >= 1:
        return math.floor(ends[0]), math.ceil(ends[1])
    digits = max(0, 1 - math.floor(math.log10(step)))
    return round(ends[0], digits), round(ends[1], digits)


def text_rules(kind: Kind, guess: pd.Series, rest: pd.Series, date_format: str | None = None) -> Rules:
    """Return a list of values if none is rare, else a regular expression if one fits, else a length."""
    counts = guess.value_counts()
    notes: tuple[str, ...] = ()
    if kind == "category" and len(counts) <= MAX_LISTED and counts.index.str.len().max() <= MAX_LETTERS:
        if counts.min() >= max(MIN_SEEN, MIN_SHARE_SEEN * len(guess)):
            if not (new := set(rest) - set(counts.index)):
                return {"isin": sorted(counts.index)}, ()
            notes = (f"no list of values: other rows hold {sorted(new)[0]!r:.40} too",)
    alike = kind in ("code", "date") or (kind == "category" and len(counts) >= MIN_ALIKE)
    if alike and (pattern := pattern_of(guess)):
        pattern = _of_possible_dates(pattern) if kind == "date" else pattern
        refuted = ~rest.str.fullmatch(pattern)
        if not refuted.any():
            return {"str_matches": f"^{pattern}$"}, notes
        notes = (f"no regular expression: {int(refuted.sum())} of {len(rest)} other rows look otherwise",)
    if date_format and pd.concat([guess, rest]).str.fullmatch(shape := date_shape(date_format)).all():
        return {"str_matches": f"^{shape}$"}, ()
    longest = max(guess.str.len().max(), rest.str.len().max() if len(rest) else 0)
    return {"str_length": {"min_value": 1, "max_value": _round_up(2 * int(longest))}}, notes


def _round_up(number: int) -> int:
    step = 10 ** max(0, len(str(number)) - 1)
    return int(math.ceil(number / step) * step)


def pattern_of(texts: pd.Series) -> str | None:
    """Return the regular expression of codes that all look alike, if they do."""
    unique = list(dict.fromkeys(texts))
    for number, classes in enumerate(ALPHABETS):
        runs = [_runs(text, classes) for text in unique]
        names = [tuple(name for name, _ in one) for one in runs]
        if len(set(names)) != 1 or not 0 < len(names[0]) <= MAX_PARTS:
            continue
        parts = [_part(name, [one[place][1] for one in runs], number) for place, name in enumerate(names[0])]
        if None not in parts and any(name in classes for name in names[0]):
            return "".join(part for part in parts if part is not None)
    return None


def _of_possible_dates(pattern: str) -> str:
    for loose, strict in POSSIBLE:
        pattern = pattern.replace(loose, strict, 1)
    return pattern


def _runs(text: str, classes: tuple[str, ...]) -> list[tuple[str, str]]:
    """Return the runs of characters of one class, and each other character alone."""
    found: list[tuple[str, str]] = []
    for letter in text:
        name = next((one for one in classes if re.fullmatch(one, letter, re.ASCII)), letter)
        if found and found[-1][0] == name and name in classes:
            found[-1] = (name, found[-1][1] + letter)
        else:
            found.append((name, letter))
    return found


def _part(name: str, texts: list[str], looseness: int) -> str | None:
    if len(set(texts)) == 1 and not texts[0].isdigit():
        return re.escape(texts[0]).replace("\\-", "-").replace("\\ ", " ").replace("\\/", "/")
    lengths = np.unique([len(text) for text in texts])
    if len(lengths) == 1:
        return name if lengths[0] == 1 else f"{name}{{{lengths[0]}}}"
    return None if looseness > 1 else f"{name}+"
