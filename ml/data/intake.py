"""Rows come in batches: each is held against the contract and written aside; no table need fit in memory."""

from collections.abc import Callable, Collection, Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import TypeVar, cast

import pandas as pd
import pandera.pandas as pa
import pyarrow
import pyarrow.parquet as pq

from ml.console import progress
from ml.data.contract import MAX_EXAMPLES, Violation, examine
from ml.data.personal_rules import obey
from ml.data.row_index import asking, quoted
from ml.data.sources.interface import BATCH_ROWS, Batches
from ml.errors import MlError
from ml.project import Project

Item = TypeVar("Item")


@dataclass(frozen=True)
class Taken:
    """A table as it came: the file with its rows in the contract's types, and what they break of it."""

    file: Path
    rows: int
    violations: list[Violation]

    @property
    def structural(self) -> bool:
        """Whether the values cannot be judged any further."""
        return any(one.structural for one in self.violations)


class BatchWriter:
    """A Parquet file that grows by batches, each a row group; all have the types of the first."""

    def __init__(self, file: Path, differing: Collection[str] = ()) -> None:
        """Refer to the file, which is created by the first batch.

        Columns that are ``differing`` in nearly every row are not looked through for values that repeat.
        """
        self._file, self._differing = file, differing
        self._writer: pq.ParquetWriter | None = None
        self.rows = self.batches = 0

    def __enter__(self) -> "BatchWriter":
        """Be closed at the end."""
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        """Close the file."""
        if self._writer is not None:
            self._writer.close()

    def write(self, batch: pd.DataFrame | pyarrow.Table) -> None:
        """Add rows; a column of another type than in the batches before raises ``MlError``."""
        schema = self._writer.schema if self._writer else None
        if isinstance(batch, pd.DataFrame):
            try:
                batch = pyarrow.Table.from_pandas(batch, schema=schema, preserve_index=False)
            except (pyarrow.ArrowInvalid, pyarrow.ArrowTypeError) as error:
                raise MlError(
                    f"from row {self.rows + 1} on values are of another type than before: {error}: give the "
                    "column one type in contract.py"
                ) from error
        if self._writer is None:
            repeating = [name for name in batch.schema.names if name not in self._differing]
            self._writer = pq.ParquetWriter(self._file, batch.schema, use_dictionary=repeating)
        self._writer.write_table(batch, row_group_size=max(len(batch), 1))
        self.rows += len(batch)
        self.batches += 1


def even(batches: Batches) -> Batches:
    """Yield the same rows in batches of ``BATCH_ROWS``, the last as many as are left; one at least."""
    waiting: list[pd.DataFrame] = []
    count = 0
    for batch in batches:
        waiting.append(batch)
        count += len(batch)
        if count >= BATCH_ROWS:
            whole = waiting[0] if len(waiting) == 1 else pd.concat(waiting, ignore_index=True)
            full = count - count % BATCH_ROWS
            for start in range(0, full, BATCH_ROWS):
                yield whole.iloc[start : start + BATCH_ROWS]
            waiting, count = ([whole.iloc[full:]], count - full) if count > full else ([], 0)
    if waiting:
        yield waiting[0] if len(waiting) == 1 else pd.concat(waiting, ignore_index=True)


def ahead(items: Generator[Item] | Iterator[Item]) -> Iterator[Item]:
    """Yield what an iterator gives, one item ahead: a thread works on the next while one is in use."""
    nothing = object()
    with ThreadPoolExecutor(1) as worker:
        try:
            waiting = worker.submit(next, items, nothing)
            while (item := waiting.result()) is not nothing:
                waiting = worker.submit(next, items, nothing)
                yield cast(Item, item)
        finally:
            # Where it was begun: a database connection has one thread.
            if isinstance(items, Generator):
                worker.submit(items.close).result()


def numbered(batches: Batches) -> Batches:
    """Yield batches with the numbers of their rows in the whole table, from 0, as their index."""
    start = 0
    for batch in batches:
        yield batch.set_axis(pd.RangeIndex(start, start + len(batch)), axis="index")
        start += len(batch)


def take(
    batches: Batches,
    contract: pa.DataFrameSchema,
    project: Project,
    file: Path,
    each: Callable[[pd.DataFrame], pd.DataFrame] = lambda rows: rows,
) -> Taken:
    """Write the rows of a table to a Parquet file, checked; ``each`` says what of a checked batch is kept.

    The checks of the contract see a batch at a time; what must be unique is looked for in all of them. After
    a structural violation nothing more is read.
    """
    found: dict[tuple[str, str], Violation] = {}

    def checked() -> Batches:
        for batch in numbered(ahead(even(batches))):
            result, problems = examine(obey(batch, project), contract, project.personal)
            for one in problems:
                found[one.column, one.rule] = _together(found.get((one.column, one.rule)), one)
            if any(one.structural for one in problems):
                return
            yield each(result)

    title = f"data: {file.stem} rows read"
    with BatchWriter(file, [project.id]) as writer, progress(title, None) as advance:
        for batch in ahead(checked()):
            writer.write(batch)
            advance(f"{writer.rows:,}")
    if writer.batches > 1 and not any(one.structural for one in found.values()):
        found |= {(one.column, one.rule): one for one in _twice(file, contract, project.personal)}
    return Taken(file, writer.rows, list(found.values()))


def _together(before: Violation | None, now: Violation) -> Violation:
    if before is None:
        return now
    return replace(
        before, rows=before.rows + now.rows, examples=(before.examples + now.examples)[:MAX_EXAMPLES]
    )


def _twice(file: Path, contract: pa.DataFrameSchema, personal: Collection[str]) -> list[Violation]:
    """Return what the contract says is unique and is not, in whichever batches."""
    columns = [[name] for name, column in contract.columns.items() if column.unique]
    found = []
    with asking(rows=file) as asked:
        for names in [*columns, *([list(contract.unique)] if contract.unique else [])]:
            key = ", ".join(quoted(name) for name in names)
            present = " AND ".join(f"{quoted(name)} IS NOT NULL" for name in names)
            several = f"SELECT {key}, count(*) AS n FROM rows WHERE {present} GROUP BY {key} HAVING n > 1"
            count = asked.execute(f"SELECT coalesce(sum(n), 0) FROM ({several})").fetchall()[0][0]
            if not count:
                continue
            first = asked.execute(
                f"SELECT {key} FROM ({several}) ORDER BY ALL LIMIT {MAX_EXAMPLES}"
            ).fetchall()
            hidden = set(names) & set(personal)
            shown = tuple("***" if hidden else ", ".join(map(repr, values)) for values in first)
            told = "the columns contradict each other: they must be unique together"
            if len(names) == 1:
                told = f"column '{names[0]}', values must be unique"
            found.append(Violation(names[0] if len(names) == 1 else "", told, int(count), shown))
    return found
