"""Backups of what cannot be built again: the registry with its channels, the stores, and, apart, the keys.

What is registered never changes, so pointers are read first and versions after them: no pointer of a backup
leads to a version that is not in it, whatever builds and services do meanwhile.
"""

import os
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from ml import locations
from ml.console import progress, say
from ml.errors import MlError
from ml.files import flush, read_json
from ml.upkeep import stores
from ml.upkeep.archive import new_archive, unpack

REGISTRY = "registry"  # of the backup
WHOLE, KEYS = "registry and stores", "keys"
POINTERS = ("channels", "recalls")


def back_up(file: Path, keys: Path | None = None) -> str:
    """Write registry and stores into a file, the keys into another if one is named; return what was done.

    Raises ``MlError`` if there is nothing, or a part of it cannot be read.
    """
    registry = locations.registry()
    if not registry.is_dir():
        raise MlError(f"{registry} is missing: nothing was ever deployed here (ML_REGISTRY names another)")
    with tempfile.TemporaryDirectory(prefix=".backup-", dir=_beside(file)) as scratch:
        copies = stores.copy_stores(Path(scratch))
        small = {one: one.read_bytes() for one in _files(registry) if _is_pointer(registry, one)}
        others = [one for one in _files(registry) if one not in small]
        with new_archive(file, WHOLE) as archive, progress("backup: files", len(others)) as advance:
            for copy in copies:
                archive.add(f"{stores.FOLDER}/{copy.name}", copy)
            for one, content in small.items():
                archive.add_bytes(f"{REGISTRY}/{one.relative_to(registry)}", content, 0o644)
            for one in others:
                archive.add(f"{REGISTRY}/{one.relative_to(registry)}", one)
                advance(one.name)
    if keys:
        _back_up_keys(keys)
    size = file.stat().st_size
    return f"{file}: {len(small) + len(others)} files of the registry, {len(copies)} stores, {size:,} bytes"


def restore(file: Path, keys: Path | None = None, *, registry_only: bool = False) -> str:
    """Bring a backup back where there is nothing yet; return what was done.

    With ``registry_only`` into a registry that is there: versions are added, then pointers moved on, and a
    service that runs follows them: so a standby keeps up. Raises ``MlError``, and changes nothing, if the
    backup is damaged, something is in its place, or the registry here went another way.
    """
    registry = locations.registry()
    registry.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        stack.callback(_remove_if_empty, registry)
        # In the registry, which may be a file system of its own: what begins with a dot is none of it.
        scratch = tempfile.TemporaryDirectory(prefix=".restore-", dir=registry)
        aside = Path(stack.enter_context(scratch))
        told = unpack(file, aside, WHOLE)
        names = [name.partition("/") for name in told["files"]]
        kept = [] if registry_only else sorted(name for top, _, name in names if top == stores.FOLDER)
        if any(top not in (REGISTRY, stores.FOLDER) for top, _, _ in names):
            raise MlError(f"{file}: holds what no backup writes")
        if not registry_only and registry.is_dir() and any(_files(registry)):
            raise MlError(
                f"{registry} is not empty: a backup is restored where nothing is (--registry adds to it)"
            )
        stores.check_place(kept)
        added = list(_missing(aside / REGISTRY, registry))
        unpacked = stack.enter_context(_unpacked_keys(keys)) if keys else None
        flush(aside)
        stores.bring_back(aside / stores.FOLDER, kept)
        _add(aside / REGISTRY, added, registry)
        if unpacked:
            _place_keys(unpacked)
    return f"{file} of {told['at']}: {len(added)} files of the registry, {len(kept)} stores are in place"


def _remove_if_empty(folder: Path) -> None:
    with suppress(OSError):
        folder.rmdir()


def _add(theirs: Path, names: list[Path], registry: Path) -> None:
    """Move files into a registry, pointers last: what they lead to is there then."""
    for name in sorted(names, key=lambda name: _is_pointer(theirs, theirs / name)):
        (registry / name).parent.mkdir(parents=True, exist_ok=True)
        (theirs / name).replace(registry / name)


def _beside(file: Path) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    return file.parent


def _files(registry: Path) -> Iterator[Path]:
    """Yield the files of a registry; what is under way in it is not entered, for it may go at any moment."""
    for folder, folders, names in os.walk(registry, onerror=_raise):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for file in (Path(folder, name) for name in sorted(names) if not name.startswith(".")):
            if file.is_file() and not file.is_symlink():
                yield file


def _raise(error: OSError) -> None:
    raise error


def _is_pointer(registry: Path, file: Path) -> bool:
    parts = file.relative_to(registry).parts
    return len(parts) == 3 and parts[1] in POINTERS and file.suffix == ".json"


def _missing(theirs: Path, ours: Path) -> Iterator[Path]:
    """Yield files that are not here, or are pointers that moved on; ``MlError`` if ours went elsewhere."""
    for file in _files(theirs):
        name = file.relative_to(theirs)
        here = ours / name
        if not here.exists():
            yield name
        elif here.read_bytes() != file.read_bytes():
            if not (_is_pointer(theirs, file) and _goes_on(read_json(here), read_json(file))):
                raise MlError(f"{here} is neither as in the backup nor older: this registry went another way")
            yield name


def _goes_on(before: dict[str, object], now: dict[str, object]) -> bool:
    """Tell whether a history begins with all of another's; of a recall, whether it is undone now."""
    old, new = before.get("history"), now.get("history")
    if isinstance(old, list) and isinstance(new, list):
        return new[: len(old)] == old
    return before.get("undone") is None and now.get("undone") is not None


def _back_up_keys(file: Path) -> None:
    folder = locations.home() / "keys"
    with new_archive(file, KEYS) as archive:
        for one in _files(folder):
            archive.add(str(one.relative_to(folder)), one)
    say(f"backup: the keys are in {file}: keep it elsewhere, who has both can sign")


@contextmanager
def _unpacked_keys(file: Path) -> Iterator[Path]:
    """Yield a folder with the keys of a backup; keys that are there already raise ``MlError``."""
    folder = locations.home() / "keys"
    if folder.is_dir() and any(_files(folder)):
        raise MlError(f"{folder} is not empty: keys are restored where there are none")
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".restore-", dir=folder.parent) as scratch:
        aside = Path(scratch) / "keys"
        aside.mkdir(mode=0o700)
        unpack(file, aside, KEYS)
        (aside / "manifest.json").unlink()
        yield aside


def _place_keys(unpacked: Path) -> None:
    folder = locations.home() / "keys"
    if folder.is_dir():
        (folder / ".lock").unlink(missing_ok=True)
        folder.rmdir()
    unpacked.rename(folder)
