"""Files of a DVC repository at a revision, by the program ``dvc``."""

import subprocess
from datetime import datetime
from pathlib import Path

from ml.data.sources.interface import Asked, Batches, SourceAway
from ml.data.sources.table_files import read_batches
from ml.dvc import DvcFailed, run_dvc
from ml.source_settings import DvcSource


def read(source: DvcSource, asked: Asked) -> Batches:
    """Get the file at the declared revision and yield its rows; a remote without it is away."""
    file = asked.scratch / f"{asked.role}-{Path(asked.name).name}"
    repository = source.repository
    if "://" not in repository and "@" not in repository:
        repository = str((asked.folder / repository).resolve())
    revision = ["--rev", source.revision] if source.revision else []
    told = origin(source, asked.name)
    try:
        run_dvc(
            *("get", repository, asked.name, "--out", str(file), "--force"),
            *revision,
            seconds=source.max_seconds,
        )
    except subprocess.TimeoutExpired as error:
        raise SourceAway(f"{told}: nothing came within {source.max_seconds:g} s") from error
    except DvcFailed as error:
        raise SourceAway(f"{told}: {error}") from error
    yield from read_batches(file, source.format, asked.text_columns, asked.words, counted=True)


def origin(source: DvcSource, name: str) -> str:
    """Return where a table comes from."""
    return f"dvc: {name} at {source.revision or 'the newest revision'}"


def delivered(_: DvcSource, __: Asked) -> datetime | None:
    """A revision does not grow old."""
    return None
