"""Data builds are kept and come back, from the registry or from a DVC remote."""

import os
import shutil
from pathlib import Path

import pandas as pd
import pytest

from ml import locations
from ml.files import read_json
from ml.records import DataManifest, parse
from tests.conftest import Site
from tests.support import ErrorOf

needs_dvc = pytest.mark.skipif(locations.dvc() is None, reason="dvc is not installed")
SPLIT = "[split]\n"


def two_versions(site: Site, versions: str) -> list[str]:
    """Build the data of all passengers, then of all but ten; return the hashes."""
    site.edit("project.toml", SPLIT, f"[versions]\n{versions}\n{SPLIT}")
    file = site.project / "data" / "train.csv"
    table = pd.read_csv(file)
    found = []
    for rows in (table, table.iloc[10:]):
        rows.to_csv(file, index=False)
        assert site.ml("data") == 0
        found.append(version(site))
    return found


def version(site: Site) -> str:
    return parse(DataManifest, read_json(site.build / "data" / "manifest.json"), "").version


@pytest.mark.slow
def test_what_is_kept_comes_back_and_is_learned_from(
    site: Site, capsys: pytest.CaptureFixture[str], error_of: ErrorOf
) -> None:
    first, second = two_versions(site, "keep = true")
    assert first != second
    assert site.ml("data", "--version", first[:8]) == 0
    assert version(site) == first and "data version " + first[:16] in capsys.readouterr().out
    assert len(pd.read_parquet(site.build / "data" / "train.parquet")) == 623
    assert site.ml("train") == 0
    assert site.ml("data", "--version", "0" * 8) == 1
    assert f"kept are {', '.join(sorted([first[:16], second[:16]]))}" in error_of()
    assert site.ml("data", "--version", "../../x") == 2
    assert "name 6 signs of a data version's hash" in error_of()
    kept = locations.registry() / "small" / "data" / second[:16] / "train.parquet"
    kept.write_bytes(kept.read_bytes()[:-1])
    before = version(site)
    assert site.ml("data", "--version", second) == 1
    assert "train.parquet is missing or was altered since it was kept" in error_of()
    assert version(site) == before, "what was there is whole"


@needs_dvc
@pytest.mark.slow
def test_versions_in_dvc_come_back_on_another_machine_until_the_remote_loses_them(
    site: Site, tmp_path: Path, error_of: ErrorOf
) -> None:
    first, second = two_versions(site, f'dvc = "{tmp_path / "remote"}"')
    assert not list((locations.registry() / "small" / "data").glob("*/"))
    shutil.rmtree(locations.home() / "dvc")  # as on another machine
    assert site.ml("data", "--version", first) == 0
    assert version(site) == first
    shutil.rmtree(locations.home() / "dvc")
    shutil.rmtree(tmp_path / "remote")
    assert site.ml("data", "--version", second) == 1
    assert f"data version {second[:16]}: {tmp_path / 'remote'} has lost it: dvc pull" in error_of()
    assert version(site) == first


@pytest.mark.slow
@needs_dvc
def test_what_dvc_itself_says_is_told(site: Site, error_of: ErrorOf) -> None:
    site.edit("project.toml", SPLIT, f'[versions]\ndvc = "azure://shelf/rows"\n{SPLIT}')
    assert site.ml("data") == 1
    assert "azure" in (told := error_of()) and "dvc-azure" in told


def test_a_missing_program_is_told(site: Site, monkeypatch: pytest.MonkeyPatch, error_of: ErrorOf) -> None:
    monkeypatch.setenv("PATH", os.path.dirname(shutil.which("git") or ""))
    monkeypatch.setattr(locations, "dvc", lambda: None)
    site.edit("project.toml", SPLIT, f'[versions]\ndvc = "s3://bucket/rows"\n{SPLIT}')
    assert site.ml("data") == 1
    assert "dvc is not installed" in error_of()
