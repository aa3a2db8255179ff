"""Files that appear whole or not at all, their digests, and JSON objects in them."""

import fcntl
import hashlib
import json
import os
import shutil
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ml.errors import MlError


def swap(aside: Path, folder: Path) -> None:
    """Put a finished folder in the place of another one, or leave that as it was."""
    flush(aside)
    old = folder.with_name(f".{folder.name}.old")
    shutil.rmtree(old, ignore_errors=True)
    if folder.exists():
        folder.rename(old)
    try:
        aside.rename(folder)
    except BaseException:
        if old.exists():
            old.rename(folder)
        raise
    _fsync(folder.parent)
    shutil.rmtree(old, ignore_errors=True)


def _fsync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def flush(folder: Path) -> None:
    """Wait until every file below a folder has reached the disk."""
    for path in (folder, *folder.rglob("*")):
        _fsync(path)


def now() -> str:
    """Return the present time, UTC, ISO 8601, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def digest(file: Path) -> str:
    """Return the sha256 of a file's content, in hex."""
    with open(file, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def digests(folder: Path) -> dict[str, str]:
    """Return the sha256 of each file below ``folder``, by relative path."""
    files = sorted(str(file.relative_to(folder)) for file in folder.rglob("*") if file.is_file())
    return {name: digest(folder / name) for name in files}


def first_altered(folder: Path, outputs: Mapping[str, str]) -> str | None:
    """Return the first file that is not there with the sha256 that a record gives it; none if all are."""
    return next(
        (
            name
            for name, expected in outputs.items()
            if not (folder / name).is_file() or digest(folder / name) != expected
        ),
        None,
    )


def make_secret(file: Path, content: Callable[[], bytes]) -> bool:
    """Make a file that its owner alone may read, unless it is there; tell whether it was made.

    It appears whole; of two processes that want it at once the second finds that of the first.
    """
    file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    with open(file.parent / ".lock", "w", encoding="utf-8") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if file.exists():
            return False
        aside = file.with_name(f".{file.name}.partial")
        aside.unlink(missing_ok=True)
        with open(os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as stream:
            stream.write(content())
        aside.replace(file)
    return True


def write_json(file: Path, content: Mapping[str, Any], *, lasting: bool = True) -> None:
    """Write a JSON object so that the file appears whole or not at all.

    One that need not outlive the machine's next start is not ``lasting``: nobody waits for the disk then.
    """
    try:
        text = json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    except ValueError as error:
        raise MlError(
            f"{file.name} cannot be written, a figure in it is infinite or no number: {error}"
        ) from error
    aside = file.with_name(f".{file.name}.{os.getpid()}")
    try:
        with open(aside, "w", encoding="utf-8") as stream:
            stream.write(text)
            if lasting:
                stream.flush()
                os.fsync(stream.fileno())
        aside.replace(file)
    finally:
        aside.unlink(missing_ok=True)


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return an object of JSON whose keys stand there once: Python would take the last without a word."""
    found = dict(pairs)
    if len(found) < len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in keys if keys.count(key) > 1)
        raise ValueError(f"the key {twice!r} stands twice in one object")
    return found


def read_json(file: Path) -> dict[str, Any]:
    """Read a JSON object; content that is none raises ``MlError``."""
    try:
        content = json.loads(file.read_bytes(), object_pairs_hook=_once)
    except (ValueError, RecursionError) as error:
        raise MlError(f"{file}: not valid JSON: {error}") from error
    if not isinstance(content, dict):
        raise MlError(f"{file}: not a JSON object")
    return content
