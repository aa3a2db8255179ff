"""A file of a DVC repository at a revision, by the real program."""

import os
import shutil
import subprocess
from pathlib import Path

import pandas as pd
import pytest

from ml import locations
from ml.data.sources import dvc
from ml.data.sources.interface import Asked, SourceAway
from ml.errors import MlError
from ml.source_settings import DvcSource

needs_dvc = pytest.mark.skipif(locations.dvc() is None, reason="dvc is not installed")


def run(folder: Path, *command: str) -> None:
    author = {"GIT_AUTHOR_NAME": "a", "GIT_AUTHOR_EMAIL": "a@b", "GIT_COMMITTER_NAME": "a"}
    environment = os.environ | author | {"GIT_COMMITTER_EMAIL": "a@b", "DVC_NO_ANALYTICS": "1"}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """Return a repository with two versions of a table, whose contents lie in a remote."""
    folder, program = tmp_path / "repository", locations.dvc()
    assert program
    folder.mkdir()
    run(folder, "git", "init", "--quiet")
    run(folder, program, "init", "--quiet")
    run(folder, program, "remote", "add", "--default", "shelf", str(tmp_path / "shelf"))
    for number in (1, 2):
        pd.DataFrame({"code": ["007"] * number}).to_csv(folder / "rows.csv", index=False)
        run(folder, program, "add", "--quiet", "rows.csv")
        run(folder, program, "push", "--quiet")
        run(folder, "git", "add", ".")
        run(folder, "git", "commit", "--quiet", "--message", str(number))
        run(folder, "git", "tag", f"v{number}")
    shutil.rmtree(folder / ".dvc" / "cache")
    return folder


def read(folder: Path, name: str = "rows.csv", revision: str | None = None) -> pd.DataFrame:
    source = DvcSource(kind="dvc", labelled=name, repository="../repository", revision=revision)
    (folder / "project").mkdir(exist_ok=True)
    asked = Asked("p", folder / "project", folder, name, text_columns=("code",))
    return pd.concat(list(dvc.read(source, asked)))


@needs_dvc
@pytest.mark.slow
def test_each_revision_comes_back_and_one_that_is_lost_is_told(repository: Path, tmp_path: Path) -> None:
    assert read(tmp_path, revision="v1")["code"].tolist() == ["007"]
    assert read(tmp_path)["code"].tolist() == ["007", "007"]
    with pytest.raises(SourceAway, match="dvc: rows.csv at v9: "):
        read(tmp_path, revision="v9")
    with pytest.raises(SourceAway, match="dvc: other.csv at the newest revision: "):
        read(tmp_path, "other.csv")
    shutil.rmtree(tmp_path / "shelf")
    with pytest.raises(SourceAway, match="dvc: rows.csv at v1: "):
        read(tmp_path, revision="v1")


def test_a_missing_program_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(locations, "dvc", lambda: None)
    with pytest.raises(MlError, match="dvc is not installed: install it in an environment of its own"):
        read(tmp_path)


@pytest.mark.parametrize("revision", ["--out=/etc/passwd", "-x"])
def test_a_revision_is_no_option(revision: str) -> None:
    with pytest.raises(ValueError, match="revision"):
        DvcSource(kind="dvc", labelled="rows.csv", revision=revision)
