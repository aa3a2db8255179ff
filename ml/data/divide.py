"""The parts of a table, written batch by batch; what the gates look at is gathered on the way."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from ml.data.findings import Finding
from ml.data.gates import judge_whole
from ml.data.intake import BatchWriter, ahead, numbered
from ml.data.reference import Reference
from ml.data.row_gates import RowGates
from ml.data.row_index import HASHES, RowIndex, index_rows
from ml.data.sources.interface import BATCH_ROWS
from ml.data.split import LEFT_OUT, PLACE, boundaries, check_parts, part_names, placed_by, places
from ml.project import Project
from ml.workspace import ROWS_FILE


@dataclass(frozen=True)
class Divided:
    """How many rows each part has, what the gates found, and the train rows, or a sample of them."""

    rows: dict[str, int]
    findings: list[Finding]
    train: pd.DataFrame


def divide(file: Path, project: Project, reference: Reference | None, folder: Path) -> Divided:
    """Write each part of a table and the fingerprints of its rows into a folder, and judge all of it.

    ``file`` holds its rows; beside it is written what is needed on the way. Of more than ``BATCH_ROWS`` rows
    the statistics look at as many, those with the lowest hashes. Raises ``MlError`` for an empty part.
    """
    places_file, index_file = (file.with_name(name) for name in ("places.parquet", "index.parquet"))
    write_places(file, project, places_file)
    gates = RowGates(project, reference.statistics if reference else {})
    count = pq.read_metadata(file).num_rows
    last_hash = BATCH_ROWS / max(count, 1) * 2.0**64
    sample: list[pd.DataFrame] = []
    sample_parts: list[pd.Series] = []

    def looked_at() -> Iterator[tuple[pa.Table, pd.DataFrame]]:
        """Yield the rows and their index."""
        ends, start = boundaries(places_file, project), 0
        for table, placed in ahead(zip(batches_of(file), batches_of(places_file), strict=True)):
            rows = table.to_pandas().set_axis(pd.RangeIndex(start, start + len(table)), axis="index")
            marked = index_rows(rows, project, ends.parts(placed.to_pandas()))
            gates.see(rows)
            chosen = marked["id"].to_numpy() <= last_hash
            sample.append(rows[chosen])
            sample_parts.append(marked.loc[chosen, "part"])
            start += len(table)
            yield table, marked

    with ExitStack() as stack:
        writers = {
            name: stack.enter_context(BatchWriter(folder / f"{name}.parquet", [project.id]))
            for name in part_names(project)
        }
        index, marks = (
            stack.enter_context(BatchWriter(one, HASHES)) for one in (index_file, folder / ROWS_FILE)
        )
        for table, marked in ahead(looked_at()):
            part = marked["part"].to_numpy()
            for name, writer in writers.items():
                writer.write(table.filter(pa.array(part == name)))
            index.write(marked)
            marks.write(marked.loc[part != LEFT_OUT, ["id", "content", "reading", "part"]])
    counts = {name: writer.rows for name, writer in writers.items()}
    check_parts(counts)
    judged = pd.concat(sample, ignore_index=True)
    train = judged[(pd.concat(sample_parts) == "train").to_numpy()].reset_index(drop=True)
    findings = judge_whole(project, count, judged, train, RowIndex(index_file), reference)
    return Divided(counts, [*gates.findings(), *findings], train)


def write_places(file: Path, project: Project, places_file: Path) -> None:
    """Write where each row of a file stands in the order that the split goes by."""
    tables = ahead(batches_of(file, placed_by(project)))
    with BatchWriter(places_file, [PLACE]) as writer:
        for rows in numbered(table.to_pandas() for table in tables):
            writer.write(places(rows, project))


def batches_of(file: Path, columns: Sequence[str] | None = None) -> Iterator[pa.Table]:
    """Yield the row groups of a Parquet file, in batches as they were written."""
    with pq.ParquetFile(file) as parquet:
        known = parquet.schema_arrow.names
        read = None if columns is None else [name for name in columns if name in known]
        for number in range(parquet.num_row_groups):
            yield parquet.read_row_group(number, columns=read)
