"""Numbers and texts, whatever kind of source a table is from: a contract has no other types.

Times, days, identities, addresses and truths are texts; decimals and durations are numbers.
"""

import datetime
import ipaddress
import uuid
from collections.abc import Hashable, Iterable
from typing import Any

import numpy as np
import pandas as pd
import pyarrow
from pandas.api import types

ADDRESSES = (ipaddress.IPv4Address, ipaddress.IPv6Address, ipaddress.IPv4Network, ipaddress.IPv6Network)
AS_WRITTEN = (bool, np.bool_, uuid.UUID, *ADDRESSES)
TIMES = (datetime.date, datetime.time)  # a datetime is a date
EXACT = 2**53  # from here on a float does not hold every whole number


def as_text(rows: pd.DataFrame, names: Iterable[Hashable]) -> pd.DataFrame:
    """Return rows with plain numbers, and the times, days and identities of these columns as texts.

    A database, a Parquet file and a spreadsheet have types of their own for them; a contract, a request and
    the rows that are kept have text, ISO 8601 and RFC 9562. True and false become "True" and "False", as a
    CSV file has them. In all columns decimals become floats, durations seconds, and of a dictionary come the
    values. What is text already, or a number, stays as it is; but whole numbers of these columns that no
    float holds are texts of their digits.
    """
    names = [name for name in names if name in rows]
    digits = {str(name): _digits(rows[name]) for name in names if holds_long_numbers(rows[name])}
    rows = _plain(rows.assign(**digits) if digits else rows)
    changed = {str(name): _texts(rows[name]) for name in names if _holds_some(rows[name])}
    return rows.assign(**changed) if changed else rows


def holds_long_numbers(column: pd.Series) -> bool:
    """Tell whether whole numbers are among them that a float would round."""
    if types.is_object_dtype(column):
        if types.infer_dtype(column, skipna=True) != "integer":
            return False
    elif not types.is_integer_dtype(column):
        return False
    values = column.dropna()
    return len(values) > 0 and bool(values.max() > EXACT or values.min() < -EXACT)


def _digits(column: pd.Series) -> pd.Series:
    return column.astype("object").map(str, na_action="ignore").astype("str")


def _plain(rows: pd.DataFrame) -> pd.DataFrame:
    found = ((name, column, _plain_column(column)) for name, column in rows.items())
    changed = {name: plain for name, column, plain in found if plain is not column}
    if changed:
        rows = rows.copy(deep=False)
        for name, plain in changed.items():
            rows[name] = plain
    return rows


def _plain_column(column: pd.Series) -> pd.Series:
    if isinstance(column.dtype, pd.CategoricalDtype):
        values = pd.Series(column.cat.categories, name=column.name)
        column = values.reindex(column.cat.codes).set_axis(column.index)
    if isinstance(column.dtype, pd.ArrowDtype):
        values = pyarrow.array(column.array).to_pandas()
        column = values.set_axis(column.index).rename(column.name)
    if types.is_object_dtype(column):
        inside = types.infer_dtype(column, skipna=True)
        if inside == "decimal":
            return pd.to_numeric(column)
        column = pd.to_timedelta(column) if inside in ("timedelta", "timedelta64") else column
    if types.is_timedelta64_dtype(column):
        seconds: pd.Series = column.dt.total_seconds()
        return seconds
    if isinstance(column.dtype, pd.StringDtype) and column.dtype.na_value is pd.NA:
        return column.astype("str")
    number = types.is_numeric_dtype(column) and not types.is_bool_dtype(column)
    return _widest(column) if number and column.dtype not in (np.int64, np.float64) else column


def _widest(column: pd.Series) -> pd.Series:
    """Return numbers of 64 bits; whole ones are floats where some are missing, or too large."""
    whole = types.is_integer_dtype(column) and not column.isna().any()
    fits = whole and (column.empty or column.max() <= np.iinfo(np.int64).max)
    return column.astype("int64" if fits else "float64")


def _holds_some(column: pd.Series) -> bool:
    if types.is_datetime64_any_dtype(column) or types.is_bool_dtype(column):
        return True
    return types.is_object_dtype(column) and any(isinstance(one, (*TIMES, *AS_WRITTEN)) for one in column)


def _texts(column: pd.Series) -> pd.Series:
    return pd.Series([_text(one) for one in column], index=column.index, name=column.name, dtype="str")


def _text(value: Any) -> Any:
    if isinstance(value, TIMES):
        return None if value is pd.NaT else value.isoformat()
    return str(value) if isinstance(value, AS_WRITTEN) else value
