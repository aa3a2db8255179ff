"""The rows that a project is guessed from, read again where a first reading would lose some of it."""

from collections.abc import Iterator
from dataclasses import replace

import pandas as pd
from pandas.api import types

from ml.data.as_text import EXACT, as_text, holds_long_numbers
from ml.data.gap_words import GAPS
from ml.data.sources import first_rows, module_of
from ml.data.sources.interface import Asked
from ml.source_settings import AnySource

MIN_CLASS_ROWS = 6  # a word in fewer is no class that could be learned


def read_first(source: AnySource, asked: Asked, most: int) -> tuple[pd.DataFrame, list[str]]:
    """Return so many rows of a source at most, and what to tell of columns that are more than they look.

    Long whole numbers are texts: no float holds them, and one gap makes floats of all. Among the classes of
    a target, a word that elsewhere stands for a gap is one of them.
    """
    long: set[str] = set()
    table = first_rows(_batches(source, asked, long), most)
    classes = _may_lack_classes(table, asked.target)
    if not long and not classes:
        return table, []
    words = {asked.target: GAPS - {""}} if classes else {}
    texts = (*asked.text_columns, *sorted(long - set(asked.text_columns)))
    careful = replace(asked, text_columns=texts, words=words)
    # All of it: a database may give the rows in another order.
    table = first_rows(_batches(source, careful, set()), most)
    told = [line for name in sorted(long) for line in _keep_digits(table, name)]
    return table, told + (_keep_classes(table, asked.target) if classes else [])


def _batches(source: AnySource, asked: Asked, long: set[str]) -> Iterator[pd.DataFrame]:
    for batch in module_of(source).read(source, asked):
        long.update(str(name) for name in batch if _is_long(batch[name]))
        yield as_text(batch, list(batch))


def _is_long(column: pd.Series) -> bool:
    if not types.is_float_dtype(column):
        return holds_long_numbers(column)
    values = column.dropna().abs()
    return bool((values >= EXACT).any()) and bool((values % 1 == 0).all())


def _keep_digits(table: pd.DataFrame, name: str) -> Iterator[str]:
    """Make numbers again of what was read as text and is more than digits, as 1e20; tell of the others."""
    if types.is_numeric_dtype(table[name]):  # a table with types of its own, and a gap among them
        yield f"'{name}' holds numbers that are kept rounded: if they are codes, have the source give texts"
    elif table[name].dropna().astype(str).str.fullmatch(r"[-+]?\d+").all():
        yield f"'{name}' is read as text: its whole numbers are longer than a number keeps exactly"
    else:
        table[name] = pd.to_numeric(table[name])


def _may_lack_classes(table: pd.DataFrame, target: str) -> bool:
    if target not in table or types.is_numeric_dtype(table[target]):
        return False
    return bool(table[target].isna().any())


def _keep_classes(table: pd.DataFrame, target: str) -> list[str]:
    """Make gaps again of words that are too rare for a class; tell of those that are one."""
    counts = table[target][table[target].isin(GAPS)].value_counts()
    rare = counts.index[counts < MIN_CLASS_ROWS]
    table[target] = table[target].mask(table[target].isin(rare))
    return [
        f"'{word}' in '{target}' ({count} rows) is a class: if it stands for a gap, take those rows out"
        for word, count in counts.items()
        if word not in rare
    ]
