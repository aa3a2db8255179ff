"""The download, and the snapshot when there is none."""

import shutil
import time
from pathlib import Path

import pytest

from ml.data import sources
from ml.data.sources import catboost_dataset
from ml.errors import MlError
from ml.project import Project, find_project
from tests.conftest import Site

DOWNLOADED = """
import shutil, sys
for name, file in (("train", "labelled"), ("test", "unlabelled")):
    shutil.copy(f"@FOLDER@/data/{name}.csv", f"{file}.csv")
"""


@pytest.fixture
def project(site: Site) -> Project:
    shutil.copy(find_project("titanic").folder / "project.toml", site.project / "project.toml")
    return find_project("small")


def test_the_snapshot_is_used_when_the_download_fails(
    project: Project, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(catboost_dataset, "DOWNLOAD", "raise RuntimeError('no network')")
    tables = sources.fetch(project, sources.whole)
    assert (len(tables.labelled), len(tables.unlabelled)) == (891, 418)  # type: ignore[arg-type]
    assert tables.origin == "snapshot: data/train.csv"
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 1 and "the download failed" in said[0] and "snapshot" in said[0]


def test_a_download_that_hangs_is_given_up(
    project: Project, site: Site, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    site.edit("project.toml", "timeout_seconds = 10 ", "timeout_seconds = 0.5 ")
    monkeypatch.setattr(catboost_dataset, "DOWNLOAD", "import time; time.sleep(60)")
    start = time.monotonic()
    assert sources.fetch(find_project("small"), sources.whole).origin.startswith("snapshot")
    assert time.monotonic() - start < 30
    assert "no answer within 0.5 s" in capsys.readouterr().err


def test_a_download_that_works_is_used_and_is_the_same_table(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(catboost_dataset, "DOWNLOAD", DOWNLOADED.replace("@FOLDER@", str(project.folder)))
    tables = sources.fetch(project, sources.whole)
    assert tables.origin == "catboost.datasets.titanic()"
    monkeypatch.setattr(catboost_dataset, "DOWNLOAD", "raise RuntimeError('no network')")
    assert tables.labelled.equals(sources.fetch(project, sources.whole).labelled)


def test_a_snapshot_that_was_changed_is_refused(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(catboost_dataset, "DOWNLOAD", "raise RuntimeError('no network')")
    file: Path = project.folder / "data" / "train.csv"
    file.write_bytes(file.read_bytes().replace(b"Braund", b"Brown"))
    with pytest.raises(MlError, match=r"train.csv was changed: its sha256 is"):
        sources.fetch(project, sources.whole)


def test_a_snapshot_without_sha256_is_refused(project: Project, site: Site) -> None:
    site.edit(
        "project.toml", 'unlabelled = "56023b9948236f3c7a1c9448fcf418b283e109ef177fa8c7e069158dd7dd52b2"', ""
    )
    with pytest.raises(MlError, match=r"sha256 must name"):
        find_project("small")
