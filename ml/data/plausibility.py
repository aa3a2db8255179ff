"""What a table tells of itself, without any other to compare it with: is it whole, in order and plausible?"""

import re
from collections.abc import Iterator

import numpy as np
import pandas as pd

from ml.data.contract import Violation, examples
from ml.data.findings import Finding, too_few, too_many
from ml.errors import MlError
from ml.project import Project
from ml.settings import Lag, Usual
from ml.source_settings import FeedbackSource, agreed_of

MANY_TIMES = 5  # a stretch that stands out is longer than any other of its column by this
CHANCE = 1e-6  # the probability of such a stretch in rows dealt out anew must be below
MIN_REPEATS = 5  # that all stand side by side: of a column that is sorted or grouped
SAMPLED = "the table is so large that a sample of it is judged"
OTHER_LAGS = (-2, -1, 1, 2)  # rows off
MIN_LAG_RATIO = 1.25  # how much worse than another lag the declared one must fit; noise alone gives 1.1


def judge_table(project: Project, labelled: pd.DataFrame, *, whole: bool = True) -> Iterator[Finding]:
    """Return what is found in the rows, which stand in the order of their source.

    If they are not the ``whole`` table but a sample, rows on end say nothing: lags are not judged.
    """
    yield from _stretches(project, labelled)
    yield from _one_value(project, labelled)
    for rule in project.data_gates.usual:
        yield _usual(project, labelled, rule)
    for lag in project.data_gates.lags:
        yield _lag(labelled, lag) if whole else Finding("lag", _lag_name(lag), None, None, not_run=SAMPLED)


def _stretches(project: Project, labelled: pd.DataFrame) -> Iterator[Finding]:
    if (most := project.data_gates.max_stretch) is None:
        return
    # What production answered comes back without personal columns.
    returns = any(isinstance(one, FeedbackSource) for one in agreed_of(project.source).append)
    left_out = [project.id, *(project.personal if returns else ())]
    for name in labelled.drop(columns=left_out, errors="ignore"):
        start, length = stretch(labelled[name])
        value = "no value" if labelled[name].isna().iloc[start] else "one value"
        told = (
            f"column '{name}' has {value} in rows {start + 1} to {start + length}, and no other stretch "
            "comes near: did its source stop there?"
        )
        share = length / len(labelled)
        yield too_many("stretch", str(name), share, most, str(name), told, length)


def stretch(column: pd.Series) -> tuple[int, int]:
    """Return start and length of the longest stretch of one value (or none) if it stands out; else 0, 0.

    It stands out if it is far longer than every other stretch and than chance explains: rows of a value with
    the share q outside of the stretch hold one of length L by chance with a probability of at most n q^L. A
    column that is sorted or grouped has none.
    """
    codes, _ = pd.factorize(column, use_na_sentinel=True)
    starts = np.flatnonzero(np.r_[True, codes[1:] != codes[:-1]])
    lengths = np.diff(np.r_[starts, len(codes)])
    place = int(lengths.argmax())
    start, length = int(starts[place]), int(lengths[place])
    rest = np.delete(codes, slice(start, start + length))
    others = np.delete(lengths, place)
    if not len(rest) or length <= MANY_TIMES * others.max():
        return 0, 0
    share = (np.sum(rest == codes[start]) + 1) / (len(rest) + 2)
    if np.log(len(codes)) + length * np.log(share) > np.log(CHANCE):
        return 0, 0
    left = column.drop(column.index[start : start + length]).reset_index(drop=True)
    different = len(np.unique(rest))
    together = len(rest) - different >= MIN_REPEATS and len(others) <= different + 1
    in_order = left.notna().all() and (left.is_monotonic_increasing or left.is_monotonic_decreasing)
    return (0, 0) if together or in_order else (start, length)


def _one_value(project: Project, labelled: pd.DataFrame) -> Iterator[Finding]:
    for name, most in project.data_gates.max_one_value.items():
        if name in labelled and (counts := labelled[name].value_counts(normalize=True)).size:
            same = (labelled[name] == counts.index[0]).to_numpy()
            value = "***" if name in project.personal else f"{counts.index[:1].tolist()[0]!r:.60}"
            told = f"column '{name}' says {value} too often: does it stand for a missing value?"
            yield too_many("one value", name, counts.iloc[0], most, name, told, int(same.sum()))


def _usual(project: Project, labelled: pd.DataFrame, rule: Usual) -> Finding:
    for column in (rule.column, rule.rows.column):
        if column not in labelled:
            raise MlError(f"project.toml: data_gates.usual: no column '{column}' in the data")
    where = labelled[rule.rows.column]
    if rule.rows.matches is not None:
        pattern = re.compile(rule.rows.matches)
        chosen = where.map(lambda text: bool(pattern.search(str(text)))) & where.notna()
    else:
        chosen = where == rule.rows.value
    gate = ("usual", f"{rule.column} of {rule.name}")
    values = labelled.loc[chosen, rule.column].dropna()
    if values.empty:
        return Finding(*gate, None, None, not_run="there are no such rows")
    if rule.between:
        low, high = rule.between
        median = float(values.median())
        told = f"column '{rule.column}': the median of {rule.name} is {median:.4g}, not {low:g} to {high:g}"
        hint = ": are columns, classes or units mixed up?"
        broken = None if low <= median <= high else Violation(rule.column, told + hint, len(values))
        return Finding(*gate, median, low if median < low else high, broken)
    wrong = chosen.to_numpy() & labelled[rule.column].notna().to_numpy()
    wrong &= ~labelled[rule.column].isin(rule.values).to_numpy()
    usual = " or ".join(str(value) for value in rule.values)
    told = f"column '{rule.column}' of {rule.name} is not {usual}: are columns or rows mixed up?"
    share, count = 1 - wrong.sum() / len(values), int(wrong.sum())
    return too_few(*gate, share, rule.min_share, rule.column, told, count, examples(labelled, wrong))


def _lag(labelled: pd.DataFrame, rule: Lag) -> Finding:
    for column in (rule.column, rule.of, rule.order):
        if column not in labelled:
            raise MlError(f"project.toml: data_gates.lags: no column '{column}' in the data")
    ordered = labelled.sort_values(rule.order)

    def spread(rows: int) -> float:
        return float((ordered[rule.column] - ordered[rule.of].shift(rows)).std())

    best = min((rule.rows + off for off in OTHER_LAGS), key=spread)
    ratio = spread(rule.rows) / max(spread(best), 1e-12)
    told = (
        f"column '{rule.column}' goes with '{rule.of}' of {_before(best)}, not of {_before(rule.rows)}: "
        "is a column shifted?"
    )
    return too_many("lag", _lag_name(rule), ratio, MIN_LAG_RATIO, rule.column, told, len(labelled))


def _lag_name(rule: Lag) -> str:
    return f"{rule.column} after {rule.of}"


def _before(rows: int) -> str:
    if rows == 0:
        return "the same row"
    return f"{abs(rows)} row{'s' if abs(rows) > 1 else ''} {'before' if rows > 0 else 'after'}"
