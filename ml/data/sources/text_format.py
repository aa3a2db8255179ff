"""How a text table is written: its separator, encoding, signs and words, found out from its first lines."""

import csv
import io
import re
from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

from ml.data.completeness import SEPARATORS, open_file
from ml.data.gap_words import GAPS
from ml.data.sources.file_types import TEXT, ending
from ml.errors import MlError
from ml.source_settings import Format

LOOK_BYTES = 2_000_000
LOOK_LINES = 500
BYTE_ORDER_MARKS = {b"\xef\xbb\xbf": "utf-8-sig", b"\xff\xfe": "utf-16", b"\xfe\xff": "utf-16"}
NUMBER = re.compile(r"[-+]?(\d{1,3}([.,]\d{3})+([.,]\d+)?|\d+([.,]\d+)?|[.,]\d+)([eE][-+]?\d+)?")
CODE = re.compile(r"\s*0\d+\s*").fullmatch  # as a number it would lose its zeros
# Decimal sign and sign between thousands, the likelier first
MARKS = [(both[0], both[1:] or None) for both in (".", ".,", ",", ",.", ". ", ", ", ".'", ",'")]
POINTED = re.compile(r"[-+]?\d*\.?\d*([eE][-+]?\d+)?").fullmatch
MAYBE_THOUSAND = re.compile(r"[-+]?([1-9]\d{0,2}\.\d{3}|\d{1,3})").fullmatch
MAYBE_THOUSANDS = (
    "its points are read as decimal signs, and may stand between thousands: then say so in "
    '[source]: format = { ..., decimal = ",", thousands = "." }'
)
TRUTHS = {"true", "false"}
EMPTY_WORDS = re.compile(r"[-–—.?*]+|n\.?/?a\.?|none|null|nil|missing|unknown|keine|нет|#n/?a", re.IGNORECASE)


class Written(NamedTuple):
    """How a text table is written, what to tell of it, and which columns only look like numbers.

    ``doubts`` are columns of numbers that may be written otherwise, and what to do then.
    """

    form: Format
    told: list[str]
    texts: tuple[str, ...] = ()
    doubts: dict[str, str] = {}


def written_as(file: Path, target: str = "") -> Written:
    """Return how a text table is written; what is no table raises ``MlError``.

    Of other files there is nothing to find out. A word for a gap may be a class of the ``target``.
    """
    if ending(file.name) not in TEXT:
        return Written(Format(), [f"read as {ending(file.name)[1:]}"])
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
    told += [line for name, line in _told_gaps(header, body) if name != target]
    codes = {place for place, column in enumerate(zip(*body, strict=False)) if any(map(CODE, column))}
    doubts = {}
    if (decimal, thousands) == (".", None):
        doubts = {header[place]: MAYBE_THOUSANDS for place in _thousands_or_decimals(_words(body))}
    return Written(written, told, tuple(header[place] for place in sorted(codes.union(texts))), doubts)


def _told_gaps(header: list[str], body: list[list[str]]) -> list[tuple[str, str]]:
    """Return by column what is read as a gap among texts, where it may be a value, as NA for Namibia."""
    told = []
    for name, column in zip(header, zip(*body, strict=False), strict=False):
        values = [value.strip() for value in column]
        words = sorted(GAPS.intersection(values) - {""})
        if words and not any(map(NUMBER.fullmatch, values)):
            share = sum(value in words for value in values) / len(values)
            line = (
                f"{', '.join(words)} in '{name}' ({share:.0%}) is read as a gap; it is a value if `isin` of "
                "the contract lists it"
            )
            told.append((name, line))
    return told


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
    columns = _words(body)
    able = MARKS
    if separator == ";" and _thousands_or_decimals(columns):
        # Who writes ; between the columns writes a comma before decimals.
        able = [marks for marks in MARKS if marks[0] == ","]
    best = 0
    found: tuple[str, str | None, list[int]] = (*MARKS[0], [])
    for decimal, thousands in sorted(able, key=lambda marks: separator == ";" and marks == (".", ",")):
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


def _words(body: list[list[str]]) -> list[set[str]]:
    """Return the different values of each column, without those that stand for none."""
    return [
        {word for value in set(column) if (word := value.strip()) and not EMPTY_WORDS.fullmatch(word)}
        for column in zip(*body, strict=False)
    ]


def _thousands_or_decimals(columns: list[set[str]]) -> list[int]:
    """Return the columns whose points may stand between thousands; none if one stands before decimals."""
    dotted = {
        place: values
        for place, values in enumerate(columns)
        if any("." in value for value in values) and all(map(POINTED, values))
    }
    possible = all(MAYBE_THOUSAND(value) for values in dotted.values() for value in values)
    return list(dotted) if possible else []


def _empty_words(body: list[list[str]]) -> list[str]:
    """Return the words that stand among numbers for no value, beside those that pandas knows."""
    words: set[str] = set()
    for column in zip(*body, strict=False):
        values = [value.strip() for value in column]
        numbers = sum(bool(NUMBER.fullmatch(value)) for value in values)
        odd = {value for value in values if value not in GAPS and not NUMBER.fullmatch(value)}
        if odd and numbers >= 0.5 * len(values) and all(EMPTY_WORDS.fullmatch(value) for value in odd):
            words |= odd
    return sorted(words)
