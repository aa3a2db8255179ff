"""What a request may be: the contract without the target, as the pydantic model of a row."""

import time
from collections.abc import Callable, Collection
from dataclasses import dataclass
from functools import cached_property
from typing import Annotated, Any, Literal, Optional

import numpy as np
import pandera.pandas as pa
from pandas.api import types
from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    TypeAdapter,
    ValidationError,
    create_model,
    field_validator,
)
from pydantic_core import PydanticCustomError, from_json

from ml.errors import MlError, describe
from ml.project import Project

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
MAX_PROBLEMS = 20
MAX_NAMES_MORE = 10_000
STRICT = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False, regex_engine="python-re")


def request_contract(contract: pa.DataFrameSchema, target: str) -> pa.DataFrameSchema:
    """Return the contract of rows to predict for: without the target, and the same row may come twice."""
    asked = contract.remove_columns([target])
    # What is hashed nobody needs to send.
    asked = asked.update_columns(
        {
            name: {"unique": False} | ({"nullable": True} if (column.metadata or {}).get("hashed") else {})
            for name, column in asked.columns.items()
        }
    )
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
    if kind in (int, float) and (middle := _middle(kind, about, column)) is not None:
        return [middle]
    if column.nullable:
        return [None]
    if kind in (int, float):
        return [kind(max(about.get("ge", 0), min(1, about.get("le", 1))))]
    return ["text"]


def _middle(kind: Callable[[Any], Any], about: dict[str, Any], column: Any) -> Any:
    """Return the middle of the range that a contract declares, none without both ends.

    The limits of a type say nothing of what is usual.
    """
    declared = {one.name for one in column.checks}
    ends = {limit: about[limit] for rule, _, limit in LIMITS if rule in declared and limit in about}
    low, high = ends.get("ge", ends.get("gt")), ends.get("le", ends.get("lt"))
    if low is None or high is None:
        return None
    if kind is int:
        return int((low + high) // 2)
    middle = low / 2 + high / 2
    short = float(f"{middle:.3g}")
    return short if low < short < high else middle


CLOCKS_DIFFER_SECONDS = 3600.0


class Told(BaseModel):
    """What came true for a row, and when; of several labels the latest holds."""

    model_config = ConfigDict(extra="forbid", strict=True)

    label: int | float | str | bool
    at: AwareDatetime | None = Field(default=None, description="when it came true; else now")

    @field_validator("at")
    @classmethod
    def _has_been(cls, at: AwareDatetime | None) -> AwareDatetime | None:
        """Refuse what is yet to come, which would hold against all until then, and what no clock said."""
        if at is not None and at.timestamp() > time.time() + CLOCKS_DIFFER_SECONDS:
            raise ValueError("it has not come true yet")
        if at is not None and at.timestamp() < 0:
            raise ValueError("no service answered before 1970")
        return at

    @property
    def since(self) -> float | None:
        """When it came true, as Unix time."""
        return None if self.at is None else self.at.timestamp()


class Feedback(Told):
    """What came true for one row of an earlier answer."""

    request_id: str = Field(pattern="^[0-9a-f]{32}$", examples=["0123456789abcdef0123456789abcdef"])
    row: int = Field(default=0, ge=0, le=2**31 - 1, description="its place in the request, from 0")


def label_reader(contract: pa.DataFrameSchema, target: str) -> Callable[[Any], Any]:
    """Return what reads one label, as strictly as the contract describes the target.

    It returns the label as the target has it, and raises pydantic's ``ValidationError``.
    """
    kind, limits = _kind_and_limits(contract.columns[target])
    model = create_model("Label", __config__=STRICT, label=(kind, Field(**limits)))
    return lambda given: model.model_validate({"label": given}).__dict__["label"]


def expressed(contract: pa.DataFrameSchema) -> bool:
    """Tell whether ``request_model`` says all that the contract says, so that rows need no second check."""
    return not contract.checks and columns_expressed(contract)


def columns_expressed(contract: pa.DataFrameSchema) -> bool:
    """Tell whether ``request_model`` says all that the contract says of each column by itself."""
    known = {"isin", *(rule for rule, _, _ in LIMITS)}
    return all(
        _plain(column) and {check.name for check in column.checks} <= known
        for column in contract.columns.values()
    )


def _plain(column: Any) -> bool:
    wanted = column.dtype.type if column.dtype is not None else object
    kinds = (types.is_string_dtype, types.is_bool_dtype, types.is_integer_dtype, types.is_float_dtype)
    return any(kind(wanted) for kind in kinds) and not column.parsers


def _kind_and_limits(column: Any) -> tuple[Any, dict[str, Any]]:
    wanted = column.dtype.type if column.dtype is not None else object
    about = {"description": column.description} if column.description else {}
    told = column.metadata or {}
    if examples := told.get("examples") or ([told["example"]] if "example" in told else []):
        about["examples"] = list(examples)
    rules = {one.name: one.statistics or {} for one in column.checks}
    if "isin" in rules and types.is_string_dtype(wanted):
        one_of: Any = Literal[tuple(allowed := rules["isin"]["allowed_values"])]
        if {"true", "false"} & {str(text).lower() for text in allowed}:
            one_of = Annotated[one_of, BeforeValidator(_truth_as_text(allowed))]
        return one_of, about
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


def _truth_as_text(allowed: Collection[str]) -> Callable[[Any], Any]:
    """Return what turns true and false into the texts of a column that has them as such."""
    texts = {text.lower(): text for text in allowed}

    def text_of(value: Any) -> Any:
        return texts.get(str(value).lower(), value) if isinstance(value, bool) else value

    return text_of


def _one_of(allowed: list[Any]) -> Callable[[Any], Any]:
    def check_value(value: Any) -> Any:
        if value not in allowed:
            told = {"allowed": ", ".join(map(str, allowed))}
            raise PydanticCustomError("one_of", "Input should be one of {allowed}", told)
        return value

    return check_value


class BrokenRows(MlError):
    """Rows that the contract refuses: each place and what is wrong there, without repeating what was sent."""

    def __init__(self, error: ValidationError, line: int | None = None) -> None:
        """Keep what pydantic found, of a line of a file if one is given; at most ``MAX_PROBLEMS``."""
        super().__init__((f"line {line}: " if line else "") + describe(error))
        before = [f"line {line}"] if line else []
        found = error.errors(include_url=False, include_context=False, include_input=False)
        self.problems: list[dict[str, Any]] = [
            {"place": before + [str(part)[:100] for part in one["loc"]], "problem": one["msg"]}
            for one in found[:MAX_PROBLEMS]
        ]


def check_names(content: bytes, known: int) -> None:
    """Raise ``MlError`` for JSON objects that have thousands of names more than the ``known`` ones of each.

    To tell what is wrong with each would take seconds, for which a service would answer nobody else.
    """
    if content.count(b":") <= MAX_NAMES_MORE:
        return
    try:
        given = from_json(content)
    except ValueError:
        return  # which is refused with its place
    rows = [one for one in (given if isinstance(given, list) else [given]) if isinstance(one, dict)]
    if (more := sum(map(len, rows)) - known * len(rows)) > MAX_NAMES_MORE:
        raise MlError(f"{more:,} names more than there are fields: /openapi.json describes what to send")


@dataclass(frozen=True, eq=False)
class RowReader:
    """What reads one row, or a list of them, from JSON by a contract without the target.

    ``complete`` says that it admits no row that the contract refuses, so that rows need no second check.
    Rows go through the rules of the project's personal columns first.
    """

    contract: pa.DataFrameSchema
    row: TypeAdapter[Any]
    rows: TypeAdapter[Any]
    complete: bool
    project: Project

    @cached_property
    def _columns(self) -> list[str]:
        return list(self.contract.columns)

    def plain(self, row: BaseModel) -> dict[str, Any]:
        """Return a row that was read, by the names of its columns; what it left out is ``None``."""
        return dict(zip(self._columns, row.__dict__.values(), strict=True))


def row_reader(contract: pa.DataFrameSchema, project: Project, max_rows: int | None = None) -> RowReader:
    """Return the reader of a contract without the target, for at most so many rows at once."""
    row = request_model(contract)
    many = Annotated[list[row], Field(min_length=1, max_length=max_rows)]  # type: ignore[valid-type]
    return RowReader(contract, TypeAdapter(row), TypeAdapter(many), expressed(contract), project)
