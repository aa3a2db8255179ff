"""Tables in files: one, those of a glob, or those of a folder."""

import glob
import os
from datetime import datetime
from pathlib import Path

from ml.data.sources.file_types import can_read
from ml.data.sources.interface import Asked, Batches
from ml.errors import MlError
from ml.files import digest
from ml.source_settings import FilesSource


def read(source: FilesSource, asked: Asked) -> Batches:
    """Yield the rows of the files in the order of their names, after checking the sha256 if there is one.

    Files with other columns than the first raise ``MlError``.
    """
    from ml.data.sources.table_files import read_batches  # not to tell that nothing has changed

    expected, columns, first = source.sha256.get(asked.role), None, None
    found = find(asked)
    if expected and len(found) > 1:
        raise MlError(f"project.toml: source.sha256: '{asked.name}' is {len(found)} files, and it is of one")
    for file in found:
        if expected and file.exists() and (sha256 := digest(file)) != expected:
            raise MlError(f"{file} was changed: its sha256 is {sha256}, project.toml says {expected}")
        counted = asked.role in source.rows
        for batch in read_batches(file, source.format, asked.text_columns, asked.words, counted=counted):
            columns, first = columns or set(batch), first or file
            if set(batch) != columns:
                odd = sorted(map(str, set(batch) ^ columns))[0]
                raise MlError(f"{file} has other columns than {first}: '{odd}' is only in one of them")
            yield batch


def find(asked: Asked) -> list[Path]:
    """Return the files that a path, a glob or a folder stands for; none at all raises ``MlError``.

    So does what can be read only once, or without end: a pipe, a device.
    """
    path = asked.folder / asked.name
    if path.is_dir():
        found = sorted(file for file in path.iterdir() if file.is_file() and can_read(file.name))
    elif glob.has_magic(asked.name):
        found = sorted(Path(name) for name in glob.glob(str(path), recursive=True))
    else:
        found = [path]
    if not found:
        raise MlError(f"{path} has no file of a table: did the source deliver?")
    if odd := next((file for file in found if file.exists() and not file.is_file()), None):
        raise MlError(f"{odd} is no plain file: write the table into one first")
    return found


def origin(_: FilesSource, name: str) -> str:
    """Return where a table comes from."""
    return f"files: {name}"


def state(_: FilesSource, asked: Asked) -> dict[str, str]:
    """Return the sha256 of every file: equal files have equal rows."""
    return {os.path.relpath(file, asked.folder): digest(file) for file in find(asked)}


def delivered(_: FilesSource, asked: Asked) -> datetime | None:
    """Return when the newest of the files was written."""
    times = [file.stat().st_mtime for file in find(asked) if file.exists()]
    return datetime.fromtimestamp(max(times)).astimezone() if times else None
