"""Reading tables: what cannot be read is told on one line."""

from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pandera.pandas as pa
from pandas.api import types

from ml.errors import MlError


def read_table(
    read: Callable[..., pd.DataFrame], file: Path, contract: pa.DataFrameSchema | None = None
) -> pd.DataFrame:
    """Read a file with one of pandas' readers; what cannot be read raises ``MlError`` on one line.

    With a contract, its text columns are read as text, so that a column of digits keeps its leading zeros.
    """
    options = {}
    if contract is not None:
        text = [name for name, column in contract.columns.items() if types.is_string_dtype(column.dtype.type)]
        options["dtype"] = dict.fromkeys(text, "str")
    try:
        return read(file, **options)
    except FileNotFoundError as error:
        raise MlError(f"{file} is missing: check the path") from error
    except pd.errors.EmptyDataError as error:
        raise MlError(f"{file} is empty: a table with a header line is expected") from error
    except (ValueError, pd.errors.ParserError) as error:
        reason = str(error).strip().splitlines()[0]
        raise MlError(f"{file} cannot be read as a table: {reason}") from error
