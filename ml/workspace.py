"""The files that pass between stages: ``build/<project>/<folder>`` and the record each stage leaves there.

A stage works in a folder aside and swaps it in whole when it is done, so a stage that fails, is interrupted
or is killed leaves the earlier result as it was. The record (``manifest.json``, ``verdict.json``, …) names
the sha256 of every input and output: equal inputs and intact outputs mean there is nothing to do.
"""

import ast
import fcntl
import hashlib
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ml import locations
from ml.console import say
from ml.errors import MlError
from ml.files import digest, digests, now, read_json, swap, write_json
from ml.project import Project
from ml.registry import signing

RECORDS = {
    "data": "data/manifest.json",
    "train": "model/manifest.json",
    "quality": "quality/verdict.json",
    "deploy": "deploy/deployment.json",
}
# The fingerprints of the rows of a build, beside its data and in its model: what was trained on, what changed
ROWS_FILE = "rows.parquet"
# What every record tells of its own run; the rest is what the stage adds.
RUN_KEYS = ("stage", "project", "inputs", "outputs", "finished", "seconds")


@dataclass(frozen=True)
class StageResult:
    """What a stage did, ``done`` or ``unchanged``, and its record."""

    outcome: str
    record: dict[str, Any]


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
        """Return the file of a stage's record."""
        return self.root / RECORDS.get(stage, f"{stage}/manifest.json")

    def run(
        self,
        stage: str,
        inputs: Mapping[str, Any],
        work: Callable[[Path], dict[str, Any]],
        *,
        force: bool = False,
        signed: bool = False,
    ) -> StageResult:
        """Run ``work`` unless its inputs are unchanged, and swap its folder in whole.

        ``work`` gets an empty folder to write to and returns what to add to the record. With ``signed``, the
        record, and through it every file, is signed. A second process at the same stage raises ``MlError``.
        """
        start = time.monotonic()
        folder, record_file = self.folder(stage), self.record_file(stage)
        with self._lock(stage):
            if not force and (kept := self.kept(stage, signed=signed)) and kept["inputs"] == dict(inputs):
                say(f"{stage}: nothing to do, the inputs are those of the last run (--force runs it anyway)")
                return StageResult("unchanged", kept)
            if signed:
                signing.signing_key(signing.build_keys(stage))  # told before the work, if it is unusable
            aside = folder.with_name(f".{folder.name}.partial")
            shutil.rmtree(aside, ignore_errors=True)
            aside.mkdir(parents=True)
            try:
                details = work(aside)
                record = {
                    "stage": stage,
                    "project": self.project,
                    "inputs": dict(inputs),
                    "outputs": digests(aside),
                    "finished": now(),
                    "seconds": round(time.monotonic() - start, 3),
                    **details,
                }
                write_json(aside / record_file.name, record)
                if signed:
                    signing.sign(aside / record_file.name, signing.build_keys(stage))
                swap(aside, folder)
            finally:
                shutil.rmtree(aside, ignore_errors=True)
        return StageResult("done", record)

    def record(self, stage: str) -> dict[str, Any]:
        """Return the record of a finished stage; ``MlError`` if it is missing or its files were altered."""
        self._recover(stage)
        file = self.record_file(stage)
        again = f"run `python -m ml {stage} --project {self.project}`"
        if not file.exists():
            raise MlError(f"{file} is missing: {again} first")
        record = read_json(file)
        if record.get("project") != self.project:
            raise MlError(f"{file} is of project '{record.get('project')}', not {self.project}: {again}")
        for name, expected in _outputs(record).items():
            if not (file.parent / name).is_file() or digest(file.parent / name) != expected:
                raise MlError(
                    f"{file.parent / name} is missing or was altered since {stage} wrote it: {again} again"
                )
        return record

    def kept(self, stage: str, *, signed: bool = False) -> dict[str, Any] | None:
        """Return the record of the last run if it and all its files are intact (and, if asked, signed)."""
        try:
            record = self.record(stage)
            if signed:
                signing.verify(self.record_file(stage), signing.build_keys(stage))
        except (OSError, MlError):
            return None
        return record if "inputs" in record else None

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
    found: set[Path] = {locations.LOCK_FILE}
    waiting = [*files]
    while waiting:
        file = waiting.pop()
        if file not in found:
            found.add(file)
            waiting += _imported(file) if file.suffix == ".py" else []
    listing = "\n".join(f"{file.relative_to(locations.ROOT)} {digest(file)}" for file in sorted(found))
    return hashlib.sha256(listing.encode()).hexdigest()


def _imported(file: Path) -> Iterator[Path]:
    """Yield the files of ``ml`` that a Python file names in an import, at its top or in a function."""
    for node in ast.walk(ast.parse(file.read_bytes())):
        names = []
        if isinstance(node, ast.Import):
            names = [one.name for one in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = [f"{node.module}.{one.name}" for one in node.names]
        for parts in (name.split(".") for name in names if name.startswith("ml.")):
            for end in range(1, len(parts) + 1):
                module = locations.ROOT.joinpath(*parts[:end])
                yield from (
                    one for one in (module.with_suffix(".py"), module / "__init__.py") if one.exists()
                )


def declaration_digests(project: Project) -> dict[str, str]:
    """Return the sha256 of each file that defines the project."""
    return {file.name: digest(file) for file in project.declarations}
