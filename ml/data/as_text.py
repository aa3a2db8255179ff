"""Times, days, identities and truths as texts: so a table writes them, whatever kind of source it is from."""

import datetime
import uuid
from collections.abc import Hashable, Iterable
from typing import Any

import numpy as np
import pandas as pd
from pandas.api import types

TRUTHS = (bool, np.bool_)
TIMES = (datetime.date, datetime.time)  # a datetime is a date


def as_text(rows: pd.DataFrame, names: Iterable[Hashable]) -> pd.DataFrame:
    """Return rows with the times, days and identities of these columns as texts, ISO 8601 and RFC 9562.

    A database, a Parquet file and a spreadsheet have types of their own for them; a contract, a request and
    the rows that are kept have text. True and false become "True" and "False", as a CSV file has them. What
    is text already, or a number, stays as it is.
    """
    changed = {str(name): _texts(rows[name]) for name in names if name in rows and _holds_some(rows[name])}
    return rows.assign(**changed) if changed else rows


def _holds_some(column: pd.Series) -> bool:
    if types.is_datetime64_any_dtype(column) or types.is_bool_dtype(column):
        return True
    changed = (*TIMES, *TRUTHS, uuid.UUID)
    return types.is_object_dtype(column) and any(isinstance(one, changed) for one in column)


def _texts(column: pd.Series) -> pd.Series:
    return pd.Series([_text(one) for one in column], index=column.index, name=column.name, dtype="str")


def _text(value: Any) -> Any:
    if isinstance(value, TIMES):
        return None if value is pd.NaT else value.isoformat()
    return str(value) if isinstance(value, (*TRUTHS, uuid.UUID)) else value
