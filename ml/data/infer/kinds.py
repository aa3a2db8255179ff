"""What a column holds: numbers, categories, codes, dates or text; what is mixed up is refused."""

import re
from typing import NamedTuple

import numpy as np
import pandas as pd
from pandas.api import types

from ml.data.infer.draft import Kind
from ml.errors import MlError

MAX_CLASSES = 50
MAX_SHARE_OF_VALUES = 0.3  # of different ones among the rows: more are no categories
MIN_WORDS = 4  # on average: less is no free text
MIN_SHARE = 0.9
LONG_DIGITS = 15  # a float holds all whole numbers of so many
NUMBER = re.compile(r"\s*[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?\s*")
THOUSANDS = re.compile(r"\s*[-+]?\d{1,3}([,.' \u00a0]\d{3})+([.,]\d+)?\s*")
# How dates are written: the shape of the text, and what strptime calls it
DATES = {
    r"\d{4}-\d{2}-\d{2}": "%Y-%m-%d",
    r"\d{4}-\d{2}-\d{2}[T ]\d{2}:\d{2}(:\d{2}(\.\d+)?)?(Z|[-+]\d{2}:?\d{2})?": "ISO8601",
    r"\d{4}/\d{2}/\d{2}": "%Y/%m/%d",
    r"\d{1,2}\.\d{1,2}\.\d{4}": "%d.%m.%Y",
    r"\d{1,2}/\d{1,2}/\d{4}": "%m/%d/%Y",
    r"\d{1,2}-\d{1,2}-\d{4}": "%d-%m-%Y",
    r"\d{1,2}[- ][A-Za-z]{3}[- ]\d{4}": "%d-%b-%Y",
    r"[A-Z][a-z]{2,8} \d{1,2}, \d{4}": "%B %d, %Y",
}
ISO = ("%Y-%m-%d", "ISO8601")
# What is meant as a date or a number, and is not written so that every reader takes it for one
YEAR = r"(?:1[89]|20)\d\d"
DAY = "|".join(
    (
        rf"{YEAR}[-/.]\d{{1,2}}[-/.]\d{{1,2}}",
        rf"\d{{1,2}}[-/.]\d{{1,2}}[-/.]{YEAR}",
        r"\d{1,2}/\d{1,2}/\d{2}|\d{2}\.\d{2}\.\d{2}",
        rf"\d{{1,2}}[- ][A-Za-z]{{3,9}}[- ]{YEAR}",
        rf"[A-Za-z]{{3,9}} \d{{1,2}},? {YEAR}",
    )
)
CLOCK = r"[T ,]+\d{1,2}:\d{2}(?::\d{2}(?:[.,]\d+)?)?(?: ?[AaPp][Mm])?(?: ?(?:Z|UTC|[-+]\d{2}:?\d{2}))?"
LIKE_A_DATE = re.compile(rf"\s*(?:{DAY})(?:{CLOCK})?\s*")
LIKE_AN_AMOUNT = re.compile(rf"{NUMBER.pattern}|{THOUSANDS.pattern}|\s*[-+]?\d+,\d+\s*")
UNIT = r"(?:[$€£¥₽₹%‰]|US\$|EUR|USD|GBP|CHF|JPY)"
AMOUNT_WITH_A_SIGN = re.compile(
    rf"\s*[-+]?(?:{UNIT}(?:{LIKE_AN_AMOUNT.pattern})|(?:{LIKE_AN_AMOUNT.pattern}){UNIT})\s*"
)
OBJECTS = (list, tuple, dict, set, np.ndarray)
BYTES = (bytes, bytearray, memoryview)
MONTH, DAY_OF_MONTH = r"(0[1-9]|1[0-2])", r"(0[1-9]|[12]\d|3[01])"
HOUR_AND_MINUTE = r"([01]\d|2[0-3]):[0-5]\d"
# Of ISO 8601 what pandas and Python read alike: no 24:00, no week, no fraction beyond nanoseconds
ISO_TIME = rf"{HOUR_AND_MINUTE}(:[0-5]\d(\.\d{{1,9}})?)?(Z|[-+][01]\d:?[0-5]\d)?"
ISO_SHAPE = rf"\d{{4}}-{MONTH}-{DAY_OF_MONTH}([T ]{ISO_TIME})?"


class Found(NamedTuple):
    """What a column holds, how its dates are written, and what is not sure.

    ``unread`` says that it is meant as something else than the texts that it holds.
    """

    kind: Kind
    date_format: str | None = None
    why: str = ""
    unread: bool = False


def kind_of(column: pd.Series, codes: bool = False) -> Found:
    """Return what a column holds; a mixture of numbers and words, or of dates, raises ``MlError``.

    ``codes`` says that its whole numbers are written with leading zeros.
    """
    if codes:
        return Found("code", why="digits with leading zeros")
    if types.is_bool_dtype(column):
        return Found("category", why="True and False")
    if types.is_integer_dtype(column):
        return Found("whole number")
    if types.is_float_dtype(column):
        values = column.dropna()
        whole = len(values) > 0 and bool((values % 1 == 0).all()) and bool(values.abs().lt(2**53).all())
        return Found("whole number" if whole and column.isna().any() else "number")
    return _of_texts(column)


def objects_in(column: pd.Series) -> str | None:
    """Return what a column holds of which no contract knows, if it does."""
    if types.is_object_dtype(column):
        if any(isinstance(one, OBJECTS) for one in column):
            return "lists or objects"
        if any(isinstance(one, BYTES) for one in column):
            return "bytes"
    return None


def date_shape(form: str) -> str:
    """Return the regular expression of dates written in this format, with or without a time in ISO 8601."""
    shapes = {of: shape for shape, of in DATES.items()} | {"ISO8601": ISO_SHAPE}
    return shapes["%m/%d/%Y" if form == "%d/%m/%Y" else form]


def _of_texts(column: pd.Series) -> Found:
    values = column.dropna().astype(str)
    numbers = values.str.fullmatch(NUMBER)
    if 0.5 <= numbers.mean() < 1:
        odd = values[~numbers]
        if odd.str.fullmatch(THOUSANDS).all():
            raise MlError(
                f"column '{column.name}' has numbers with a sign between thousands, {_shown(odd)}: say how "
                'they are written (format = { thousands = "," }), or write them without'
            )
        raise MlError(
            f"column '{column.name}' mixes numbers and words: {len(odd)} of {len(values)} values are none, "
            f"{_shown(odd)}: leave a missing value empty, and write words into a column of their own"
        )
    if found := _date_format(column, values):
        return Found("date", found)
    different = values.nunique()
    long = values.str.fullmatch(r"[-+]?\d+").all() and values.str.len().max() > LONG_DIGITS
    if told := _meant(values, different):
        return Found("text", why=told, unread=True)
    words = float(np.mean([len(text.split()) for text in values.head(2000)] or [0]))
    if words >= MIN_WORDS and different > 0.5 * len(values):
        return Found("text", why=f"free text, {words:.0f} words on average")
    why = "whole numbers longer than a number keeps exactly, so texts: " if long else ""
    if different <= MAX_CLASSES or different <= MAX_SHARE_OF_VALUES * len(values):
        return Found("category", why=f"{why}{different} values")
    return Found("code", why=f"{why}{different} different texts")


def _meant(values: pd.Series, different: int) -> str | None:
    if values.str.fullmatch(LIKE_A_DATE).mean() >= MIN_SHARE:
        return (
            "looks like dates that are not ISO 8601 (2024-01-05T06:13): have the source write them so, or "
            "without a time as 2024-01-05"
        )
    amounts = different > MAX_CLASSES and not values.str.fullmatch(NUMBER).all()
    if amounts and values.str.fullmatch(LIKE_AN_AMOUNT).mean() >= MIN_SHARE:
        return (
            "looks like numbers as 1.234,56: have the source write 1234.56 (of a text file say how they are "
            'written: format = { decimal = ",", thousands = "." } in [source])'
        )
    if different > MAX_CLASSES and values.str.fullmatch(AMOUNT_WITH_A_SIGN).mean() >= MIN_SHARE:
        return (
            f"looks like numbers written with a sign ({values.iloc[0]:.20}), which are not read as numbers: "
            "have the source write them without it"
        )
    return None


def _date_format(column: pd.Series, values: pd.Series) -> str | None:
    shares = {form: values.str.fullmatch(shape).mean() for shape, form in DATES.items()}
    found = {form: share for form, share in shares.items() if share > 0}
    if sum(found.values()) < MIN_SHARE:
        return None
    if set(found) == {"ISO8601", "%Y-%m-%d"}:
        return "ISO8601"
    if len(found) > 1 or sum(found.values()) < 1:
        seen = [values[values.str.fullmatch(shape)] for shape in DATES]
        seen.append(values[~values.str.fullmatch("|".join(DATES))])
        texts = [one.iloc[0] for one in seen if len(one)]
        raise MlError(
            f"column '{column.name}' holds dates written in {len(texts)} ways ({', '.join(texts[:4])}): "
            "write all of them as 2024-12-31"
        )
    [form] = found
    forms = [form, "%d/%m/%Y"] if form == "%m/%d/%Y" else [form]
    for one in forms:
        if pd.to_datetime(values, format=one, errors="coerce", utc=True).notna().all():
            return one
    return None


def _shown(odd: pd.Series) -> str:
    counts = odd.value_counts()
    rows = f"{counts.iloc[0]} row{'s' if counts.iloc[0] > 1 else ''}"
    return f"{counts.index[0]!r:.40} in {rows}, the first in row {odd.index[0] + 1}"
