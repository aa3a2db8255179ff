"""What a person points at with `ml new --from`: how it is written is found out once, then declared."""

import csv
import io
import re
import shutil
import tempfile
from collections import Counter
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pandas as pd

from ml.data.completeness import SEPARATORS, open_file
from ml.data.sources import files, first_rows, module_of, url
from ml.data.as_text import as_text
from ml.data.sources.interface import Asked
from ml.data.sources.file_types import TEXT, can_read, ending
from ml.errors import MlError, UsageError
from ml.source_settings import CatboostSource, FilesSource, Format, SqlSource, UrlSource

LOOK_BYTES = 2_000_000
LOOK_LINES = 500
MAX_COPIED_BYTES = 20_000_000
BYTE_ORDER_MARKS = {b"\xef\xbb\xbf": "utf-8-sig", b"\xff\xfe": "utf-16", b"\xfe\xff": "utf-16"}
NUMBER = re.compile(r"[-+]?(\d{1,3}([.,]\d{3})+([.,]\d+)?|\d+([.,]\d+)?|[.,]\d+)([eE][-+]?\d+)?")
# Decimal sign and sign between thousands, the likelier first
MARKS = [(both[0], both[1:] or None) for both in (".", ".,", ",", ",.", ". ", ", ", ".'", ",'")]
TRUTHS = {"true", "false"}
EMPTY_WORDS = re.compile(r"[-–—.?*]+|n\.?/?a\.?|none|null|nil|missing|unknown|keine|нет|#n/?a", re.IGNORECASE)


@dataclass(frozen=True)
class Discovered:
    """A source as project.toml declares it, what was found out, its rows, and files to put beside."""

    settings: dict[str, Any]
    told: list[str]
    table: pd.DataFrame
    copied: dict[str, Path | bytes] = field(default_factory=dict)


def discover(given: str, max_rows: int = 1_000_000) -> Discovered:
    """Return what ``given`` stands for; what is no table raises ``MlError`` on one line.

    A file, glob or folder · ``http(s)://…`` · ``catboost:NAME`` · ``sqlite:FILE:TABLE`` (or a query in
    a ``.sql`` file) · ``sql:VARIABLE:FILE.sql``, with an SQLAlchemy URL in that variable. At most
    ``max_rows`` rows are read.
    """
    kind, _, rest = given.partition(":")
    if kind in ("http", "https"):
        return _of_url(given, max_rows)
    if kind == "catboost":
        return _of_catboost(rest, max_rows)
    if kind in ("sql", "sqlite") and rest:
        return _of_database(kind, rest, max_rows)
    return _of_files(given, max_rows)


def _of_files(given: str, max_rows: int) -> Discovered:
    path = Path(given).absolute()
    asked = Asked("", Path("/"), Path("/"), str(path))
    found = files.find(asked)
    for file in found:
        if not file.exists():
            raise UsageError(f"{given} is missing: name a file, a glob, a folder, a URL or a database")
        if not can_read(file.name):
            raise MlError(
                f"{file}: cannot tell how to read it by its name: is it .csv, .xlsx, .json, .parquet?"
            )
    written, told, texts = _written(found[0])
    size = sum(file.stat().st_size for file in found)
    copied: dict[str, Path | bytes] = {}
    name = str(path)
    if size <= MAX_COPIED_BYTES:
        copied = {f"data/{file.name}": file for file in found}
        name = next(iter(copied)) if len(found) == 1 else "data"
        told.append(
            f"{len(found)} file{'s' if len(found) > 1 else ''} copied into the project ({size:,} bytes)"
        )
    else:
        told.append(f"{name} stays where it is ({size:,} bytes): every agent that runs `data` must reach it")
    source = FilesSource(kind="files", labelled=str(path), format=written)
    table = _rows(source, replace(asked, text_columns=texts), max_rows)
    return Discovered({"kind": "files", "labelled": name, **_declared(written)}, told, table, copied)


def _of_url(given: str, max_rows: int) -> Discovered:
    plain = UrlSource(kind="url", labelled=given)
    asked = Asked("", Path("/"), Path("/"), given)
    written, told, texts = _written(url.fetched(plain, asked))
    source = UrlSource(kind="url", labelled=given, format=written)
    settings = {"kind": "url", "labelled": given, **_declared(written)}
    return Discovered(settings, told, _rows(source, replace(asked, text_columns=texts), max_rows))


def _of_catboost(name: str, max_rows: int) -> Discovered:
    source = CatboostSource(
        kind="catboost",
        dataset=name,
        timeout_seconds=120,
        snapshot=FilesSource(labelled="data/train.csv", sha256={"labelled": "0" * 64}),
    )
    with tempfile.TemporaryDirectory() as scratch:
        table = _rows(source, Asked("", Path("/"), Path(scratch), name), max_rows)
    settings = {"kind": "files", "labelled": f"data/{name}.csv"}
    content = table.to_csv(index=False).encode()
    told = [f"catboost.datasets.{name}() was downloaded and is kept as {settings['labelled']}"]
    return Discovered(settings, told, table, {settings["labelled"]: content})


def _of_database(kind: str, rest: str, max_rows: int) -> Discovered:
    where, _, what = rest.rpartition(":")
    if not where:
        raise UsageError("name a database as sqlite:FILE:TABLE or sql:VARIABLE:QUERY.sql")
    copied: dict[str, Path | bytes] = {}
    if what.endswith(".sql"):
        if not Path(what).exists():
            raise UsageError(f"{what} is missing: it must hold the query")
        query = Path(what).read_bytes()
    elif kind == "sqlite" and re.fullmatch(r"\w+", what):
        query = f'SELECT *\nFROM "{what}"\n'.encode()
    else:
        raise UsageError(f"'{what}' is neither a file with a query (.sql) nor the name of a table")
    copied["query.sql"] = query
    settings: dict[str, Any] = {"kind": "sql", "labelled": "query.sql"}
    if kind == "sqlite":
        file = Path(where).absolute()
        if not file.exists():
            raise UsageError(f"{where} is missing: name an SQLite file")
        small = file.stat().st_size <= MAX_COPIED_BYTES
        settings["database"] = f"data/{file.name}" if small else str(file)
        copied |= {settings["database"]: file} if small else {}
    else:
        settings["url_from"] = where
    with tempfile.TemporaryDirectory() as scratch:
        for name, content in copied.items():
            target = Path(scratch) / name
            target.parent.mkdir(exist_ok=True, parents=True)
            target.write_bytes(content) if isinstance(content, bytes) else shutil.copy(content, target)
        source = SqlSource.model_validate(settings)
        table = _rows(source, Asked("", Path(scratch), Path(scratch), "query.sql"), max_rows)
    return Discovered(
        settings, [f"the query is kept as query.sql, the rows come from {where}"], table, copied
    )


def _rows(source: Any, asked: Asked, max_rows: int) -> pd.DataFrame:
    batches = module_of(source).read(source, asked)
    return first_rows((as_text(batch, list(batch)) for batch in batches), max_rows)


def _declared(written: Format) -> dict[str, Any]:
    """Return what project.toml must say of how a text is written: all that is not the plain default."""
    said = written.model_dump(exclude_defaults=True)
    return {"format": said} if said else {}


def _written(file: Path) -> tuple[Format, list[str], tuple[str, ...]]:
    """Find out how a text table is written, and which columns only look like numbers, or are true and false.

    Of other files there is nothing to find out.
    """
    if ending(file.name) not in TEXT:
        return Format(), [f"read as {ending(file.name)[1:]}"], ()
    try:
        with open_file(file) as stream:
            raw = stream.read(LOOK_BYTES)
    except (OSError, EOFError) as error:
        raise MlError(f"{file} cannot be unpacked: {error}") from error
    if not raw.strip():
        raise MlError(f"{file} is empty: a table with a header line is expected")
    encoding = _encoding(raw)
    text = raw.decode(encoding, errors="replace")
    if re.match(r"\s*<(!doctype|html|\?xml)", text, re.IGNORECASE):
        raise MlError(f"{file} is a web page, not a table: was a login or an error page saved?")
    lines = text.splitlines()
    if len(raw) == LOOK_BYTES:
        lines.pop()  # it may be cut off
    if not lines:
        raise MlError(f"{file}: its first line has more than {LOOK_BYTES:,} bytes: is it a table?")
    lines = lines[:LOOK_LINES]
    separator, skipped = _separator(lines)
    blanks = all(name.startswith(" ") for name in lines[skipped].split(separator)[1:]) and separator != " "
    content = io.StringIO("\n".join(lines[skipped:]))
    rows = list(csv.reader(content, delimiter=separator, skipinitialspace=blanks))
    header, body = rows[0], [row for row in rows[1:] if len(row) == len(rows[0])]
    _check_header(file, header, body)
    decimal, thousands, texts = _marks(body, separator)
    for place, values in enumerate(zip(*body, strict=False)):
        if TRUTHS >= (words := {value.strip().lower() for value in values if value.strip()}) and words:
            texts.append(place)  # a build reads them as they are written: TRUE stays TRUE
    empty = _empty_words(body)
    found: dict[str, Any] = {
        "separator": separator,
        "encoding": encoding,
        "decimal": decimal,
        "thousands": thousands,
        "skip_lines": skipped,
        "skip_blanks": blanks and len(rows[0]) > 1,
        "empty": empty,
    }
    plain = Format().model_dump() | ({"separator": TEXT[ending(file.name)]})
    told = [f"{key} {value!r}" for key, value in found.items() if value != plain[key]]
    written = Format(**{key: value for key, value in found.items() if value != plain[key]})
    return written, told, tuple(header[place] for place in texts)


def _encoding(raw: bytes) -> str:
    for mark, name in BYTE_ORDER_MARKS.items():
        if raw.startswith(mark):
            return name
    try:
        raw[: len(raw) - 4 if len(raw) >= LOOK_BYTES else None].decode("utf-8")
        return "utf-8-sig"
    except UnicodeDecodeError:
        # Of a Cyrillic text most letters are above 127, of a western one few.
        letters = sum(chr(byte).isalpha() for byte in raw)
        return "cp1251" if sum(byte >= 192 for byte in raw) > 0.3 * max(letters, 1) else "cp1252"


def _separator(lines: list[str]) -> tuple[str, int]:
    """Return the separator that divides most lines into the same number of fields, and the lines before."""
    best: tuple[float, int, str, int] = (0.0, 0, ",", 0)
    for separator in SEPARATORS:
        counts = [len(row) for row in csv.reader(lines, delimiter=separator) if row]
        if not counts:
            continue
        fields, times = Counter(counts).most_common(1)[0]
        first = counts.index(fields)
        if fields > 1:
            best = max(best, (times / len(counts), fields, separator, first))
    return best[2], best[3] if best[0] > 0.5 else 0


def _check_header(file: Path, header: list[str], body: list[list[str]]) -> None:
    if body and all(NUMBER.fullmatch(name.strip()) for name in header):
        raise MlError(f"{file}: its first line holds numbers only: a header line with names is expected")
    columns = zip(*(row for row in body if row != header), strict=False)
    again = sum(name in values for name, values in zip(header, columns, strict=False))
    if again > len(header) / 2:
        told = f"{again} of its {len(header)} values stand again in the same column"
        raise MlError(f"{file}: its first line is a row like the others ({told}): a header is expected")
    if blank := [number for number, name in enumerate(header, 1) if not name.strip()]:
        raise MlError(f"{file}: column {blank[0]} of the header has no name: give it one, or take it out")
    if twice := [name for name, times in Counter(header).items() if times > 1]:
        raise MlError(f"{file}: two columns are called '{twice[0]}': name one otherwise")
    if header in body:
        line = body.index(header) + 2
        raise MlError(f"{file}: the header stands there again in line {line}: were files pasted together?")


def _marks(body: list[list[str]], separator: str) -> tuple[str, str | None, list[int]]:
    """Return the decimal sign and the sign between thousands with which most columns are numbers.

    And the columns that a reader would take for numbers with that sign and that are none, as ``01.02.2020``.
    """
    columns = [
        {word for value in set(column) if (word := value.strip()) and not EMPTY_WORDS.fullmatch(word)}
        for column in zip(*body, strict=False)
    ]
    best = 0
    found: tuple[str, str | None, list[int]] = (*MARKS[0], [])
    for decimal, thousands in sorted(MARKS, key=lambda marks: separator == ";" and marks == (".", ",")):
        fraction = rf"({re.escape(decimal)}\d+)?"
        pattern = looks = rf"[-+]?\d+{fraction}([eE][-+]?\d+)?"
        if thousands:
            sign = re.escape(thousands)
            pattern = rf"{pattern}|[-+]?\d{{1,3}}({sign}\d{{3}})+{fraction}"
            looks = rf"[-+]?\d[\d{sign}]*{fraction}"
        whole = re.compile(pattern).fullmatch
        numbers = [bool(values) and all(map(whole, values)) for values in columns]
        if sum(numbers) > best:
            texts = [
                place
                for place, values in enumerate(columns)
                if not numbers[place] and any(re.fullmatch(looks, value) for value in values)
            ]
            best, found = sum(numbers), (decimal, thousands, texts if thousands else [])
    return found


def _empty_words(body: list[list[str]]) -> list[str]:
    """Return the words that stand among numbers for no value, beside those that pandas knows."""
    known = {"", "NA", "N/A", "NaN", "nan", "null", "NULL", "None", "n/a", "#N/A", "<NA>"}
    words: set[str] = set()
    for column in zip(*body, strict=False):
        values = [value.strip() for value in column]
        numbers = sum(bool(NUMBER.fullmatch(value)) for value in values)
        odd = {value for value in values if value not in known and not NUMBER.fullmatch(value)}
        if odd and numbers >= 0.5 * len(values) and all(EMPTY_WORDS.fullmatch(value) for value in odd):
            words |= odd
    return sorted(words)
