"""Checks of a contract that compare columns, asked of one row as they are asked of a table."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pandas as pd
import pandera.pandas as pa

from ml.data.rows import Row
from ml.serving.fast_path.columns import NotCompiled


class RowChecks:
    """Says of a row that it passes; what it is not sure of must be asked of a table.

    A check such as ``rows["low"] <= rows["high"]`` says the same of the values of one row as of columns.
    """

    def __init__(self, contract: pa.DataFrameSchema, rows: Sequence[Row], table: pd.DataFrame) -> None:
        """Try each check on rows, and on the same as a table; raise ``NotCompiled`` if it needs a table."""
        self._checks: list[Callable[[Any], Any]] = []
        as_columns = [_as_in_columns(row) for row in rows] if contract.checks else []
        for check in contract.checks:
            by_table = check(table).check_output
            by_row = [_passes(check._check_fn, row) for row in as_columns]
            same_rows = isinstance(by_table, pd.Series) and len(by_table) == len(rows)
            if not any(by_row) or not same_rows or not by_table[by_row].all():
                raise NotCompiled(f"the contract's check '{check.name}' needs a table")
            self._checks.append(check._check_fn)

    def passed(self, rows: Sequence[Row]) -> bool:
        """Tell whether all rows pass for sure."""
        if not self._checks:
            return True
        return all(_passes(check, row) for row in map(_as_in_columns, rows) for check in self._checks)


def _passes(check: Callable[[Any], Any], row: Row) -> bool:
    try:
        return bool(check(row) is np.True_)
    except Exception:
        return False


def _as_in_columns(row: Row) -> Row:
    return {name: _as_in_a_column(value) for name, value in row.items()}


def _as_in_a_column(value: Any) -> Any:
    """Return a value as numpy has it, on which operators do what they do on columns, as ``~`` on a truth."""
    if value is None:
        return np.float64(math.nan)
    return np.float64(value) if isinstance(value, float) else np.int64(value) if type(value) is int else value
