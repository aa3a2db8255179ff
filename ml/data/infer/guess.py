"""From a table to a draft of a project: what each column is, proved on rows that it was not guessed from."""

from collections.abc import Mapping
from dataclasses import replace
from itertools import combinations

import numpy as np
import pandas as pd
from pandas.api import types

from ml.data.infer.draft import Column, Draft, Guess, Role, Task
from ml.data.infer.kinds import Found, kind_of, objects_in
from ml.data.infer.refusals import check_classes, check_objects, check_said, check_table, check_target
from ml.data.infer.roles import find_group, find_id, find_time, role_of, words_of
from ml.data.infer.rules import rules_of
from ml.data.settings_check import answers_among
from ml.errors import MlError

GUESSED_SHARE = 0.6
MAX_LABELS = 20  # different whole numbers that can be classes
FOLDS, FEW_FOLDS, FEW_ROWS = 5, 3, 20
TEST_SHARE = 0.3
ENDS = [
    ("start", "end"),
    ("begin", "end"),
    ("from", "to"),
    ("from", "until"),
    ("min", "max"),
    ("low", "high"),
]
ENDS += [("first", "last"), ("open", "close"), ("lower", "upper"), ("minimum", "maximum")]


def guess(
    table: pd.DataFrame,
    target: str,
    roles: Mapping[str, Role] | None = None,
    codes: frozenset[str] = frozenset(),
) -> Draft:
    """Return the draft of a project for a table with a target; a table that is none raises ``MlError``.

    ``roles`` are columns of which a person said what they are for; ``codes`` are columns of digits with
    leading zeros. A table without a column that names its rows gets a draft without an id.
    """
    check_table(table, target, roles or {})
    held = {str(name): told for name in table if (told := objects_in(table[name]))}
    check_objects(held, target, roles or {})
    said = {name: role for name, role in (roles or {}).items() if name not in held}
    draft = _guess(table.drop(columns=list(held)), target, said, codes)
    known = {one.name: one for one in draft.columns}
    known |= {name: Column(name, "objects", "left out", f"holds {told}") for name, told in held.items()}
    return replace(draft, columns=tuple(known[str(name)] for name in table))


def _guess(table: pd.DataFrame, target: str, roles: Mapping[str, Role], codes: frozenset[str]) -> Draft:
    kinds = {str(name): kind_of(table[name], name in codes) for name in table}
    check_target(table[target], kinds[target])
    task, task_guess = _task(table[target], kinds[target])
    folds = FOLDS
    if task == "classification":
        folds = FOLDS if table[target].value_counts().min() >= FEW_ROWS else FEW_FOLDS
        check_classes(table[target], folds, TEST_SHARE)
    columns = _columns(table, target, kinds, roles)
    for problem in answers_among(one.name for one in columns if one.role != "left out"):
        raise MlError(problem)
    first, rest = _parts(table, columns)
    columns = [_with_rules(one, table, first, rest, kinds[one.name]) for one in columns]
    columns = _with_sides(columns, table, kinds)
    ordered = _ordered(table, [one for one in columns if one.role != "left out"], first)
    guesses = (task_guess, *_split_guess(columns))
    return Draft(target, task, _metric(task, table[target]), folds, tuple(columns), ordered, guesses)


def _task(target: pd.Series, found: Found) -> tuple[Task, Guess]:
    different = target.nunique()
    if found.kind in ("category", "code", "text", "date"):
        return "classification", Guess("task", "classification", f"the target has {different} classes")
    classes = target.value_counts()
    if different == 2:
        return "classification", Guess("task", "classification", "the target has two values")
    if found.kind == "whole number" and different <= MAX_LABELS and different < 0.05 * len(target):
        common = classes.min() >= FEW_ROWS and different <= 10
        task: Task = "classification" if common else "regression"
        return task, Guess(
            "task", task, f"the target has {different} whole numbers: classes or amounts?", True
        )
    return "regression", Guess("task", "regression", "the target is a number")


def _metric(task: Task, target: pd.Series) -> str:
    if task == "regression":
        return "r2"
    classes = target.value_counts()
    if len(classes) == 2:
        return "roc_auc"
    return "accuracy" if classes.max() <= 3 * classes.min() else "f1_macro"


def _columns(
    table: pd.DataFrame, target: str, kinds: Mapping[str, Found], said: Mapping[str, Role]
) -> list[Column]:
    """Return the columns with their roles; what a person said goes before what is guessed."""
    found = {}
    gaps = bool(table.drop(columns=target).isna().any(axis=None))  # where there are some, more will come
    for name in map(str, table):
        role, why, doubtful = role_of(table[name], kinds[name], len(table))
        if name == target:
            role, why, doubtful = "target", kinds[name].why, False
        if name in said:
            role, why, doubtful = said[name], "you said so", False
            check_said(table[name], role)
        nullable = bool(table[name].isna().any()) or (
            gaps and role == "feature" and kinds[name].kind != "code"
        )
        found[name] = Column(
            name,
            kinds[name].kind,
            role,
            why,
            doubtful,
            nullable or role == "personal",
            unique=role == "id",
            values=int(table[name].nunique()),
            date_format=kinds[name].date_format,
        )
    taken = {target, *said, *(one.name for one in found.values() if one.why.startswith("personal"))}
    if "id" not in said.values() and (id_ := find_id(table, dict(kinds), taken)):
        name, why, doubtful = id_
        found[name] = replace(found[name], role="id", why=why, doubtful=doubtful, unique=True, nullable=False)
        taken.add(name)
    usable = {name for name, one in found.items() if one.role == "feature"}
    taken |= set(found) - usable
    if not {"time", "group"} & set(said.values()):
        if time := find_time(table, dict(kinds), taken):
            found[time[0]] = replace(found[time[0]], role="time", why=time[1], doubtful=True)
        elif group := find_group(table, dict(kinds), taken):
            found[group[0]] = replace(found[group[0]], role="group", why=group[1], doubtful=True)
    return list(found.values())


def _parts(table: pd.DataFrame, columns: list[Column]) -> tuple[pd.Series, pd.Series]:
    """Tell which rows are guessed from and which prove it: the earlier and the later, else by chance."""
    if times := [one.name for one in columns if one.role == "time"]:
        ranks = table[times[0]].astype(str).rank(pct=True, method="first")
    else:
        order = np.random.default_rng(0).permutation(len(table))
        ranks = pd.Series(order, index=table.index).rank(pct=True)
    return ranks <= GUESSED_SHARE, ranks > GUESSED_SHARE


def _with_rules(
    column: Column, table: pd.DataFrame, first: pd.Series, rest: pd.Series, found: Found
) -> Column:
    """Add the rules of the contract, and an example that is nobody's."""
    values = table[column.name]
    if column.role == "left out":
        return column
    if types.is_bool_dtype(values):
        values = values.astype(str)
    rules, notes = rules_of(column.kind, values[first], values[rest], found.date_format)
    if column.role == "target" and column.kind not in ("number", "whole number"):
        rules, notes = {"isin": sorted(values.astype(str).unique())}, ()
    if column.role == "id" and "le" in rules:
        rules = {"ge": 0} if rules.get("ge") == 0 else {}  # tomorrow's are higher
    notes = () if column.role in ("id", "personal") else notes
    return replace(
        column, rules=rules, notes=notes, example=_example(column, values, rules), why=_why(column, values)
    )


def _with_sides(columns: list[Column], table: pd.DataFrame, kinds: Mapping[str, Found]) -> list[Column]:
    """Tell of a group whose rows a split by time divides: a model is then tried on whom it has learned."""
    times = [one.name for one in columns if one.role == "time"]
    features = {one.name for one in columns if one.role == "feature"}
    group = find_group(table, dict(kinds), set(kinds) - features)
    if not times or not group:
        return columns
    name = group[0]
    later = table[times[0]].astype(str).rank(pct=True, method="first") > 1 - TEST_SHARE
    both = len(set(table.loc[later, name]) & set(table.loc[~later, name]))
    note = (
        f"{both} of {table[name].nunique()} stand on both sides of the split by time: if a model meets "
        f'others later, write kind = "group", by = "{name}" in [split], and take it out of the features'
    )
    return [replace(one, notes=(*one.notes, note)) if both and one.name == name else one for one in columns]


def _why(column: Column, values: pd.Series) -> str:
    if (
        column.why
        or column.role not in ("feature", "target")
        or column.kind not in ("number", "whole number")
    ):
        return column.why
    missing = f", {values.isna().mean():.1%} missing" if column.nullable else ""
    return f"{values.min():g} to {values.max():g} seen{missing}"


def _example(column: Column, values: pd.Series, rules: Mapping[str, object]) -> object:
    """Return a frequent value of a text that the form of the service can show; none of what is personal."""
    if column.role == "personal" or column.kind in ("number", "whole number") or "isin" in rules:
        return None
    return str(values.dropna().astype(str).mode().iloc[0]) if column.values else None


def _ordered(table: pd.DataFrame, columns: list[Column], first: pd.Series) -> tuple[tuple[str, str], ...]:
    """Return the pairs of columns that begin and end something: in every row one is not above the other."""
    dates = [one for one in columns if one.kind == "date" and one.role in ("feature", "time")]
    numbers = [one for one in columns if one.kind in ("number", "whole number") and one.role == "feature"]
    pairs = [pair for one, other in combinations(dates, 2) for pair in ((one, other), (other, one))]
    pairs += [
        (one, other)
        for one in numbers
        for other in numbers
        if one is not other and _are_ends(one.name, other.name)
    ]
    found = []
    for one, other in pairs:
        low, high = (
            pd.to_datetime(table[each.name], format=each.date_format, utc=True, errors="coerce")
            if each.kind == "date"
            else table[each.name]
            for each in (one, other)
        )
        both = low.notna() & high.notna()
        if both.sum() >= 30 and (low[both] <= high[both]).all() and (low[both] < high[both]).mean() > 0.1:
            found.append((one.name, other.name))
    return tuple(found)


def _are_ends(one: str, other: str) -> bool:
    ours, theirs = words_of(one), words_of(other)
    if len(ours) != len(theirs):
        return False
    differ = [pair for pair in zip(ours, theirs, strict=True) if pair[0] != pair[1]]
    return len(differ) == 1 and differ[0] in ENDS


def _split_guess(columns: list[Column]) -> tuple[Guess, ...]:
    if times := [one for one in columns if one.role == "time"]:
        return (Guess("split", f"by time, {times[0].name}", times[0].why),)
    if groups := [one for one in columns if one.role == "group"]:
        return (Guess("split", f"by group, {groups[0].name}", groups[0].why),)
    if any(one.role == "id" for one in columns):
        return (Guess("split", "by a hash of the id", "no column of times or groups was found"),)
    return ()
