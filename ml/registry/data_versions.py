"""Data builds that can be brought back: kept beside the versions of models, or in a DVC remote.

``<registry>/<project>/data/<hash>/`` is such a build as the data stage left it; of one in DVC a file
``<hash>.dvc`` stands there. The hash is that of its rows as they were divided.
"""

import re
import shutil
import subprocess
import tempfile
from pathlib import Path

from ml import locations
from ml.console import say
from ml.dvc import DvcFailed, run_dvc
from ml.errors import MlError, UsageError
from ml.files import first_altered, read_json, swap
from ml.project import Project
from ml.records import DataManifest, parse
from ml.registry.versions import Registry

SIGNS = 16  # of a hash, in names
MIN_SIGNS = 6
SECONDS = 1800
REMOTE = "versions"


def keep(project: Project, folder: Path, manifest: DataManifest) -> None:
    """Keep what the data stage built, as ``[versions]`` says; a version that is kept already stays."""
    shelf, name = _shelf(project), manifest.version[:SIGNS]
    if project.versions.dvc:
        if not (shelf / f"{name}.dvc").exists():
            _push(project, folder, name)
            say(f"data: version {name} is kept in {project.versions.dvc}")
    elif project.versions.keep and not (shelf / name).exists():
        shelf.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".incoming-", dir=shelf) as aside:
            shutil.copytree(folder, Path(aside) / name)
            swap(Path(aside) / name, shelf / name)
        say(f"data: version {name} is kept in {shelf}")


def bring_back(project: Project, folder: Path, given: str) -> DataManifest:
    """Put a kept data build in the place of the present one, after checking it; return its record.

    Raises ``MlError`` if none is kept under that hash, its content was altered, or the remote has lost it.
    """
    if not re.fullmatch(r"[0-9a-f]+", given) or len(given) < MIN_SIGNS:
        raise UsageError(f"--version {given}: name {MIN_SIGNS} signs of a data version's hash at least")
    shelf = _shelf(project)
    names = sorted({file.name.partition(".")[0] for file in shelf.glob("[0-9a-f]*")})
    found = [name for name in names if name.startswith(given[:SIGNS])]
    if len(found) != 1:
        known = ", ".join(names) or "none"
        several = "several versions begin with" if found else "no data version"
        raise MlError(f"{several} '{given}' of {project.name}: kept are {known} ([versions] in project.toml)")
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".incoming-", dir=folder.parent) as aside:
        copy = Path(aside) / "data"
        if (shelf / found[0]).is_dir():
            shutil.copytree(shelf / found[0], copy)
        else:
            _pull(project, found[0], copy)
        manifest = _checked(copy, found[0])
        swap(copy, folder)
    return manifest


def _shelf(project: Project) -> Path:
    return Registry(project.name).root / "data"


def _checked(copy: Path, name: str) -> DataManifest:
    file = copy / Path(DataManifest.path).name
    manifest = parse(DataManifest, read_json(file), str(file))
    if output := first_altered(copy, manifest.outputs):
        raise MlError(f"data version {name}: {output} is missing or was altered since it was kept")
    if manifest.version[:SIGNS] != name:
        raise MlError(f"data version {name}: what was kept there is version {manifest.version[:SIGNS]}")
    return manifest


def _repository(project: Project) -> Path:
    """Return the DVC repository of this machine, made and pointed to the remote if need be."""
    folder = locations.home() / "dvc" / project.name
    if not (folder / ".dvc").exists():
        folder.mkdir(parents=True, exist_ok=True)
        _dvc(folder, "init", "--no-scm")
    remote = project.versions.dvc or ""
    place = remote if "://" in remote else str((project.folder / remote).absolute())
    _dvc(folder, "remote", "add", "--default", "--force", REMOTE, place)
    return folder


def _push(project: Project, folder: Path, name: str) -> None:
    repository = _repository(project)
    shutil.rmtree(repository / name, ignore_errors=True)
    shutil.copytree(folder, repository / name)
    _dvc(repository, "add", name)
    _dvc(repository, "push", f"{name}.dvc")
    shelf = _shelf(project)
    shelf.mkdir(parents=True, exist_ok=True)
    shutil.copy(repository / f"{name}.dvc", shelf / f".{name}.dvc")
    (shelf / f".{name}.dvc").rename(shelf / f"{name}.dvc")
    shutil.rmtree(repository / name)  # DVC's cache and remote have it


def _pull(project: Project, name: str, copy: Path) -> None:
    repository = _repository(project)
    shutil.copy(_shelf(project) / f"{name}.dvc", repository / f"{name}.dvc")
    try:
        _dvc(repository, "pull", "--force", f"{name}.dvc")
    except MlError as error:
        raise MlError(f"data version {name}: {project.versions.dvc} has lost it: {error}") from error
    shutil.copytree(repository / name, copy)


def _dvc(folder: Path, *arguments: str) -> None:
    needed = "[versions] of project.toml keeps data in DVC, and "
    try:
        run_dvc(*arguments, folder=folder, seconds=SECONDS, needed=needed)
    except subprocess.TimeoutExpired as error:
        raise MlError(f"dvc {arguments[0]} took more than {SECONDS} s: is the remote reachable?") from error
    except DvcFailed as error:
        raise MlError(f"dvc {arguments[0]}: {error}") from error
