"""The data contract of a project: loading it, and checking tables against it."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import pandera.pandas as pa
from pandas.api import types
from pandera.engines.pandas_engine import Date as PandasDate

from ml.data.personal_rules import obeyed_contract
from ml.errors import MlError
from ml.project import Project
from ml.user_code import load_module

STUMBLED = r"^[A-Za-z]+(?:Error|Exception)\("  # how pandera tells that a check failed with an error
NO_ANSWER = "NotImplementedError()"  # what it makes of an answer that is neither true nor false
# What pandera calls a column too few and one too many, in its reports on a whole table
COLUMN_RULES = ("column_in_dataframe", "column_in_schema")
MAX_EXAMPLES = 3


@dataclass(frozen=True)
class Violation:
    """One rule that a table breaks: the column, the rule in words, how many rows, and some of them.

    After a ``structural`` one, a missing column or a wrong type, the values cannot be judged any further.
    """

    column: str
    rule: str
    rows: int
    examples: tuple[str, ...] = ()
    structural: bool = False

    def __str__(self) -> str:
        """Read like a sentence."""
        if not self.examples:
            return self.rule
        where = "the first in " if self.examples[0].startswith("row ") else ""
        return f"{self.rule}: {self.rows} values, {where}{', '.join(self.examples)}"


def load_contract(project: Project) -> pa.DataFrameSchema:
    """Return the schema of the one ``DataFrameModel`` in ``contract.py``, or raise ``MlError``.

    Of personal columns it says what their rules leave of them.
    """
    file = project.folder / "contract.py"
    code = project.content(file.name)
    if code is None:
        raise MlError(
            f"{file} is missing: it must hold the project's data contract, one pandera.DataFrameModel"
        )
    module = load_module(file, code)
    models = [
        item
        for item in vars(module).values()
        if isinstance(item, type)
        and issubclass(item, pa.DataFrameModel)
        and item.__module__ == module.__name__
    ]
    if len(models) != 1:
        raise MlError(f"{file}: must define one pandera.DataFrameModel, found {len(models)}")
    try:
        schema = models[0].to_schema()
    except (Exception, SystemExit) as error:
        raise MlError(f"{file}: not a usable contract: {error}") from error
    for name, column in schema.columns.items():
        if _holds_times(column):
            raise MlError(
                f"{file}: column '{name}' is {column.dtype}, and rows hold times as text: declare it str "
                "(ISO 8601; a source's own times are turned into such text)"
            )
    return obeyed_contract(schema, project)


def _holds_times(column: Any) -> bool:
    if column.dtype is None:
        return False
    kind = column.dtype.type
    is_time = types.is_datetime64_any_dtype(kind) or types.is_timedelta64_dtype(kind)
    return is_time or isinstance(column.dtype, PandasDate)


def text_columns(contract: pa.DataFrameSchema) -> list[str]:
    """Return the columns that are read as text, so that one of digits keeps its leading zeros."""
    return [
        name
        for name, column in contract.columns.items()
        if column.dtype is not None and types.is_string_dtype(column.dtype.type)
    ]


def check(
    table: pd.DataFrame, contract: pa.DataFrameSchema, what: str, personal: Sequence[str] = ()
) -> pd.DataFrame:
    """Return ``table`` in the contract's order and types, or raise ``MlError`` with the first deviation.

    ``what`` names the table in the message, which tells no value of ``personal`` columns.
    """
    table, problems = examine(table, contract, personal)
    if problems:
        more = f"; and {len(problems) - 1} more problems" if len(problems) > 1 else ""
        raise MlError(f"{what}: breaks the contract: {problems[0]}{more}")
    return table


def examine(
    table: pd.DataFrame, contract: pa.DataFrameSchema, personal: Sequence[str] = ()
) -> tuple[pd.DataFrame, list[Violation]]:
    """Return ``table`` in the contract's order and types, and every deviation from the contract.

    Only lossless changes of type are made: whole numbers to float, true and false to 1 and 0 where numbers
    are asked for, and a column without any value to the type the contract gives it. Columns more are left
    out if the contract says ``strict = "filter"``. Values of ``personal`` columns are not told.
    """
    table = table.copy()
    for name, column in contract.columns.items():
        if name in table and column.dtype is not None:
            wanted = column.dtype.type
            if types.is_numeric_dtype(wanted) and not types.is_bool_dtype(wanted):
                table[name] = _truths_as_numbers(table[name])
            whole_numbers = types.is_float_dtype(wanted) and types.is_integer_dtype(table[name])
            if whole_numbers or (not types.is_integer_dtype(wanted) and table[name].isna().all()):
                table[name] = table[name].astype(wanted)
    if contract.strict == "filter":
        table = table[[name for name in table if name in contract.columns]]
    violations = _contract_violations(table, contract, personal)
    return table[[name for name in contract.columns if name in table]], violations


def _truths_as_numbers(column: pd.Series) -> pd.Series:
    """Return 1 for true and 0 for false, with gaps as floats; another column as it is."""
    if types.is_bool_dtype(column) or types.is_object_dtype(column):
        if types.infer_dtype(column, skipna=True) == "boolean":
            return column.astype(float if column.isna().any() else int)
    return column


def examples(
    table: pd.DataFrame, broken: np.ndarray, column: str | None = None, personal: Sequence[str] = ()
) -> tuple[str, ...]:
    """Return the first rows of a mask, by their index counted from 1 as people do, and their ``column``."""
    told = []
    for number in np.flatnonzero(broken)[:MAX_EXAMPLES]:
        value = (
            "" if column is None else ": ***" if column in personal else _shown(table[column].iloc[number])
        )
        told.append(f"row {table.index[number] + 1}{value}")
    return tuple(told)


def _shown_case(case: Any, column: str, personal: Sequence[str]) -> str:
    return "***" if column in personal else f"{case!r:.60}"


def _shown(value: Any) -> str:
    plain = value.item() if hasattr(value, "item") else value
    return f": {plain!r:.60}"


def _contract_violations(
    table: pd.DataFrame, contract: pa.DataFrameSchema, personal: Sequence[str]
) -> list[Violation]:
    if len(table) == 0:
        return [Violation("", "the table has no rows", 0, structural=True)]
    infinite = [
        str(name) for name in table if types.is_float_dtype(table[name]) and np.isinf(table[name]).any()
    ]
    if infinite:
        return [
            Violation(
                name,
                f"column '{name}' has infinite values",
                int(np.isinf(table[name]).sum()),
                examples(table, np.isinf(table[name]).to_numpy(), name, personal),
            )
            for name in infinite
        ]
    try:
        contract.validate(table, lazy=True)
    except pa.errors.SchemaErrors as error:
        return _read_failures(error.failure_cases, table, contract, personal)
    except (Exception, SystemExit) as error:
        # A project's own check may stumble over values of a wrong type before pandera reports them.
        told = f"a check of the contract failed with {type(error).__name__}: {error}"
        return [Violation("", told, len(table), structural=True)]
    return []


def _read_failures(
    failures: pd.DataFrame, table: pd.DataFrame, contract: pa.DataFrameSchema, personal: Sequence[str]
) -> list[Violation]:
    ranked: list[tuple[int, Violation]] = []
    # Values of a wrong type cannot be compared: what stumbled over them says nothing of its own.
    wrong_type = failures["check"].astype(str).str.startswith("dtype(")
    mistyped = set(failures["column"][wrong_type])
    plain = wrong_type | failures["check"].isin([*COLUMN_RULES, "not_nullable"])
    stumbled = failures["failure_case"].astype(str).str.contains(STUMBLED) & bool(mistyped)
    failures = failures[plain | ~(failures["column"].isin(mistyped) | stumbled)]
    across = (failures["schema_context"] == "DataFrameSchema") & ~failures["check"].isin(COLUMN_RULES)
    for check_name, cases in failures[across].groupby("check", sort=False):
        if failed := _failed_check(str(check_name), cases, personal):
            ranked.append((4, Violation("", failed, len(table))))
            continue
        broken = np.isin(table.index.to_numpy(), cases["index"].dropna().unique())
        told = f"the columns contradict each other: {check_name}"
        ranked.append((4, Violation("", told, int(broken.sum()) or len(table), examples(table, broken))))
    for (column, rule), cases in failures[~across].groupby(["column", "check"], sort=False, dropna=False):
        ranked.append(_violation(str(column), str(rule), cases, table, contract, personal))
    return [violation for _, violation in sorted(ranked, key=lambda item: item[0])]


def _failed_check(name: str, cases: pd.DataFrame, personal: Sequence[str]) -> str:
    """Tell in words how a check itself failed, if it did: then there is no row that it is about."""
    case = str(cases["failure_case"].iloc[0])
    if cases["index"].notna().any() or not re.match(STUMBLED, case):
        return ""
    if case == NO_ANSWER:
        return f"the check '{name}' of the contract must return true or false for each row"
    return f"the check '{name}' of the contract failed with {'***' if personal else case[:60]}"


def _violation(
    column: str,
    rule: str,
    cases: pd.DataFrame,
    table: pd.DataFrame,
    contract: pa.DataFrameSchema,
    personal: Sequence[str],
) -> tuple[int, Violation]:
    """Return what pandera found against a rule of a column, and its rank: what is missing is told first."""
    case = cases["failure_case"].iloc[0]
    if rule == "column_in_dataframe":
        return 0, Violation(str(case), f"column '{case}' is missing", len(table), structural=True)
    if rule == "column_in_schema":
        told = f"column '{case}' is not in the contract"
        return 1, Violation(str(case), told, len(table), structural=True)
    if rule == "not_nullable":
        missing = table[column].isna().to_numpy()
        told = f"column '{column}' has missing values"
        return 2, Violation(column, told, int(missing.sum()), examples(table, missing))
    if rule.startswith("dtype("):
        found, wanted = table[column], contract.columns[column].dtype
        # Numbers as texts: a whole one of hundreds of digits is too large for pandas.
        digits = found.astype(str) if found.dtype == object else found
        wrong = (pd.to_numeric(digits, errors="coerce").isna() & found.notna()).to_numpy()
        told = f"column '{column}' holds {found.dtype} values, the contract says {wanted}"
        shown = examples(table, wrong, column, personal)
        return 3, Violation(column, told, int(wrong.sum()) or len(table), shown, structural=True)
    if failed := _failed_check(rule, cases, personal):
        return 4, Violation(column, f"column '{column}': {failed}", len(table))
    labels = cases["index"].dropna()
    shown = (_shown_case(case, column, personal),)
    if len(labels):
        shown = examples(table, np.isin(table.index.to_numpy(), labels.to_numpy()), column, personal)
    words = "values must be unique" if rule == "field_uniqueness" else rule
    return 4, Violation(column, f"column '{column}', {words}", len(cases), shown)
