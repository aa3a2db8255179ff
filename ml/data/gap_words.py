"""Words of a text table that stand for no value, unless the contract names them as one."""

from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any

import pandas as pd
import pandera.pandas as pa

# What pandas.read_csv takes for a gap by itself.
GAPS = frozenset(
    (
        *("", "#N/A", "#N/A N/A", "#NA", "-1.#IND", "-1.#QNAN", "-NaN", "-nan", "1.#IND", "1.#QNAN"),
        *("<NA>", "N/A", "NA", "NULL", "NaN", "None", "n/a", "nan", "null"),
    )
)
Words = Mapping[str, frozenset[str]]


def words_that_are_values(contract: pa.DataFrameSchema) -> dict[str, frozenset[str]]:
    """Return such words that a column of the contract lists among its values, as NA for Namibia."""
    found = {
        name: GAPS.intersection(
            value for value in check.statistics["allowed_values"] if isinstance(value, str)
        )
        for name, column in contract.columns.items()
        for check in column.checks
        if check.name == "isin"
    }
    return {name: words - {""} for name, words in found.items() if words - {""}}


def reading(
    read: Callable[..., pd.DataFrame],
    texts: Iterable[str],
    words: Words,
    empty: Collection[str] = (),
    as_text: str = "str",
) -> dict[str, Any]:
    """Return what tells a reader of pandas which columns are text, and what is a gap in which of them.

    ``empty`` are more words for a gap. Where a column has words of its own, ``read`` is asked for the header:
    pandas takes such words only of each column or of all.
    """
    options: dict[str, Any] = {"dtype": dict.fromkeys(texts, as_text)}
    if not words:
        return options | {"na_values": list(empty) or None}
    gaps = GAPS.union(empty)
    of_each = {name: sorted(gaps - words.get(str(name), frozenset())) for name in read(nrows=0)}
    return options | {"na_values": of_each, "keep_default_na": False}
