"""What concerns all rows of a table at once, asked of a few numbers a row, which DuckDB sorts on disk.

An index has a row for each of the table's, in its order: ``row`` (counted from 0), ``part`` (train, test, …),
three 64-bit hashes, of the ``id``, the ``content`` (all else) and the ``inputs`` (without the target), and
the ``reading`` (``fingerprints``).
"""

import functools
import glob
import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import duckdb
import numpy as np
import pandas as pd
import pyarrow as pa
from pandas.api import types

from ml.data.contract import MAX_EXAMPLES
from ml.project import Project

# It asks the tables that it is given, and fetches nothing.
SETTINGS: dict[str, Any] = {
    "memory_limit": "512MB",  # for sorting; what is more goes to the disk
    "python_enable_replacements": False,
    "autoinstall_known_extensions": False,
    "autoload_known_extensions": False,
}
HASHES = ("id", "content", "inputs", "row")
Rows: TypeAlias = pd.DataFrame | Path


@dataclass(frozen=True)
class Found:
    """In how many of the rows that were looked at something is so, and the first of them, counted from 0."""

    count: int
    of: int
    rows: tuple[int, ...] = ()

    @property
    def share(self) -> float:
        """The share of the rows that were looked at."""
        return self.count / self.of if self.of else 0.0


def fingerprints(table: pd.DataFrame, project: Project) -> pd.DataFrame:
    """Return 64-bit hashes a row, ``id`` and ``content`` (all else): rows compared without values.

    ``reading`` is the same in all rows: of the columns in their order, their types and the rules of personal
    ones. By another reading the content of the same row is another number.
    """
    return pd.DataFrame(
        {
            "id": hashes(table[project.id]),
            "content": hashes(table.drop(columns=project.id)),
            "reading": _reading(table, project),
        },
        index=table.index,
    )


def _reading(table: pd.DataFrame, project: Project) -> np.uint64:
    kinds = {str(name): "text" if _is_text(column) else str(column.dtype) for name, column in table.items()}
    told = json.dumps([list(kinds.items()), sorted(project.personal_rules.items())], default=str)
    return np.uint64(int.from_bytes(hashlib.sha256(told.encode()).digest()[:8]))


def _is_text(column: pd.Series) -> bool:
    return types.is_string_dtype(column.dtype) or isinstance(column.dtype, pd.CategoricalDtype)


def index_rows(table: pd.DataFrame, project: Project, part: np.ndarray) -> pd.DataFrame:
    """Return the index of rows, whose own index is their number; ``part`` is that of each row."""
    coded = table.assign(
        **{
            str(name): pd.Categorical.from_codes(*pd.factorize(table[name]))
            for name in table
            if name != project.id and types.is_string_dtype(table[name].dtype)
        }
    )
    marked = fingerprints(coded, project).reset_index(drop=True)  # of a code is that of its text
    marked["inputs"] = hashes(coded.drop(columns=[project.id, project.target]))
    return marked.assign(part=part, row=table.index.to_numpy())


def hashes(rows: pd.DataFrame | pd.Series) -> np.ndarray:
    """Return a 64-bit hash a row: equal values have equal ones, in every process."""
    found: np.ndarray = pd.util.hash_pandas_object(rows, index=False).to_numpy()
    return found


class RowIndex:
    """The index of a table, in memory or in a Parquet file."""

    def __init__(self, rows: Rows) -> None:
        """Refer to the rows; nothing is read yet."""
        self._rows = rows

    def repeated(self) -> Found:
        """Return the rows that are equal to an earlier one but for the id."""
        with asking(rows=self._rows) as asked:
            count, different = _row(asked, "SELECT count(*), count(DISTINCT content) FROM rows")
            if count == different:
                return Found(0, count)
            twice = "SELECT content, min(row) AS first FROM rows GROUP BY content HAVING count(*) > 1"
            return Found(
                count - different, count, _first(asked, f"JOIN ({twice}) USING (content) WHERE row > first")
            )

    def shared(self) -> Found:
        """Return the test rows that are equal to a train row but for the id and the target."""
        train = "(SELECT inputs FROM rows WHERE part = 'train')"
        with asking(rows=self._rows) as asked:
            return _found(asked, "part = 'test'", f"inputs IN {train}")

    def changed(self, before: Rows) -> Found:
        """Return the rows whose id was there ``before``, by its fingerprints, with other content."""
        with asking(rows=self._rows, before=before) as asked:
            known = "id IN (SELECT id FROM before)"
            same = "EXISTS (SELECT 1 FROM before b WHERE b.id = rows.id AND b.content = rows.content)"
            return _found(asked, known, f"NOT {same}")


def _found(asked: duckdb.DuckDBPyConnection, among: str, condition: str) -> Found:
    counted = f"SELECT count(*), count(*) FILTER ({condition}) FROM rows WHERE {among}"
    of, count = _row(asked, counted)
    return Found(count, of, _first(asked, f"WHERE {among} AND {condition}") if count else ())


def _row(asked: duckdb.DuckDBPyConnection, sql: str) -> tuple[int, ...]:
    return asked.execute(sql).fetchall()[0]


def _first(asked: duckdb.DuckDBPyConnection, where: str) -> tuple[int, ...]:
    found = asked.execute(f"SELECT row FROM rows {where} ORDER BY row LIMIT {MAX_EXAMPLES}").fetchall()
    return tuple(row for (row,) in found)


def quoted(name: str) -> str:
    """Return the name of a column as SQL writes it."""
    return '"' + name.replace('"', '""') + '"'


def _connected(folder: Path | None) -> duckdb.DuckDBPyConnection:
    if folder is None:
        return _in_memory().cursor()
    return duckdb.connect(config=SETTINGS | {"temp_directory": str(folder / ".sorting")})


@functools.cache
def _in_memory() -> duckdb.DuckDBPyConnection:
    return duckdb.connect(config=SETTINGS)


@contextmanager
def asking(**tables: Rows) -> Iterator[duckdb.DuckDBPyConnection]:
    """Yield a connection whose SQL asks the given tables by name."""
    on_disk = [table for table in tables.values() if isinstance(table, Path)]
    with _connected(on_disk[0].parent if on_disk else None) as connection:
        for name, table in tables.items():
            if isinstance(table, Path):
                connection.read_parquet(glob.escape(str(table))).create_view(name)
            else:
                connection.register(name, pa.Table.from_pandas(table, preserve_index=False))
        yield connection
