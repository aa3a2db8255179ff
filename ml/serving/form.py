"""The fields in which a person types one row: made from the contract, and read back as a request's JSON."""

import contextlib
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import parse_qsl

from ml.data.request import example_row
from ml.errors import MlError
from ml.serving.loaded import LoadedVersion

PREFIX = "column:"  # so that no column can be taken for the field of the key
KEY = "key"
MAX_FORM_BYTES = 256 * 1024
MORE_FIELDS = 10  # than the form has: a version whose contract had more may have answered before
# Limits of the type of a whole number, which tell people nothing.
OF_TYPE = {*(2**bits - 1 for bits in (31, 32, 63, 64)), -(2**31), -(2**63)}
KINDS = ("integer", "number", "boolean")


@dataclass(frozen=True)
class Field:
    """One column as a field: ``kind`` is one of ``KINDS``, else text; ``value`` is what stands in it."""

    name: str
    title: str
    about: str
    kind: str
    choices: tuple[str, ...]
    least: float | None
    most: float | None
    max_length: int | None
    nullable: bool
    personal: bool
    value: str = ""
    problem: str = ""


def empty_fields(loaded: LoadedVersion) -> list[Field]:
    """Return the fields of a row of a version, with nothing in them."""
    contract, personal = loaded.bundle.request_contract, loaded.bundle.project.personal
    schema = loaded.reader.row.json_schema()["properties"]
    return [_field(name, column, schema[name], name in personal) for name, column in contract.columns.items()]


def example_fields(loaded: LoadedVersion) -> list[Field]:
    """Return them with the row that the documentation shows."""
    row = example_row(loaded.bundle.request_contract) or {}
    return [replace(field, value=_text(row.get(field.name))) for field in empty_fields(loaded)]


def typed_fields(loaded: LoadedVersion, typed: Mapping[str, str]) -> list[Field]:
    """Return them with what was typed; a column that was not sent is empty."""
    return [replace(field, value=typed.get(PREFIX + field.name, "")) for field in empty_fields(loaded)]


def with_problems(fields: list[Field], problems: list[dict[str, Any]]) -> list[Field]:
    """Return fields with what ``BrokenRows`` found, each at its place."""
    told = {one["place"][0]: one["problem"] for one in reversed(problems) if one["place"]}
    return [replace(field, problem=told.get(field.name[:100], "")) for field in fields]


def read_form(body: bytes, columns: int) -> dict[str, str]:
    """Return the fields of a form-encoded body by name, or raise ``MlError``."""
    try:
        pairs = parse_qsl(
            body.decode("ascii"),
            keep_blank_values=True,
            errors="strict",
            max_num_fields=columns + MORE_FIELDS,
        )
    except ValueError as error:
        raise MlError("this is not what the form sends: open the page again") from error
    return dict(pairs)


def row_of(fields: list[Field]) -> dict[str, Any]:
    """Return the row that the fields hold, as a client would send it in JSON.

    An empty field is left out.
    """
    return {field.name: value_of(field) for field in fields if field.value != ""}


def value_of(field: Field) -> Any:
    """Return what a field holds; what is no number stays text, and the contract says what is wrong."""
    text = field.value
    if field.kind == "integer" and re.fullmatch(r"\s*[+-]?[0-9]{1,30}\s*", text):
        return int(text)
    if field.kind == "number" and re.fullmatch(r"[\s0-9.eE+-]+", text):
        with contextlib.suppress(ValueError):
            return float(text) if math.isfinite(float(text)) else text
    if field.kind == "boolean" and text in ("true", "false"):
        return text == "true"
    return text


def _field(name: str, column: Any, described: dict[str, Any], personal: bool) -> Field:
    kinds = [one for one in described.get("anyOf", [described]) if one.get("type") != "null"]
    one = kinds[0] | {key: value for key, value in described.items() if key != "anyOf"}
    kind = one["type"] if one.get("type") in KINDS else "text"
    choices = one.get(
        "enum", [one["const"]] if "const" in one else [True, False] if kind == "boolean" else []
    )
    return Field(
        name=name,
        title=str(column.title or name),
        about=str(column.description or ""),
        kind=kind,
        choices=tuple(map(_text, choices)),
        least=_limit(one, "minimum", "exclusiveMinimum"),
        most=_limit(one, "maximum", "exclusiveMaximum"),
        max_length=one.get("maxLength"),
        nullable=bool(column.nullable),
        personal=personal,
    )


def _limit(described: dict[str, Any], *names: str) -> float | None:
    found = next((described[name] for name in names if name in described), None)
    return None if found is None or found in OF_TYPE else found


def _text(value: Any) -> str:
    if value is None:
        return ""
    return str(value).lower() if isinstance(value, bool) else str(value)
