"""The files that pass between stages: ``build/<project>/<folder>`` and the record each stage leaves there.

A stage works in a folder aside and swaps it in whole when it is done, so a stage that fails, is interrupted
or is killed leaves the earlier result as it was. The record (``manifest.json``, ``verdict.json``, …) names
the sha256 of every input and output: equal inputs and intact outputs mean there is nothing to do.
"""

import fcntl
import functools
import hashlib
import re
import secrets
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic

from ml import locations
from ml.console import say
from ml.errors import MlError
from ml.files import digest, digests, first_altered, now, read_json, swap, write_json
from ml.project import Project
from ml.records import FORMAT, RECORDS, AnyRecord, parse
from ml.registry import signing
from ml.source_settings import format_of

# The fingerprints of the rows of a build, beside its data and in its model: what was trained on, what changed
ROWS_FILE = "rows.parquet"
LOCK = ".lock"
IMPORT = re.compile(
    r"^[ \t]*(?:from[ \t]+(ml[\w.]*)[ \t]+import[ \t]*(\([^)]*\)|[^\n]*)|import[ \t]+(ml\.[^\n]*))",
    re.MULTILINE,
)
WORD = re.compile(r"[\w.]+")


@dataclass(frozen=True)
class Outcome(Generic[AnyRecord]):
    """What a stage did, ``done`` or ``unchanged``, and the record it left."""

    status: str
    record: AnyRecord


class Workspace:
    """The build folder of one project."""

    def __init__(self, build: Path, project: str) -> None:
        """Refer to ``build/<project>``; nothing is created before a stage runs."""
        self.root = build.absolute() / project
        self.project = project

    def folder(self, stage: str) -> Path:
        """Return the folder that a stage writes."""
        return self.record_file(stage).parent

    def record_file(self, stage: str) -> Path:
        """Return the file of a stage's record; a part of a stage, like ``lint/flake8``, has its own."""
        name, _, part = stage.partition("/")
        file = self.root / RECORDS[name].path
        return file.parent / part / file.name if part else file

    def run(
        self,
        kind: type[AnyRecord],
        inputs: Mapping[str, Any],
        work: Callable[[Path], dict[str, Any]],
        *,
        part: str = "",
        force: bool = False,
        signed: bool = False,
    ) -> Outcome[AnyRecord]:
        """Run the ``work`` of a stage unless its inputs are unchanged, and swap its folder in whole.

        ``work`` gets an empty folder to write to and returns what to add to the record. ``part`` is for a
        stage that works in several folders. With ``signed``, the record, and through it every file, is
        signed. A second process at the same stage raises ``MlError``.
        """
        start = time.monotonic()
        stage = f"{kind.made_by}/{part}" if part else kind.made_by
        folder, record_file = self.folder(stage), self.record_file(stage)
        with self._lock(stage):
            if not force and (same := self.unchanged(kind, inputs, part=part, signed=signed)):
                return same
            if signed:
                signing.signing_key(signing.build_keys(stage))  # told before the work, if it is unusable
            aside = folder.with_name(f".{folder.name}.partial")
            shutil.rmtree(aside, ignore_errors=True)
            aside.mkdir(parents=True)
            try:
                details = work(aside)
                run = {
                    "format": FORMAT,
                    "stage": stage,
                    "project": self.project,
                    "inputs": dict(inputs),
                    "outputs": digests(aside),
                    "finished": now(),
                    "seconds": round(time.monotonic() - start, 3),
                }
                record = parse(kind, run | details, f"what {stage} tells")
                write_json(aside / record_file.name, record.model_dump(mode="json"))
                if signed:
                    signing.sign(aside / record_file.name, signing.build_keys(stage))
                swap(aside, folder)
            finally:
                shutil.rmtree(aside, ignore_errors=True)
        return Outcome("done", record)

    def record(self, kind: type[AnyRecord], *, part: str = "", signed: bool = False) -> AnyRecord:
        """Return the record of a finished stage; ``MlError`` if it is missing or its files were altered.

        With ``signed`` also if the stage's build key did not sign it.
        """
        stage = f"{kind.made_by}/{part}" if part else kind.made_by
        self._recover(stage)
        file = self.record_file(stage)
        again = f"run `python -m ml {kind.made_by} --project {self.project}`"
        if not file.exists():
            raise MlError(f"{file} is missing: {again} first")
        content = read_json(file)
        if content.get("project") != self.project:
            raise MlError(f"{file} is of project '{content.get('project')}', not {self.project}: {again}")
        if name := first_altered(file.parent, _outputs(content)):
            raise MlError(
                f"{file.parent / name} is missing or was altered since {stage} wrote it: {again} again"
            )
        if signed:
            content = signing.verify(file, signing.build_keys(stage))
        return parse(kind, content, str(file))

    def unchanged(
        self, kind: type[AnyRecord], inputs: Mapping[str, Any], *, part: str = "", signed: bool = False
    ) -> Outcome[AnyRecord] | None:
        """Return the last run of a stage, told, if its inputs were the same and its files are intact."""
        kept = self.kept(kind, part=part, signed=signed)
        if not kept or kept.inputs != dict(inputs):
            return None
        stage = f"{kind.made_by}/{part}" if part else kind.made_by
        say(f"{stage}: nothing to do, the inputs are those of the last run (--force runs it anyway)")
        return Outcome("unchanged", kept)

    def kept(self, kind: type[AnyRecord], *, part: str = "", signed: bool = False) -> AnyRecord | None:
        """Return the record of the last run if it and all its files are intact (and, if asked, signed)."""
        try:
            return self.record(kind, part=part, signed=signed)
        except (OSError, MlError):
            return None

    @contextmanager
    def scratch(self) -> Iterator[Path]:
        """Yield an empty folder for what is needed on the way; those of killed processes go, too.

        Whoever works in one holds a lock in it.
        """
        self.root.mkdir(parents=True, exist_ok=True)
        for left in self.root.glob(".scratch-*"):
            with suppress(OSError), open(left / LOCK, "w", encoding="utf-8") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(left, ignore_errors=True)
        folder = self.root / f".scratch-{secrets.token_hex(8)}"
        aside = folder.with_name(folder.name.replace("scratch", "coming"))
        aside.mkdir()
        try:
            with open(aside / LOCK, "w", encoding="utf-8") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX)
                aside.rename(folder)
                yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def _recover(self, stage: str) -> None:
        """Bring back the earlier folder if a run was killed between the two renames of its swap."""
        folder = self.folder(stage)
        old = folder.with_name(f".{folder.name}.old")
        if old.exists() and not folder.exists():
            old.rename(folder)

    @contextmanager
    def _lock(self, stage: str) -> Iterator[None]:
        name = stage.replace("/", "-")
        self.root.mkdir(parents=True, exist_ok=True)
        with open(self.root / f".{name}.lock", "w", encoding="utf-8") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise MlError(
                    f"another {stage} is running in {self.root}: wait for it, or use another --build DIR"
                ) from error
            yield


def _outputs(record: dict[str, Any]) -> dict[str, str]:
    outputs = record.get("outputs")
    return outputs if isinstance(outputs, dict) else {}


def code_digest(*files: Path) -> str:
    """Return one sha256 over files, the lock file, and all modules of ``ml`` that an import leads to.

    What a stage does not use can change without its work being done again.
    """
    listing = "\n".join(
        f"{file.relative_to(locations.ROOT)} {digest(file)}" for file in sorted(code_files(*files))
    )
    return hashlib.sha256(listing.encode()).hexdigest()


def code_files(*files: Path) -> set[Path]:
    """Return files, the lock file, and all modules of ``ml`` that an import leads to."""
    found: set[Path] = {locations.LOCK_FILE}
    waiting = [*files]
    while waiting:
        file = waiting.pop()
        if file not in found:
            found.add(file)
            waiting += _imported(file, file.stat().st_mtime_ns) if file.suffix == ".py" else []
    return found


@functools.lru_cache(maxsize=1000)
def _imported(file: Path, _: int) -> tuple[Path, ...]:
    """Return the files of ``ml`` that a Python file names in an import, as it was written at that time."""
    return tuple(_named_in_imports(file))


def _named_in_imports(file: Path) -> Iterator[Path]:
    """Yield modules that the text of a file imports.

    A statement that stands in a docstring counts, too, which does no harm; to parse all modules at each
    start would take longer than all else that a stage with nothing to do does.
    """
    for module, named, whole in IMPORT.findall(file.read_text(encoding="utf-8", errors="replace")):
        names = [f"{module}.{one}" for one in WORD.findall(named)] if module else WORD.findall(whole)
        for parts in (name.split(".") for name in names if name.startswith("ml.")):
            for end in range(1, len(parts) + 1):
                module_file = locations.ROOT.joinpath(*parts[:end])
                yield from (
                    one
                    for one in (module_file.with_suffix(".py"), module_file / "__init__.py")
                    if one.exists()
                )


def declared_for_training(project: Project) -> dict[str, Any]:
    """Return what of a project a training depends on: the sha256 of its other files, and its settings."""
    settings = {
        "title",
        "task",
        "target",
        "positive",
        "id",
        "seed",
        "split",
        "features",
        "training",
        "data_gates",
        "personal",
        "personal_rules",
    }
    # A service takes files that are written as the source's are.
    written = {"format": format_of(project.source).model_dump(mode="json")}
    return {
        **{file.name: digest(file) for file in project.declarations if file.suffix != ".toml"},
        "settings": project.model_dump(mode="json", include=settings) | written,
    }
