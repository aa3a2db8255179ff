"""Reading rows, as CSV, JSON, NDJSON or Parquet: what cannot be read is told on one line."""

import csv
import functools
import io
import itertools
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any, Literal

import pandas as pd
import pandera.pandas as pa
from pydantic import ValidationError
from pydantic_core import from_json, to_json

from ml.data.as_text import as_text
from ml.data.contract import check, text_columns
from ml.data.gap_words import reading, words_that_are_values
from ml.data.personal_rules import obey_in_request, obey_in_table
from ml.data.request import BrokenRows, RowReader, check_names
from ml.data.rows import Row, rows_to_table
from ml.errors import MlError, UsageError
from ml.source_settings import Format, format_of

Kind = Literal["csv", "json", "ndjson", "parquet"]
MAX_FIELDS_MORE = 10_000
KINDS: dict[str, Kind] = {".csv": "csv", ".json": "json", ".ndjson": "ndjson", ".parquet": "parquet"}


def read_table(
    read: Callable[..., pd.DataFrame],
    file: Path,
    contract: pa.DataFrameSchema | None = None,
    empty: Collection[str] = (),
) -> pd.DataFrame:
    """Read a file with one of pandas' readers; what cannot be read raises ``MlError`` on one line.

    With a contract, its text columns are read as text, so that a column of digits keeps its leading zeros.
    ``empty`` are words that stand for a gap then.
    """
    try:
        options: dict[str, Any] = {}
        if contract is not None:
            words = words_that_are_values(contract)
            options = reading(functools.partial(read, file), text_columns(contract), words, empty)
        return read(file, **options)
    except FileNotFoundError as error:
        raise MlError(f"{file} is missing: check the path") from error
    except pd.errors.EmptyDataError as error:
        raise MlError(f"{file} is empty: a table with a header line is expected") from error
    except (ValueError, pd.errors.ParserError) as error:
        reason = str(error).strip().splitlines()[0]
        raise MlError(f"{file} cannot be read as a table: {reason}") from error


def read_json(content: bytes, reader: RowReader, leave_out: Collection[str] = frozenset()) -> list[Row]:
    """Return the rows of a JSON object or list; what the reader does not admit raises ``BrokenRows``.

    A column that a row leaves out is ``None`` there. Columns to ``leave_out`` are not looked at.
    """
    check_names(content, len(reader.contract.columns) + len(leave_out))
    adapter = reader.rows if content.lstrip().startswith(b"[") else reader.row
    try:
        given = adapter.validate_json(_prepared(content, reader, leave_out))
    except ValidationError as error:
        raise BrokenRows(error) from error
    return [reader.plain(row) for row in (given if isinstance(given, list) else [given])]


def read_rows(
    content: bytes, kind: Kind, reader: RowReader, name: str, leave_out: Collection[str] = frozenset()
) -> pd.DataFrame:
    """Return rows in the contract's types, checked; ``MlError``, or ``BrokenRows``, if they break it."""
    if kind == "csv":
        return _checked(_csv(content, reader, name), reader, leave_out, name)
    rows = read_json(content, reader, leave_out) if kind == "json" else _lines(content, reader, leave_out)
    if not rows:
        raise MlError(f"{name} is empty: send at least one row")
    personal = reader.project.personal
    return rows_to_table(rows, reader.contract, checked=reader.complete, what=name, personal=personal)


def read_file(file: Path, reader: RowReader, leave_out: Collection[str] = frozenset()) -> pd.DataFrame:
    """Return the rows of a file of a kind that its name tells, as ``read_rows`` does."""
    kind = KINDS.get(file.suffix.lower())
    if kind is None:
        known = ", ".join(KINDS)
        raise UsageError(f"{file}: cannot tell its format: use a file {known}, or - for standard input")
    if kind == "parquet":
        whole = as_text(read_table(pd.read_parquet, file), text_columns(reader.contract))
        return _checked(whole, reader, leave_out, str(file))
    if not file.exists():
        raise MlError(f"{file} is missing: check the path")
    return read_rows(file.read_bytes(), kind, reader, str(file), leave_out)


def write_rows(rows: list[dict[str, Any]], kind: Kind, *, header: bool) -> bytes:
    """Return JSON objects as lines of a CSV or NDJSON file."""
    if kind == "ndjson":
        return b"".join(to_json(one) + b"\n" for one in rows)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    if header:
        writer.writerow(rows[0])
    writer.writerows(row.values() for row in rows)
    return text.getvalue().encode()


def _csv(content: bytes, reader: RowReader, name: str) -> pd.DataFrame:
    """Read CSV as the project's own files are written if its header is so, else as anybody writes it."""
    own, known = format_of(reader.project.source), len(reader.contract.columns)
    written = own if _has_header_of(content, own, reader.contract) else Format()
    mark = written.separator.encode()
    most = max((line.count(mark) for line in content.splitlines()), default=0)
    if most > known + MAX_FIELDS_MORE:  # each would be read, and told of, at length
        raise MlError(f"{name} has {most + 1:,} fields in a line, the contract has {known} columns")

    def read(_: Path, **options: Any) -> pd.DataFrame:
        table: pd.DataFrame = pd.read_csv(io.BytesIO(content), **written.csv_options, **options)
        return table

    table = read_table(read, Path(name), reader.contract, written.empty)
    if len(table.columns) == 1 < len(reader.contract.columns):
        raise MlError(f"{name} has one column: separate columns by '{Format().separator}'")
    return table


def _has_header_of(content: bytes, written: Format, contract: pa.DataFrameSchema) -> bool:
    header = next(itertools.islice(io.BytesIO(content), written.skip_lines, None), b"")
    try:
        names = next(
            csv.reader(
                [header.decode(written.encoding).strip()],
                delimiter=written.separator,
                skipinitialspace=written.skip_blanks,
            )
        )
    except (UnicodeDecodeError, StopIteration, csv.Error):
        return False
    return {name for name, column in contract.columns.items() if not column.nullable} <= set(names)


def _lines(content: bytes, reader: RowReader, leave_out: Collection[str]) -> list[Row]:
    rows = []
    for number, line in enumerate(content.splitlines(), start=1):
        if line.strip():
            check_names(line, len(reader.contract.columns) + len(leave_out))
            try:
                rows.append(reader.plain(reader.row.validate_json(_prepared(line, reader, leave_out))))
            except ValidationError as error:
                raise BrokenRows(error, number) from error
    return rows


def _checked(table: pd.DataFrame, reader: RowReader, leave_out: Collection[str], name: str) -> pd.DataFrame:
    return check(
        obey_in_table(table.drop(columns=list(leave_out), errors="ignore"), reader.project),
        reader.contract,
        name,
        reader.project.personal,
    )


def _prepared(content: bytes, reader: RowReader, leave_out: Collection[str]) -> bytes:
    """Return JSON without the columns to leave out, and with what the rules of personal columns leave."""
    if not leave_out and not reader.project.personal_rules:
        return content
    try:
        given = from_json(content, allow_inf_nan=False)
    except ValueError:
        return content  # which is refused with its place
    rows = given if isinstance(given, list) else [given]
    kept = [
        obey_in_request({key: value for key, value in row.items() if key not in leave_out}, reader.project)
        if isinstance(row, dict)
        else row
        for row in rows
    ]
    return to_json(kept if isinstance(given, list) else kept[0])
