"""Tables that no project can be made from: each is refused with one line that says why and what to do."""

import difflib
from collections.abc import Mapping

import pandas as pd

from ml.data.infer.draft import Role
from ml.data.infer.kinds import Found
from ml.errors import MlError, UsageError

MIN_ROWS = 30
MAX_COLUMNS = 1000
MAX_LETTERS = 100_000  # in one cell
MAX_NAME = 80
MAX_TEXT_CLASSES = 50
MAX_SHOWN = 8


def check_said(column: pd.Series, role: Role) -> None:
    """Raise ``MlError`` if a column cannot be what a person says that it is."""
    if role == "id" and (column.isna().any() or not column.is_unique):
        wrong = column.isna() if column.isna().any() else column.duplicated()
        told = "is missing" if column.isna().any() else "stands there already"
        row = int(wrong.to_numpy().argmax()) + 1
        raise MlError(f"column '{column.name}' cannot name each row: its value in row {row} {told}")


def check_objects(held: Mapping[str, str], target: str, said: Mapping[str, Role]) -> None:
    """Raise ``MlError`` if a column of lists, objects or bytes is the target, or is to be used."""
    used = [target, *(name for name, role in said.items() if role != "left out")]
    if wrong := next((name for name in used if name in held), None):
        raise MlError(
            f"column '{wrong}' holds {held[wrong]}, which no model learns: have the source make numbers or "
            "texts of it"
        )


def check_table(table: pd.DataFrame, target: str, said: Mapping[str, Role]) -> None:
    """Raise ``MlError`` for a table that is no table, ``UsageError`` for a target that it does not have."""
    names = [str(name) for name in table]
    if len(names) > MAX_COLUMNS:
        raise MlError(
            f"the table has {len(names)} columns, and {MAX_COLUMNS} are the most that a contract can be read "
            "with: choose those that may matter"
        )
    if unknown := [name for name in said if name not in names]:
        raise UsageError(f"no column '{unknown[0]}' in the table")
    if target not in names:
        near = difflib.get_close_matches(target, names, 1)
        meant = f": did you mean '{near[0]}'?" if near else ""
        more = ", ..." if len(names) > MAX_SHOWN else ""
        raise UsageError(
            f"no column '{target}'{meant} (the columns are {', '.join(names[:MAX_SHOWN])}{more})"
        )
    if len(names) == 1:
        raise MlError(
            f"the table has one column, '{target}': a model needs others to learn from (are they divided "
            "by another sign than was found?)"
        )
    if len(table) < MIN_ROWS:
        raise MlError(f"the table has {len(table)} row{'s' * (len(table) != 1)}: {MIN_ROWS} are the least")
    if long := next((name for name in names if len(name) > MAX_NAME or "\n" in name), None):
        raise MlError(
            f"a column is called '{long[:40]}...': use a name of {MAX_NAME} letters on one line at most"
        )
    for name in table.columns[[not pd.api.types.is_numeric_dtype(kind) for kind in table.dtypes]]:
        longest = table[name].astype(str).str.len().max()
        if longest > MAX_LETTERS:
            raise MlError(
                f"column '{name}' has a value of {int(longest):,} letters, and {MAX_LETTERS:,} are the most: "
                "it is a document, take it out"
            )


def check_target(target: pd.Series, found: Found) -> None:
    """Raise ``MlError`` for a target from which nothing can be learned."""
    if found.unread:
        raise MlError(f"the target '{target.name}' {found.why}")
    missing = int(target.isna().sum())
    if missing == len(target):
        raise MlError(f"the target '{target.name}' has no value in any row")
    if missing:
        raise MlError(
            f"the target '{target.name}' is missing in {missing} of {len(target)} rows, the first is row "
            f"{int(target.isna().to_numpy().argmax()) + 1}: take those rows out, they teach nothing"
        )
    if target.nunique() == 1:
        raise MlError(
            f"the target '{target.name}' has one class only ({target.iloc[0]}): a model needs two to learn"
        )
    if found.kind not in ("number", "whole number") and target.nunique() > MAX_TEXT_CLASSES:
        raise MlError(
            f"the target '{target.name}' has {target.nunique()} different texts, and {MAX_TEXT_CLASSES} "
            "classes are the most: is it the right column?"
        )


def check_classes(target: pd.Series, folds: int, test_share: float) -> None:
    """Raise ``MlError`` if a class has too few rows to be learned in every fold and tested."""
    classes = target.value_counts()
    needed = next(count for count in range(1, 1000) if count * (1 - test_share) >= folds + 1)
    if classes.min() < needed:
        rare = int((classes < needed).sum())
        more = f" (and {rare - 1} more classes are as rare)" if rare > 1 else ""
        raise MlError(
            f"class {classes.idxmin()!r} of '{target.name}' has {classes.min()} rows{more}, and {needed} are "
            "the least: put rare classes together, or collect more"
        )
