"""Archives whose every file can be proved whole: a tar with the sha256 of each member in its last one."""

import errno
import hashlib
import io
import json
import os
import tarfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO

from ml.errors import MlError
from ml.files import now

FORMAT = 1
MANIFEST = "manifest.json"
LEVEL = 1  # of gzip: models shrink to a third, and more costs more time than it saves
BLOCK_BYTES = 1_000_000
NOT_OURS = "{}: holds '{}', which no backup writes"
# A name twice, a file where a folder is, or the other way round, one that no file system takes
NO_SUCH_NAME = (errno.EEXIST, errno.ENOTDIR, errno.EISDIR, errno.ENAMETOOLONG)


class _Hashed(io.RawIOBase):
    """A file that is read and hashed at once: what is told of it is what went into the archive."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream, self.sha256 = stream, hashlib.sha256()

    def read(self, size: int = -1) -> bytes:
        block = self._stream.read(size)
        self.sha256.update(block)
        return block


class ArchiveWriter:
    """An archive under way: files are added one by one."""

    def __init__(self, tar: tarfile.TarFile) -> None:
        """Write into an open tar."""
        self._tar = tar
        self.files: dict[str, str] = {}

    def add(self, name: str, file: Path) -> None:
        """Add a file as it is on the disk; one that shrinks meanwhile raises ``OSError``."""
        with open(file, "rb") as stream:
            found = os.fstat(stream.fileno())
            self._add(name, stream, found.st_size, found.st_mode & 0o777)

    def add_bytes(self, name: str, content: bytes, mode: int = 0o600) -> None:
        """Add a file with a content that was read before."""
        self._add(name, io.BytesIO(content), len(content), mode)

    def _add(self, name: str, stream: BinaryIO, size: int, mode: int) -> None:
        info = tarfile.TarInfo(name)
        info.size, info.mode = size, mode
        hashed = _Hashed(stream)
        self._tar.addfile(info, hashed)
        self.files[name] = hashed.sha256.hexdigest()


@contextmanager
def new_archive(file: Path, kind: str) -> Iterator[ArchiveWriter]:
    """Yield what writes an archive, which appears whole and is its owner's alone."""
    file.parent.mkdir(parents=True, exist_ok=True)
    aside = file.with_name(f".{file.name}.{os.getpid()}")
    try:
        with open(os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as stream:
            with tarfile.open(fileobj=stream, mode="w:gz", compresslevel=LEVEL) as tar:
                writer = ArchiveWriter(tar)
                yield writer
                told = {"format": FORMAT, "kind": kind, "at": now(), "files": writer.files}
                writer.add_bytes(MANIFEST, json.dumps(told, indent=1).encode())
            stream.flush()
            os.fsync(stream.fileno())
        aside.replace(file)
    finally:
        aside.unlink(missing_ok=True)


def unpack(file: Path, folder: Path, kind: str) -> dict[str, Any]:
    """Unpack an archive into an empty folder and return its manifest.

    One that is damaged, cut off, of another kind, or holds anything but plain files below the folder raises
    ``MlError``; what was unpacked till then is left to the caller.
    """
    found: dict[str, str] = {}
    try:
        with tarfile.open(file, mode="r:gz") as tar:
            for member in tar:
                path = PurePosixPath(member.name)
                if not member.isreg() or path.is_absolute() or ".." in path.parts:
                    raise MlError(NOT_OURS.format(file, member.name))
                stream = tar.extractfile(member)
                assert stream
                try:
                    found[member.name] = _write(stream, folder / path, member.mode & 0o777)
                except OSError as error:
                    if error.errno in NO_SUCH_NAME:
                        raise MlError(NOT_OURS.format(file, member.name[:100])) from error
                    raise
    except FileNotFoundError as error:
        raise MlError(f"{file} is missing: name the file of a backup") from error
    except (tarfile.TarError, EOFError, zlib.error, OSError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise
        raise MlError(f"{file} is damaged: {error}: take another backup") from error
    manifest = _manifest(file, folder)
    found.pop(MANIFEST, None)
    if manifest.get("kind") != kind:
        raise MlError(f"{file} is a backup of {manifest.get('kind')}, not of {kind}")
    if found != (told := manifest["files"]):
        altered = sorted(name for name in {*found, *told} if found.get(name) != told.get(name))
        raise MlError(f"{file} is damaged: {altered[0]} is not what was backed up: take another backup")
    return manifest


def _manifest(file: Path, folder: Path) -> dict[str, Any]:
    content: Any = None
    with suppress(OSError, ValueError):
        content = json.loads((folder / MANIFEST).read_bytes())
    if not isinstance(content, dict) or not isinstance(content.get("files"), dict):
        raise MlError(f"{file} is no whole backup: its last part is missing: take another backup")
    if content.get("format") != FORMAT:
        raise MlError(
            f"{file} is of format {content.get('format')}, this code reads format {FORMAT}: "
            "restore it with the code that wrote it"
        )
    return content


def _write(stream: Any, file: Path, mode: int) -> str:
    file.parent.mkdir(parents=True, exist_ok=True)
    sha256 = hashlib.sha256()
    with open(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as out:
        while block := stream.read(BLOCK_BYTES):
            sha256.update(block)
            out.write(block)
        os.fchmod(out.fileno(), mode)
    return sha256.hexdigest()
