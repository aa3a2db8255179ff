"""A push builds what it touches: the projects whose folder or whose code it changes, and no other."""

import shutil
import subprocess
from pathlib import Path

import pytest

from ml import locations
from ml.cli import main
from ml.touched import touched_projects

BUILT_IN = ["flights", "iris", "temperature", "titanic"]


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a checkout of this repository with its own projects alone; it is the one worked in."""
    for name in ("ml", "tests/quality"):
        shutil.copytree(
            locations.ROOT / name,
            tmp_path / name,
            ignore=shutil.ignore_patterns("__pycache__", "*.csv", "*.sqlite"),
        )
    for folder in (tmp_path / "ml" / "projects").iterdir():
        if folder.is_dir() and folder.name not in BUILT_IN:  # a fork has more
            shutil.rmtree(folder)
    for name in ("requirements.txt", "Jenkinsfile", "Makefile", "README.md"):
        shutil.copy(locations.ROOT / name, tmp_path / name)
    monkeypatch.setattr(locations, "ROOT", tmp_path)
    monkeypatch.setattr(locations, "LOCK_FILE", tmp_path / "requirements.txt")
    git(tmp_path, "init", "--quiet")
    commit(tmp_path)
    return tmp_path


def git(folder: Path, *arguments: str) -> str:
    someone = ["-c", "user.name=tester", "-c", "user.email=tester@localhost"]
    done = subprocess.run(
        ["git", *someone, *arguments], cwd=folder, check=True, capture_output=True, text=True
    )
    return done.stdout.strip()


def commit(folder: Path) -> str:
    git(folder, "add", "--all", "--force")
    git(folder, "commit", "--quiet", "--allow-empty", "--message", "change")
    return git(folder, "rev-parse", "HEAD")


def touched(since: str) -> list[str]:
    return [project.name for project in touched_projects(since)]


@pytest.mark.parametrize(
    ("file", "projects"),
    [
        ("ml/projects/titanic/features.py", ["titanic"]),
        ("ml/projects/temperature/notes/a new file.md", ["temperature"]),
        ("README.md", []),
        ("ml/projects/README.md", []),
        ("ml/show.py", []),
        ("ml/data/split.py", BUILT_IN),
        ("ml/serving/workers.py", BUILT_IN),
        ("tests/quality/test_score.py", BUILT_IN),
        ("ml/quality/report.css", BUILT_IN),
        ("requirements.txt", BUILT_IN),
        ("Jenkinsfile", BUILT_IN),
    ],
)
def test_a_change_touches_those_that_use_the_file(checkout: Path, file: str, projects: list[str]) -> None:
    before = git(checkout, "rev-parse", "HEAD")
    (checkout / file).parent.mkdir(exist_ok=True)
    with open(checkout / file, "a", encoding="utf-8") as stream:
        stream.write("\n")
    commit(checkout)
    assert touched(before) == projects


def test_a_file_that_is_moved_touches_both_projects(checkout: Path) -> None:
    before = git(checkout, "rev-parse", "HEAD")
    folder = checkout / "ml" / "projects"
    (folder / "titanic" / "features.py").rename(folder / "temperature" / "features.py")
    commit(checkout)
    assert touched(before) == ["temperature", "titanic"]


@pytest.mark.parametrize("since", ["", "0" * 40, "--output=pwned", "nowhere"])
def test_after_a_commit_that_git_does_not_know_all_are_touched(checkout: Path, since: str) -> None:
    assert touched(since) == BUILT_IN
    assert not (checkout / "pwned").exists()


def test_the_command_lists_them(checkout: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["projects", "--since", git(checkout, "rev-parse", "HEAD")]) == 0
    assert capsys.readouterr().out == ""
    assert main(["projects", "--since", ""]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[:2] for line in lines] == [[name, "production,staging"] for name in BUILT_IN]


def test_a_channel_says_whether_it_wants_an_approval(
    checkout: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = checkout / "ml" / "projects" / "titanic" / "project.toml"
    text = file.read_text(encoding="utf-8")
    file.write_text(text.replace("staging = 8001", "staging = { port = 8001, approval = true }"), "utf-8")
    assert main(["approval", "--project", "titanic"]) == 0
    assert main(["approval", "--project", "titanic", "--channel", "staging"]) == 0
    assert capsys.readouterr().out.split() == ["no", "yes"]
    assert main(["approval", "--project", "titanic", "--channel", "nowhere"]) == 1
