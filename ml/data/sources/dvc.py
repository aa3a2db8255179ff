"""Files of a DVC repository at a revision, by the program ``dvc``."""

import subprocess
from datetime import datetime
from pathlib import Path

from ml import locations
from ml.data.sources.interface import Asked, Batches, SourceAway
from ml.data.sources.table_files import read_batches
from ml.errors import MlError
from ml.source_settings import DvcSource


def read(source: DvcSource, asked: Asked) -> Batches:
    """Get the file at the declared revision and yield its rows; a remote without it is away."""
    file = asked.scratch / f"{asked.role}-{Path(asked.name).name}"
    repository = source.repository
    if "://" not in repository and "@" not in repository:
        repository = str((asked.folder / repository).resolve())
    command = [_program(), "get", repository, asked.name, "--out", str(file), "--force", "--quiet"]
    command += ["--rev", source.revision] if source.revision else []
    told = origin(source, asked.name)
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, check=False, timeout=source.max_seconds
        )
    except subprocess.TimeoutExpired as error:
        raise SourceAway(f"{told}: nothing came within {source.max_seconds:g} s") from error
    if done.returncode:
        lines = (done.stderr or done.stdout).strip().splitlines() or ["dvc says nothing"]
        reason = next((line for line in lines if line.startswith("ERROR")), lines[-1])
        raise SourceAway(f"{told}: {reason.removeprefix('ERROR: ')}")
    yield from read_batches(file, source.format, asked.text_columns, counted=True)


def origin(source: DvcSource, name: str) -> str:
    """Return where a table comes from."""
    return f"dvc: {name} at {source.revision or 'the newest revision'}"


def delivered(_: DvcSource, __: Asked) -> datetime | None:
    """A revision does not grow old."""
    return None


def _program() -> str:
    program = locations.dvc()
    if program is None:
        raise MlError(
            "dvc is not installed: install it in an environment of its own (pipx install dvc), and name the "
            "program in ML_DVC if it is not on the PATH"
        )
    return program
