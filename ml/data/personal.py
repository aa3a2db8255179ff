"""Values of personal columns: they stay in the tables, and no message, log, report or model tells them."""

import itertools
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import pandas as pd
import pandera.pandas as pa

from ml.data.contract import examine
from ml.data.request import example_values, request_contract
from ml.errors import MlError
from ml.project import Project

HIDDEN = "***"
# Shorter ones are too likely to be an ordinary word, or a figure of ours.
MIN_LETTERS, MIN_DIGITS = 3, 5


def redacted(text: str, rows: pd.DataFrame, personal: Sequence[str]) -> str:
    """Return a text without the values of the personal columns of ``rows``."""
    return hider(rows, personal)(text)


def hider(rows: pd.DataFrame, personal: Sequence[str]) -> Callable[[str], str]:
    """Return what takes those values out of many texts: they are collected once."""
    values = {
        str(value) for name in personal if name in rows for value in rows[name].dropna().unique().tolist()
    }
    telling = [one for one in values if len(one) >= (MIN_DIGITS if one.isdecimal() else MIN_LETTERS)]
    longest_first = sorted(telling, key=len, reverse=True)

    def hide(text: str) -> str:
        lower = text.lower()
        for value in (one for one in longest_first if one.lower() in lower):
            text = re.sub(rf"(?<![\w.]){re.escape(value)}(?!\w)", HIDDEN, text, flags=re.IGNORECASE)
        return text

    return hide


@contextmanager
def nothing_told(rows: pd.DataFrame, project: Project) -> Iterator[None]:
    """Take the values of personal columns out of the error that ends the work inside, if one does."""
    try:
        yield
    except MlError as error:
        raise type(error)(redacted(str(error), rows, project.personal)) from None


def made_up(rows: pd.DataFrame, project: Project, contract: pa.DataFrameSchema) -> pd.DataFrame:
    """Return the rows with values in the personal columns that are the contract's examples, in turn.

    Raises ``MlError`` for a column of which the contract tells neither an example nor that it may be missing.
    """
    columns = [name for name in project.personal if name in rows]
    changed = rows.copy()
    for name in columns:
        values = example_values(contract.columns[name])
        if name == project.id and pd.api.types.is_integer_dtype(rows[name]):
            values = list(range(1, len(rows) + 1))
        turns = itertools.islice(itertools.cycle(values), len(rows))
        changed[name] = pd.Series(list(turns), index=rows.index, dtype=rows[name].dtype)
    problems = examine(changed, request_contract(contract, project.target), project.personal)[1]
    if broken := next((one for one in problems if one.column in columns), None):
        raise MlError(
            f"contract.py: column '{broken.column}' is personal, so the model must not keep its values: tell "
            f'one that may be shown instead, metadata={{"example": ...}} ({broken})'
        )
    return changed
