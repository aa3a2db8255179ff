"""Data sets that ``catboost.datasets`` downloads, with the project's own snapshot when that fails."""

import os
import subprocess
import sys
from datetime import datetime
from pathlib import Path

from ml.console import say
from ml.data.sources import files
from ml.data.sources.interface import Asked, Batches, SourceAway
from ml.source_settings import CatboostSource, Format

# catboost's download has no time limit of its own, so it runs in a process that can be ended.
DOWNLOAD = """
import sys
from catboost import datasets
found = getattr(datasets, sys.argv[1])()
tables = found if isinstance(found, tuple) else (found,)
for name, table in zip(("labelled", "unlabelled"), tables):
    table.to_csv(name + ".csv", index=False)
"""


def read(source: CatboostSource, asked: Asked) -> Batches:
    """Download the data set and yield one of its tables; after ``timeout_seconds`` it is away."""
    from ml.data.sources.table_files import read_batches

    file = asked.scratch / f"{asked.role}.csv"
    if not file.exists():
        if reason := _download(source, asked.scratch):
            raise SourceAway(reason)
        say(f"data: downloaded catboost.datasets.{source.dataset}()")
    yield from read_batches(file, Format(), asked.text_columns, asked.words, counted=True)


def origin(source: CatboostSource, _: str) -> str:
    """Return where a table comes from."""
    return f"catboost.datasets.{source.dataset}()"


def state(source: CatboostSource, asked: Asked) -> dict[str, str]:
    """Return the data set's name and its snapshot: what is published once does not change."""
    return {"dataset": source.dataset} | files.state(source.snapshot, asked)


def delivered(_: CatboostSource, __: Asked) -> datetime | None:
    """A data set that is published once does not grow old."""
    return None


def _download(source: CatboostSource, folder: Path) -> str:
    """Return why the download failed, or nothing if it worked."""
    command = [sys.executable, "-c", DOWNLOAD, source.dataset]
    environment = os.environ | {
        "TMPDIR": str(folder)
    }  # catboost leaves its temporary files behind on an error
    try:
        done = subprocess.run(
            command,
            cwd=folder,
            env=environment,
            timeout=source.timeout_seconds,
            capture_output=True,
            text=True,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return f"no answer within {source.timeout_seconds:g} s"
    return "the download failed" if done.returncode else ""
