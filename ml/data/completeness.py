"""Is a file of rows whole? What a reader of tables fills up, skips or guesses in silence is refused here."""

import csv
import io
import re
from pathlib import Path

from ml.errors import MlError

SEPARATORS = {";": "semicolons", "\t": "tabs", "|": "bars"}


def check_file(file: Path, *, counted: bool = False) -> None:
    """Raise ``MlError`` if a CSV file is cut off, has a row that is too short or long, or no commas.

    ``counted`` says that the number of its rows is agreed on, so that its last line needs no line break. What
    is no text at all, empty or missing is left to the reader.
    """
    try:
        with open(file, encoding="utf-8-sig", newline="") as stream:
            content = stream.read()
    except (OSError, UnicodeDecodeError):
        return
    header = re.split(r"[\r\n]", content.lstrip(), maxsplit=1)[0]
    for separator, name in SEPARATORS.items():
        if "," not in header and separator in header:
            raise MlError(f"{file}: its columns are separated by {name}: write it with commas between them")
    _check_records(file, content)
    if header and not counted and not content.endswith(("\n", "\r")):
        raise MlError(
            f"{file}: the last line has no line break: is the file cut off? Fetch it again; if it is whole, "
            "end it with one, or agree on the number of rows (rows = { labelled = ... } under its source)"
        )


def check_count(what: str, rows: int, agreed: int | None) -> None:
    """Raise ``MlError`` if a table has not the number of rows that was agreed on, if one was."""
    if agreed is not None and rows != agreed:
        raise MlError(
            f"{what}: {rows} rows, and project.toml agrees on {agreed}: is it whole? If this is right, "
            "change rows under its source"
        )


def _check_records(file: Path, content: str) -> None:
    reader = csv.reader(io.StringIO(content, newline=""), strict=True)
    try:
        fields = len(next(reader, []))
        for record in reader:
            if record and len(record) != fields:
                raise MlError(
                    f"{file}: the row that ends in line {reader.line_num} has {len(record)} fields, "
                    f"the header has {fields}: is the file cut off or a separator lost? Fetch it again"
                )
    except csv.Error as error:
        if "unexpected end of data" in str(error):
            raise MlError(f"{file}: ends within quotes: is the file cut off? Fetch it again") from error
