"""Rows between JSON objects and tables in the contract's types."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import pandera.pandas as pa
from pandas.api import types

from ml.data.contract import check
from ml.errors import MlError

Row = dict[str, Any]


def rows_to_table(
    rows: Sequence[dict[str, Any]],
    contract: pa.DataFrameSchema,
    *,
    checked: bool = False,
    what: str = "request",
    personal: Sequence[str] = (),
) -> pd.DataFrame:
    """Return the rows of a request, in the contract's types, checked against the contract.

    ``checked`` says that their model has checked all of it already (``expressed``). No value of ``personal``
    columns is told.
    """
    table = typed_table(rows, contract)
    return table if checked else check(table, contract, what, personal)


def typed_table(rows: Sequence[dict[str, Any]], contract: pa.DataFrameSchema) -> pd.DataFrame:
    """Return JSON objects as a table in the contract's types: what ``records`` made, back again.

    As in a request, a nullable column may be left out; without another one raises ``MlError``.
    """
    columns = {}
    for name, column in contract.columns.items():
        if not column.nullable and any(name not in row for row in rows):
            raise MlError(f"a row lacks the column '{name}', which the contract demands")
        kind = column.dtype.type if column.dtype else object
        columns[name] = pd.Series([row.get(name) for row in rows], dtype=kind)
    return pd.DataFrame(columns)


def records(table: pd.DataFrame) -> list[dict[str, Any]]:
    """Return the rows as JSON objects: Python's own types, ``None`` for a missing value, floats unrounded."""
    names = [str(name) for name in table]
    if not names:
        return [{} for _ in range(len(table))]
    columns = [_plain(table.iloc[:, place]) for place in range(len(names))]
    return [dict(zip(names, row, strict=True)) for row in zip(*columns, strict=True)]


def _plain(column: pd.Series) -> list[Any]:
    values = column.tolist()
    for place in np.flatnonzero(column.isna().to_numpy()):
        values[place] = None
    return values


def is_number(column: pd.Series) -> bool:
    """Tell whether a column holds numbers to compare by size; true and false are two values, not a scale."""
    return types.is_numeric_dtype(column) and not types.is_bool_dtype(column)
