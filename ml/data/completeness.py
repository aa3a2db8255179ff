"""Is a file of rows whole? What a reader of tables fills up, skips or guesses in silence is refused here."""

import bz2
import csv
import gzip
import io
import lzma
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

from ml.errors import MlError

SEPARATORS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "bars"}
BLOCK_BYTES = 8_000_000
MAX_FIELD_BYTES = 10_000_000  # of one cell: more is no value, but a document, or an unclosed quote


def open_file(file: Path) -> BinaryIO:
    """Open a file for reading, unpacked if its name says that it is compressed."""
    openers = {".gz": gzip.open, ".bz2": bz2.open, ".xz": lzma.open}
    if file.suffix.lower() == ".zst":
        import zstandard

        return io.BufferedReader(zstandard.open(file, "rb"))
    found: BinaryIO = openers.get(file.suffix.lower(), open)(file, "rb")  # type: ignore[operator]
    return found


def check_compressed(file: Path) -> None:
    """Raise ``MlError`` if a Zstandard file ends within a frame, which its readers take for its end."""
    if file.suffix.lower() != ".zst":
        return
    import zstandard

    reader = zstandard.ZstdDecompressor().decompressobj()
    with open(file, "rb") as stream:
        while chunk := stream.read(2**20):
            while chunk:
                if reader.eof:
                    reader = zstandard.ZstdDecompressor().decompressobj()
                reader.decompress(chunk)
                chunk = reader.unused_data if reader.eof else b""
    if not reader.eof:
        raise MlError(f"{file}: ends within a frame: is the file cut off? Fetch it again")


def check_file(
    file: Path,
    separator: str = ",",
    encoding: str = "utf-8-sig",
    *,
    skip_lines: int = 0,
    skip_blanks: bool = False,
    counted: bool = False,
) -> None:
    """Raise ``MlError`` if a text table is cut off, has a row too short or long, or another separator.

    ``counted`` says that the number of its rows is agreed on, so that its last line needs no line break. What
    is no text at all, empty or missing is left to the reader.
    """
    csv.field_size_limit(MAX_FIELD_BYTES)
    if _is_plain(file, separator, encoding, skip_lines, counted=counted):
        return
    try:
        with open_file(file) as raw, io.TextIOWrapper(raw, encoding=encoding, newline="") as stream:
            for _ in range(skip_lines):
                stream.readline()
            lines = _Lines(stream)
            reader = csv.reader(lines, delimiter=separator, skipinitialspace=skip_blanks, strict=True)
            fields = _check_records(file, reader, skip_lines)
    except (OSError, EOFError, UnicodeDecodeError, LookupError):
        return
    other = next((sign for sign in SEPARATORS if sign != separator and sign in lines.first), None)
    if fields == 1 and other:
        raise MlError(
            f"{file}: its columns are separated by {SEPARATORS[other]}: say so under its source in "
            f"project.toml, format = {{ separator = {other!r} }}"
        )
    if lines.first and not counted and not lines.last.endswith(("\n", "\r")):
        raise MlError(
            f"{file}: the last line has no line break: is the file cut off? Fetch it again; if it is whole, "
            "end it with one, or agree on the number of rows (rows = { labelled = ... } under its source)"
        )


def check_count(what: str, rows: int, agreed: int | None, least: int | None = None) -> None:
    """Raise ``MlError`` if a table has not the number of rows that was agreed on, if one was."""
    if agreed is not None and rows != agreed:
        raise MlError(
            f"{what}: {rows} rows, and project.toml agrees on {agreed}: is it whole? If this is right, "
            "change rows under its source"
        )
    if least is not None and rows < least:
        raise MlError(
            f"{what}: {rows} rows, and project.toml agrees on {least} at least: is it whole? If this is "
            "right, change min_rows under its source"
        )


def _is_plain(file: Path, separator: str, encoding: str, skip_lines: int, *, counted: bool) -> bool:
    """Tell whether each row has the fields of the header, by the separators and line breaks of whole blocks.

    If that is not plain, the answer is no: a reader of records, far slower, has to tell what is wrong.
    """
    if len(separator) != 1 or not separator.isascii() or encoding.lower().startswith(("utf-16", "utf-32")):
        return False
    try:
        with open_file(file) as stream:
            for _ in range(skip_lines):
                stream.readline(MAX_FIELD_BYTES)
            header = stream.readline(MAX_FIELD_BYTES)
            row = _signs(header, separator.encode())
            if b'"' in header or len(row) < 2 or not row.endswith(b"\n"):
                return False
            rest = b""
            while block := stream.read(BLOCK_BYTES):
                end = block.rfind(b"\n") + 1
                if not end or not _are_rows(rest + block[:end], row):
                    return False
                rest = block[end:]
    except (OSError, EOFError):
        return False
    return not rest or (counted and _are_rows(rest + b"\n", row))


def _are_rows(lines: bytes, row: bytes) -> bool:
    """Tell whether whole lines have the separators of a ``row`` each; quoted fields may hold any sign."""
    separator = row[:1]
    if b'"' in lines:
        quoted = rb'(?:(?<=[%b\n])|^)"(?:[^"]|"")*"(?=[%b\r\n])' % (2 * (re.escape(separator),))
        lines = re.sub(quoted, b"", lines)
        if b'"' in lines:
            return False
    if b"\r" in lines and lines.count(b"\r") != lines.count(b"\r\n"):
        return False
    signs = _signs(lines, separator)
    return signs == row * (len(signs) // len(row))


def _signs(lines: bytes, separator: bytes) -> bytes:
    """Return the separators and line breaks alone."""
    return lines.translate(None, delete=bytes(range(256)).translate(None, delete=separator + b"\n"))


MAX_LINE_LETTERS = 2 * MAX_FIELD_BYTES


class _Lines:
    """The lines of a stream, of which the first that is not empty and the last are kept."""

    def __init__(self, stream: io.TextIOWrapper) -> None:
        self._stream = stream
        self.first = self.last = ""

    def __iter__(self) -> Iterator[str]:
        while line := self._stream.readline(MAX_LINE_LETTERS):
            if len(line) == MAX_LINE_LETTERS and not line.endswith(("\n", "\r")):
                raise csv.Error("field larger than a line may be")  # told as one, before it fills the memory
            self.last = line
            self.first = self.first or line.strip()
            yield line


def _check_records(file: Path, reader: Any, skipped: int) -> int:
    """Return how many fields the header has; a row with more or fewer raises ``MlError``."""
    fields = 0
    try:
        fields = len(next(reader, []))
        for record in reader:
            if fields > 1 and record and len(record) != fields:
                raise MlError(
                    f"{file}: the row that ends in line {reader.line_num + skipped} has {len(record)} "
                    f"fields, the header has {fields}: is the file cut off or a separator lost? Fetch it "
                    "again"
                )
    except csv.Error as error:
        if "unexpected end of data" in str(error):
            raise MlError(f"{file}: ends within quotes: is the file cut off? Fetch it again") from error
        if "field larger" in str(error):
            raise MlError(
                f"{file}: a cell near line {reader.line_num + skipped} has more than {MAX_FIELD_BYTES:,} "
                "bytes: is a quote left open?"
            ) from error
    return fields
