"""What could go: versions that nobody returns to, data of none of the rest, old downloads, environments."""

import hashlib
import shutil
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path

from ml import locations
from ml.errors import MlError
from ml.project import project_names
from ml.registry.data_versions import SIGNS
from ml.registry.versions import Registry
from ml.upkeep.host import size_of

KEPT_VERSIONS = 10  # the newest of a project, beside those that a channel points or returns to
KEPT_SECONDS = 30 * 86400  # of what was downloaded, since it was last written


@dataclass(frozen=True)
class Removable:
    """Something that nothing needs any more: a folder or a file, and why it may go."""

    path: Path
    size: int
    why: str


def removable(build: Path) -> list[Removable]:
    """Return what could go, of every project; a registry that cannot be read raises ``MlError``."""
    found: list[Removable] = []
    for name in _registered():
        found += _versions(Registry(name))
    found += _downloads()
    found += _environments()
    left = [*build.glob("*/.*.partial"), *locations.home().glob("venvs/.removed-*")]
    for pattern in ("versions/.incoming-*", "versions/.removed-*", "data/.removed-*"):
        left += locations.registry().glob(f"*/{pattern}")
    found += [_of(one, "left by a process that was killed") for one in left if _is_old(one)]
    return found


def remove(found: list[Removable]) -> int:
    """Take away what could go, unless a channel points to it meanwhile; return the bytes that are free."""
    freed = 0
    with ExitStack() as locks:
        for name in _registered():
            for channel in Registry(name).channels():
                locks.enter_context(Registry(name).lock(channel.name))
        needed = {path for name in _registered() for path in _needed(Registry(name))}
        for one in found:
            if one.path in needed:
                continue
            aside = one.path.with_name(f".removed-{one.path.name}")
            one.path.rename(aside)  # no half of a version is ever seen
            if aside.is_dir():
                shutil.rmtree(aside)
            else:
                aside.unlink()
            freed += one.size
    return freed


def _registered() -> list[str]:
    known = [folder.parent.name for folder in locations.registry().glob("*/versions")]
    return sorted({*known, *project_names()})


def _versions(registry: Registry) -> Iterator[Removable]:
    needed = _needed(registry)
    for version in registry.versions():
        folder = registry.root / "versions" / str(version)
        if folder not in needed:
            yield _of(folder, "no channel points or returns to it, and newer ones are there")
    for kept in sorted((registry.root / "data").glob("[0-9a-f]*")):
        # What is young may be data of a training that is under way.
        if kept.is_dir() and kept not in needed and _is_old(kept):
            yield _of(kept, "data of no version that stays")


def _needed(registry: Registry) -> set[Path]:
    """Return the folders that stay: the newest versions, those of channels, and the data of them."""
    stay = set(registry.versions()[-KEPT_VERSIONS:])
    for channel in registry.channels():
        tried = channel.candidate.version if channel.candidate else None
        stay |= {one for one in (channel.version, channel.previous, tried) if one is not None}
    folders = {registry.root / "versions" / str(version) for version in stay}
    for version in stay:
        try:
            folders.add(registry.root / "data" / registry.data_manifest(version).version[:SIGNS])
        except (MlError, OSError):  # of a version that is not whole: what it was made of is not known
            return {*folders, *(registry.root / "data").glob("*")}
    return folders


def _downloads() -> Iterator[Removable]:
    for file in sorted(locations.downloads().glob("*")):
        if file.is_file() and _is_old(file, KEPT_SECONDS):
            yield _of(file, "downloaded more than a month ago")


def _environments() -> Iterator[Removable]:
    """Yield the environments of earlier locks, as builds and targets keep them, that no process runs in."""
    lock = locations.LOCK_FILE.read_bytes()
    tests = locations.ROOT / "tests" / "requirements.txt"
    locks = [lock, *([lock + tests.read_bytes()] if tests.exists() else [])]
    today = {hashlib.sha256(one).hexdigest() for one in locks}
    programs = "\n".join(_programs())
    for folder in sorted((locations.home() / "venvs").glob("[0-9a-f]*/")):
        used = folder.name in today or folder == Path(sys.prefix) or f"{folder}/" in programs
        if not used and _is_old(folder, KEPT_SECONDS):
            yield _of(folder, "an environment of another requirements.txt, and nothing runs in it")


def _programs() -> Iterator[str]:
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):  # it has ended meanwhile
            yield file.read_text(encoding="utf-8", errors="replace").partition("\0")[0]


def _of(path: Path, why: str) -> Removable:
    return Removable(path, size_of(path) if path.is_dir() else path.stat().st_size, why)


def _is_old(path: Path, seconds: float = 86400.0) -> bool:
    return time.time() - path.stat().st_mtime > seconds
