"""Lint: each check finds what it is for, with file and line, and leaves a report that Jenkins can read."""

import html
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from ml import locations
from ml.stages.lint import CHECKS
from tests.conftest import Site


def findings(site: Site, check: str) -> list[str]:
    return (site.build / "lint" / check / "findings.txt").read_text(encoding="utf-8").splitlines()


@pytest.mark.slow
def test_this_repository_is_clean(site: Site) -> None:
    assert site.ml("lint") == 0
    assert [findings(site, check) for check in CHECKS] == [[], [], [], []]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("check", "old", "new", "problem"),
    [
        (
            "flake8",
            "import pandas as pd\n",
            "import os\nimport pandas as pd\n",
            ":3:1: F401 'os' imported but unused",
        ),
        ("pydocstyle", '    """Add ``FamilySize``', '    # """Add ``FamilySize``', "features.py:15:1: D103 "),
    ],
)
def test_a_finding_is_told_with_file_and_line(
    site: Site, error_of: Callable[[], str], check: str, old: str, new: str, problem: str
) -> None:
    site.edit("features.py", old, new)
    assert site.ml("lint", "--check", check) == 1
    assert f"{site.project}/features.py" in (error := error_of()) and problem in error
    assert any(problem in found for found in findings(site, check))


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """Return a copy of the code, to be broken."""
    for name in ("ml", "jenkins"):
        ignored = shutil.ignore_patterns("__pycache__", "data")
        shutil.copytree(locations.ROOT / name, tmp_path / "copy" / name, ignore=ignored)
    (tmp_path / "copy" / "tests").mkdir()
    for name in (".flake8", "pyproject.toml", "requirements.txt"):
        shutil.copy(locations.ROOT / name, tmp_path / "copy" / name)
    return tmp_path / "copy"


@pytest.mark.parametrize(
    ("file", "line", "problem"),
    [
        ("ml/cli.py", "def broken(:", "invalid syntax"),
        ("ml/errors.py", "if True", "expected ':'"),
        ("ml/project.py", "x = (", "'(' was never closed"),
        ("ml/stages/lint.py", "return 1", "'return' outside function"),
        ("ml/serving/app.py", "def broken(:", "invalid syntax"),
        ("ml/locations.py", "import no_such_module", "ModuleNotFoundError: No module named 'no_such_module'"),
        ("jenkins/client.py", "x = = 1", "invalid syntax"),
    ],
)
def test_code_that_is_no_python_is_told_once_with_file_and_line(
    copy: Path, file: str, line: str, problem: str
) -> None:
    lines = (copy / file).read_text(encoding="utf-8").count("\n") + 1
    with open(copy / file, "a", encoding="utf-8") as stream:
        stream.write(line + "\n")
    environment = os.environ | {"ML_OUTCOME": str(copy / "outcome.html"), "PYTHONPATH": str(copy)}
    environment.pop("PROJECT", None)
    command = [sys.executable, "-m", "ml", "lint"]
    done = subprocess.run(command, cwd=copy, env=environment, capture_output=True, text=True)
    assert done.returncode == 1
    errors = [one for one in done.stderr.splitlines() if one.startswith("error: ")]
    assert len(errors) == 1 and "Traceback" not in done.stderr, done.stderr
    assert f"{file}:{lines}: {problem}" in errors[0]
    assert (copy / "outcome.html").read_text() == html.escape(errors[0]) + "<br>\n"


@pytest.mark.parametrize(("project", "stops"), [("titanic", True), ("iris", False)])
def test_what_is_wrong_in_a_project_stops_that_one_alone(copy: Path, project: str, stops: bool) -> None:
    with open(copy / "ml" / "projects" / "titanic" / "features.py", "a", encoding="utf-8") as stream:
        stream.write("def broken(:\n")
    environment = os.environ | {"PYTHONPATH": str(copy), "PROJECT": project}
    command = [sys.executable, "-m", "ml", "lint", "--check", "syntax"]
    done = subprocess.run(command, cwd=copy, env=environment, capture_output=True, text=True)
    assert ("titanic/features.py" in done.stderr) == stops == bool(done.returncode), done.stderr


def test_only_the_check_that_was_asked_for_is_run(site: Site) -> None:
    assert site.ml("lint", "--check", "dependencies") == 0
    assert [folder.name for folder in (site.build / "lint").iterdir() if folder.is_dir()] == ["dependencies"]


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("pytest==0.1", "lock.txt:1: pytest 0.1 is locked, installed is"),
        ("no-such-package==1.0", "no-such-package 1.0 is locked, installed is none"),
        ("pytest>=1", "pytest is not pinned to one version"),
        ("-r other.txt", "'-r other.txt' is no requirement"),
        ("colorama==0.1 ; sys_platform == 'never'", ""),
        ("# a comment", ""),
    ],
)
def test_the_lock_is_compared_with_what_is_installed(
    site: Site, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, line: str, problem: str
) -> None:
    monkeypatch.setattr(locations, "LOCK_FILE", tmp_path / "lock.txt")
    (tmp_path / "lock.txt").write_text(line + "\n")
    assert site.ml("lint", "--check", "dependencies") == (1 if problem else 0)
    found = findings(site, "dependencies")
    assert bool(found) == bool(problem) and all(problem in one for one in found)
