"""A copy of the repository with finished builds, to break things in; the real commands run in it."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from ml import locations
from tests import warm
from tests.conftest import VARIABLES

STAGES = ("lint", "data", "train", "quality", "deploy")
PARTS = ("ml", "jenkins", "tests/quality", "pyproject.toml", "requirements.txt", ".flake8")
GRID = {
    "LogisticRegression": {"C": [0.5], "max_iter": [1000]},
    "GradientBoostingClassifier": {"learning_rate": [0.05], "max_depth": [2]},
}
TABLES = {"titanic": "data/train.csv", "temperature": "data/days.csv"}
MAX_SECONDS = 600


@dataclass
class Sandbox:
    """A repository of its own with home (keys, registry) and build folder, and the environment to run in."""

    root: Path
    project: str = "titanic"
    environment: dict[str, str] = field(default_factory=dict)
    prefix: list[str] = field(default_factory=list)
    arguments: list[str] = field(default_factory=list)

    @property
    def repository(self) -> Path:
        """The copy of the repository."""
        return self.root / "repository"

    @property
    def folder(self) -> Path:
        """The folder of the project."""
        return self.repository / "ml" / "projects" / self.project

    @property
    def build(self) -> Path:
        """The build folder of the project."""
        return self.root / "build" / self.project

    @property
    def registry(self) -> Path:
        """The project's part of the registry."""
        return self.root / "home" / "registry" / self.project

    @property
    def table(self) -> Path:
        """The file of the labelled rows."""
        return self.folder / TABLES[self.project]

    def copy(self, root: Path, project: str) -> "Sandbox":
        """Return a copy to work with one of the projects."""
        shutil.copytree(self.root, root, symlinks=True)
        return Sandbox(root, project)

    def edit(self, file: Path, old: str, new: str) -> None:
        """Change the one place in a file that holds ``old``; anything but one place is an error."""
        text = file.read_text(encoding="utf-8")
        assert text.count(old) == 1, f"{file.name} holds {text.count(old)} times {old!r}"
        file.write_text(text.replace(old, new), encoding="utf-8")

    def rows(self, change: Callable[[pd.DataFrame], pd.DataFrame]) -> None:
        """Change the labelled rows."""
        change(pd.read_csv(self.table)).to_csv(self.table, index=False)

    def grid(self, content: Mapping[str, Any]) -> None:
        """Write the candidates."""
        (self.folder / "grid.json").unlink()
        (self.folder / "grid.json").write_text(json.dumps(content), encoding="utf-8")

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run one command of ``ml`` for the project."""
        clean = {name: value for name, value in os.environ.items() if name not in VARIABLES}
        # What begins otherwise than a command of a person does begins by itself.
        python = sys.executable if self.prefix or self.environment else warm.python()
        command = [python, "-m", "ml", *arguments, "--project", self.project]
        return subprocess.run(
            [*self.prefix, *command, "--build", str(self.root / "build"), *self.arguments],
            cwd=self.repository,
            env=clean | {"ML_HOME": str(self.root / "home")} | self.environment,
            capture_output=True,
            text=True,
            timeout=MAX_SECONDS,
            check=False,
        )

    def ends(self, start: str, last: str = "deploy") -> tuple[str, str]:
        """Run the stages from ``start`` on; return the one that stopped them and what it said, or nothing."""
        try:
            for stage in STAGES[STAGES.index(start) : STAGES.index(last) + 1]:
                port = ["--port", str(free_port())] if stage == "deploy" else []
                done = self.run(stage, *port)
                if done.returncode != 0:
                    return stage, done.stdout + done.stderr
            return "", done.stdout + done.stderr
        finally:
            if (self.root / "home" / "services").exists():
                self.prefix, self.arguments = [], []
                self.run("serve", "--stop")


def make_base(root: Path, projects: Iterable[str] = tuple(TABLES)) -> Sandbox:
    """Make the sandbox that all others are copies of: its projects built, blessed and deployed."""
    base = Sandbox(root)
    for part in PARTS:
        source, target = locations.ROOT / part, base.repository / part
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, target, symlinks=True, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, target)
    settings = (base.folder / "project.toml").read_text(encoding="utf-8")
    source_lines = '[source]\nkind = "csv"\nlabelled = "data/train.csv"\nunlabelled = "data/test.csv"\n\n'
    settings, count = re.subn(r"(?ms)^\[source\].*?(?=^\[split\])", source_lines, settings)
    assert count == 1
    (base.folder / "project.toml").write_text(settings, encoding="utf-8")
    base.grid(GRID)
    for project in projects:
        stopped, said = Sandbox(root, project).ends("data")
        assert not stopped, f"{project} is stopped at {stopped} before anything was broken: {said}"
    return base


def free_port() -> int:
    """Return a port that nobody listens on."""
    import socket

    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])
