"""The data contract of a project: loading it, checking tables against it, and what it says of a request."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Optional

import numpy as np
import pandas as pd
import pandera.pandas as pa
from pandas.api import types
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, create_model
from pydantic_core import PydanticCustomError

from ml.errors import MlError
from ml.project import Project
from ml.user_code import load_module

# pandera's check and its statistic, and what pydantic calls the same limit
LIMITS = (
    ("greater_than_or_equal_to", "min_value", "ge"),
    ("greater_than", "min_value", "gt"),
    ("less_than_or_equal_to", "max_value", "le"),
    ("less_than", "max_value", "lt"),
    ("str_matches", "pattern", "pattern"),
    ("str_length", "min_value", "min_length"),
    ("str_length", "max_value", "max_length"),
)


# What pandera calls a column too few and one too many, in its reports on a whole table
STUMBLED = r"^[A-Za-z]+(?:Error|Exception)\("  # how pandera tells that a check failed with an error
COLUMN_RULES = ("column_in_dataframe", "column_in_schema")
MOST_EXAMPLES = 3
STRICT = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False, regex_engine="python-re")


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
    """Return the schema of the one ``DataFrameModel`` in ``contract.py``, or raise ``MlError``."""
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
        return models[0].to_schema()
    except Exception as error:
        raise MlError(f"{file}: not a usable contract: {error}") from error


def check(table: pd.DataFrame, contract: pa.DataFrameSchema, what: str) -> pd.DataFrame:
    """Return ``table`` in the contract's order and types, or raise ``MlError`` with the first deviation.

    ``what`` names the table in the message.
    """
    table, problems = examine(table, contract)
    if problems:
        more = f"; and {len(problems) - 1} more problems" if len(problems) > 1 else ""
        raise MlError(f"{what}: breaks the contract: {problems[0]}{more}")
    return table


def examine(
    table: pd.DataFrame, contract: pa.DataFrameSchema, personal: Sequence[str] = ()
) -> tuple[pd.DataFrame, list[Violation]]:
    """Return ``table`` in the contract's order and types, and every deviation from the contract.

    Only lossless changes of type are made: whole numbers to float, and a column without any value to the
    type the contract gives it. Columns more are left out if the contract says ``strict = "filter"``. Values
    of ``personal`` columns are not told.
    """
    table = table.copy()
    for name, column in contract.columns.items():
        if name in table and column.dtype is not None:
            wanted = column.dtype.type
            whole_numbers = types.is_float_dtype(wanted) and types.is_integer_dtype(table[name])
            if whole_numbers or (not types.is_integer_dtype(wanted) and table[name].isna().all()):
                table[name] = table[name].astype(wanted)
    if contract.strict == "filter":
        table = table[[name for name in table if name in contract.columns]]
    violations = _contract_violations(table, contract, personal)
    return table[[name for name in contract.columns if name in table]], violations


def examples(
    table: pd.DataFrame, broken: np.ndarray, column: str | None = None, personal: Sequence[str] = ()
) -> tuple[str, ...]:
    """Return the first rows of a mask, counted from 1 as people do, with the value of ``column``."""
    told = []
    for number in np.flatnonzero(broken)[:MOST_EXAMPLES]:
        value = (
            "" if column is None else ": ***" if column in personal else _shown(table[column].iloc[number])
        )
        told.append(f"row {number + 1}{value}")
    return tuple(told)


def _shown_case(case: Any, column: str, personal: Sequence[str]) -> str:
    return "***" if column in personal else f"{case!r:.60}"


def _shown(value: Any) -> str:
    plain = value.item() if hasattr(value, "item") else value
    return f": {plain!r:.60}"


def request_contract(contract: pa.DataFrameSchema, target: str) -> pa.DataFrameSchema:
    """Return the contract of rows to predict for: without the target, and the same row may come twice."""
    asked = contract.remove_columns([target])
    asked = asked.update_columns({name: {"unique": False} for name in asked.columns})
    asked.unique = None
    return asked


def request_model(contract: pa.DataFrameSchema) -> type[BaseModel]:
    """Return the pydantic model of one row of a request, with the contract's types, ranges and descriptions.

    A nullable column may be left out. What pydantic cannot express is left to ``check``: see ``expressed``.
    """
    fields: dict[str, Any] = {}
    for number, (name, column) in enumerate(contract.columns.items()):
        kind, limits = _kind_and_limits(column)
        # Columns may have names that Python or pydantic does not take: they are aliases.
        if column.nullable:
            fields[f"column_{number}"] = (Optional[kind], Field(default=None, alias=name, **limits))
        else:
            fields[f"column_{number}"] = (kind, Field(alias=name, **limits))
    return create_model("Row", __config__=STRICT, **fields)


def example_row(contract: pa.DataFrameSchema) -> dict[str, Any] | None:
    """Return a row that the contract admits, made from its ranges and examples; none if it tells too little.

    No row of the training data is shown: it may be about a person.
    """
    row = {name: example_values(column)[0] for name, column in contract.columns.items()}
    try:
        request_model(contract).model_validate(row)
    except ValidationError:
        return None
    return row


def example_values(column: Any) -> list[Any]:
    """Return values made from a column's examples and ranges, one at least; a range may not admit them."""
    kind, about = _kind_and_limits(column)
    allowed = next((one.statistics["allowed_values"] for one in column.checks if one.name == "isin"), None)
    if examples := about.get("examples"):
        return list(examples)
    if allowed is not None:
        return list(allowed)
    if column.nullable:
        return [None]
    if kind in (int, float):
        return [kind(max(about.get("ge", 0), min(1, about.get("le", 1))))]
    return ["text"]


def label_adapter(contract: pa.DataFrameSchema, target: str) -> TypeAdapter[Any]:
    """Return what reads one label from JSON, as strictly as the contract describes the target."""
    kind, limits = _kind_and_limits(contract.columns[target])
    model = create_model("Label", __config__=STRICT, label=(kind, Field(**limits)))
    return TypeAdapter(model)


def expressed(contract: pa.DataFrameSchema) -> bool:
    """Tell whether ``request_model`` says all that the contract says, so that rows need no second check."""
    known = {"isin", *(rule for rule, _, _ in LIMITS)}
    return not contract.checks and all(
        _plain(column) and {check.name for check in column.checks} <= known
        for column in contract.columns.values()
    )


def _plain(column: Any) -> bool:
    wanted = column.dtype.type if column.dtype is not None else object
    kinds = (types.is_string_dtype, types.is_bool_dtype, types.is_integer_dtype, types.is_float_dtype)
    return any(kind(wanted) for kind in kinds) and not column.parsers


def rows_to_table(
    rows: Sequence[BaseModel], contract: pa.DataFrameSchema, *, checked: bool = False
) -> pd.DataFrame:
    """Return the rows of a request, in the contract's types, checked against the contract.

    ``checked`` says that their model has checked all of it already (``expressed``).
    """
    table = typed_table([row.model_dump(by_alias=True) for row in rows], contract)
    return table if checked else check(table, contract, "request")


def typed_table(rows: Sequence[dict[str, Any]], contract: pa.DataFrameSchema) -> pd.DataFrame:
    """Return JSON objects as a table in the contract's types: what ``records`` made, back again.

    As in a request, a nullable column may be left out; without another one raises ``MlError``.
    """
    columns = {}
    for name, column in contract.columns.items():
        if not column.nullable and any(name not in row for row in rows):
            raise MlError(f"a row lacks the column '{name}', which the contract demands")
        kind = column.dtype.type if column.dtype else object
        columns[name] = pd.Series([row.get(name) for row in rows], dtype=kind)
    return pd.DataFrame(columns)


def records(table: pd.DataFrame) -> list[dict[str, Any]]:
    """Return the rows as JSON objects: Python's own types, ``None`` for a missing value, floats unrounded."""
    return table.astype(object).where(table.notna(), None).to_dict("records")


def _kind_and_limits(column: Any) -> tuple[Any, dict[str, Any]]:
    wanted = column.dtype.type if column.dtype is not None else object
    about = {"description": column.description} if column.description else {}
    told = column.metadata or {}
    if examples := told.get("examples") or ([told["example"]] if "example" in told else []):
        about["examples"] = list(examples)
    rules = {one.name: one.statistics or {} for one in column.checks}
    if "isin" in rules and types.is_string_dtype(wanted):
        return Literal[tuple(rules["isin"]["allowed_values"])], about
    if "isin" in rules:
        about["json_schema_extra"] = {"enum": list(rules["isin"]["allowed_values"])}
    limits: dict[str, Any] = {}
    kind: Any = str
    if types.is_bool_dtype(wanted):
        kind = bool
    elif types.is_integer_dtype(wanted):
        bounds = np.iinfo(getattr(wanted, "numpy_dtype", wanted))
        kind, limits = int, {"ge": int(bounds.min), "le": int(bounds.max)}
    elif types.is_float_dtype(wanted):
        kind = float
    for rule, statistic, limit in LIMITS:
        if rules.get(rule, {}).get(statistic) is not None:
            limits[limit] = rules[rule][statistic]
    if "isin" in rules:  # a Literal of numbers would take true for 1
        kind = Annotated[kind, AfterValidator(_one_of(list(rules["isin"]["allowed_values"])))]
    return kind, about | limits


def _one_of(allowed: list[Any]) -> Callable[[Any], Any]:
    def check_value(value: Any) -> Any:
        if value not in allowed:
            told = {"allowed": ", ".join(map(str, allowed))}
            raise PydanticCustomError("one_of", "Input should be one of {allowed}", told)
        return value

    return check_value


def _contract_violations(
    table: pd.DataFrame, contract: pa.DataFrameSchema, personal: Sequence[str]
) -> list[Violation]:
    if len(table) == 0:
        return [Violation("", "the table has no rows", 0, structural=True)]
    infinite = [name for name in table if types.is_float_dtype(table[name]) and np.isinf(table[name]).any()]
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
    except Exception as error:
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
        broken = np.isin(table.index.to_numpy(), cases["index"].dropna().unique())
        told = f"the columns contradict each other: {check_name}"
        ranked.append((4, Violation("", told, int(broken.sum()) or len(table), examples(table, broken))))
    for (column, check_name), cases in failures[~across].groupby(
        ["column", "check"], sort=False, dropna=False
    ):
        check_name = str(check_name)
        case = cases["failure_case"].iloc[0]
        if check_name == "column_in_dataframe":
            told = f"column '{case}' is missing"
            ranked.append((0, Violation(str(case), told, len(table), structural=True)))
        elif check_name == "column_in_schema":
            told = f"column '{case}' is not in the contract"
            ranked.append((1, Violation(str(case), told, len(table), structural=True)))
        elif check_name == "not_nullable":
            missing = table[column].isna().to_numpy()
            told = f"column '{column}' has missing values"
            ranked.append((2, Violation(column, told, int(missing.sum()), examples(table, missing))))
        elif check_name.startswith("dtype("):
            found, wanted = table[column], contract.columns[column].dtype
            wrong = (pd.to_numeric(found, errors="coerce").isna() & found.notna()).to_numpy()
            told = f"column '{column}' holds {found.dtype} values, the contract says {wanted}"
            shown = examples(table, wrong, column, personal)
            ranked.append(
                (3, Violation(column, told, int(wrong.sum()) or len(table), shown, structural=True))
            )
        else:
            rule = "values must be unique" if check_name == "field_uniqueness" else check_name
            labels = cases["index"].dropna()
            broken = np.isin(table.index.to_numpy(), labels.to_numpy()) if len(labels) else None
            shown = (_shown_case(case, column, personal),)
            if broken is not None:
                shown = examples(table, broken, column, personal)
            ranked.append((4, Violation(column, f"column '{column}', {rule}", len(cases), shown)))
    return [violation for _, violation in sorted(ranked, key=lambda item: item[0])]
