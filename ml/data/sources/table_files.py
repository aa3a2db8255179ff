"""Tables in files, read in batches: text, spreadsheets, JSON, Parquet; compressed or not."""

import functools
import gzip
import itertools
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from ml.data.as_text import as_text
from ml.data.completeness import check_compressed, check_file, open_file
from ml.data.gap_words import Words, reading
from ml.data.sources.file_types import JSON_LINES, KNOWN, SHEETS, TEXT, can_read, ending
from ml.data.sources.interface import BATCH_ROWS, Batches
from ml.errors import MlError
from ml.source_settings import Format


def read_batches(
    file: Path,
    written: Format,
    text_columns: Sequence[str] = (),
    words: Words = {},
    *,
    file_type: str | None = None,
    counted: bool = False,
) -> Batches:
    """Yield the rows of a file; what cannot be read raises ``MlError`` on one line that names it.

    ``text_columns`` keep their leading zeros; ``words`` are values of a column, and gaps in others.
    ``file_type`` overrules the name's ending. ``counted`` says
    that the number of rows is agreed on, so that the last line of a text needs no line break.
    """
    kind = file_type or ending(file.name)
    if not can_read(f"table{kind}"):
        known = ", ".join(sorted(KNOWN))
        raise MlError(
            f"{file}: cannot tell how to read it: its name must end with one of {known} (or .gz, .zst)"
        )
    try:
        check_compressed(file)
        if kind in TEXT:
            yield from _text(file, written, text_columns, words, TEXT[kind], counted=counted)
        elif kind in SHEETS:
            yield _sheet(file, written, text_columns, words)
        else:
            for batch in READERS[kind](file):
                # A batch of missing values alone does not know that it is text.
                text = [name for name in text_columns if name in batch and batch[name].isna().all()]
                yield batch.astype(dict.fromkeys(text, "str"))
    except FileNotFoundError as error:
        raise MlError(f"{file} is missing: check the path") from error
    except (pd.errors.EmptyDataError, pa.ArrowInvalid, ValueError, EOFError, gzip.BadGzipFile) as error:
        if isinstance(error, pd.errors.EmptyDataError) or not file.stat().st_size:
            raise MlError(f"{file} is empty: a table with a header line is expected") from error
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise MlError(f"{file} cannot be read as a table: {reason}") from error
    except OSError as error:
        if error.errno is not None:
            raise
        raise MlError(f"{file} cannot be read as a table: {error}") from error


def read_whole(
    file: Path, written: Format, text_columns: Sequence[str] = (), words: Words = {}
) -> pd.DataFrame:
    """Return all rows of a file, as a source with that file gives them; its last line needs no line break."""
    batches = read_batches(file, written, text_columns, words, counted=True)
    table: pd.DataFrame = pd.concat([as_text(batch, text_columns) for batch in batches], ignore_index=True)
    return table


def _text(
    file: Path,
    written: Format,
    text_columns: Sequence[str],
    words: Words,
    separator: str,
    *,
    counted: bool,
) -> Batches:
    if "separator" in written.model_fields_set:
        separator = written.separator
    check_file(
        file,
        separator,
        written.encoding,
        skip_lines=written.skip_lines,
        skip_blanks=written.skip_blanks,
        counted=counted,
    )
    read: Any = functools.partial(pd.read_csv, file, **written.csv_options | {"sep": separator})
    with read(chunksize=BATCH_ROWS, **reading(read, text_columns, words, written.empty)) as chunks:
        yield from chunks


def _sheet(file: Path, written: Format, text_columns: Sequence[str], words: Words) -> pd.DataFrame:
    try:
        read: Any = functools.partial(
            pd.read_excel,
            file,
            sheet_name=written.sheet or 0,
            engine="calamine",
            skiprows=written.skip_lines,
        )
        table: pd.DataFrame = read(**reading(read, text_columns, words, written.empty, as_text="object"))
    except FileNotFoundError:
        raise
    except Exception as error:  # calamine has errors of its own
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise MlError(f"{file} cannot be read as a spreadsheet: {reason}") from error
    texts = {name: "str" for name in text_columns if name in table}
    table = as_text(table, texts).astype(texts)
    return table.dropna(axis="index", how="all").dropna(axis="columns", how="all")


def _json(file: Path) -> Batches:
    with open_file(file) as stream:
        rows = json.load(stream)
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise MlError(f"{file}: a list of objects is expected, one a row: [{{...}}, {{...}}]")
    yield pd.DataFrame(rows)


def _json_lines(file: Path) -> Batches:
    with open_file(file) as stream:
        lines = (line for line in stream if line.strip())
        while rows := [json.loads(line) for line in itertools.islice(lines, BATCH_ROWS)]:
            if not all(isinstance(row, dict) for row in rows):
                raise MlError(f"{file}: each line must be an object: {{...}}")
            yield pd.DataFrame(rows)


def _parquet(file: Path) -> Batches:
    parquet = pq.ParquetFile(file)
    if not parquet.metadata.num_rows:
        yield parquet.read().to_pandas()
    for batch in parquet.iter_batches(batch_size=BATCH_ROWS):
        yield batch.to_pandas()


READERS: dict[str, Callable[[Path], Batches]] = {
    ".json": _json,
    **dict.fromkeys(JSON_LINES, _json_lines),
    ".parquet": _parquet,
}
