"""Backups: what is in them, what is refused, and that nothing is changed then."""

import io
import os
import shutil
import sqlite3
import tarfile
import threading
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from ml import locations
from ml.files import digests
from ml.registry.versions import Registry
from ml.store.database import open_store
from ml.store.history import note_build
from ml.store.tables import builds
from ml.upkeep.archive import new_archive
from tests.conftest import Site
from tests.support import ErrorOf, register


@pytest.fixture
def kept(built: Site) -> Site:
    """Return a site with a version that a channel points to, and a store with one build."""
    registry = Registry("small")
    registry.move("production", register(built), "deploy")
    note_build("small", "production", "quality", "blessed")
    return built


def empty_host(site: Site, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Point the environment to a home where nothing is."""
    home = site.root / "other"
    monkeypatch.setenv("ML_HOME", str(home))
    return home


def contents(folder: Path) -> dict[str, str]:
    return {name: one for name, one in digests(folder).items() if not Path(name).name.startswith(".")}


def test_what_was_backed_up_comes_back_on_an_empty_host(
    kept: Site, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file, keys = kept.root / "b.tar.gz", kept.root / "keys.tar.gz"
    assert kept.ml("backup", str(file), "--keys", str(keys)) == 0
    assert all(one.stat().st_mode & 0o077 == 0 for one in (file, keys)), "its owner's alone"
    with tarfile.open(file) as tar:
        assert not [name for name in tar.getnames() if "key" in name or name.endswith(".pem")]
    before, before_keys = contents(locations.registry()), contents(locations.home() / "keys")
    home = empty_host(kept, monkeypatch)
    assert kept.ml("restore", str(file), "--keys", str(keys)) == 0
    assert "1 stores are in place" in capsys.readouterr().out
    assert contents(home / "registry") == before
    assert contents(home / "keys") == before_keys
    Registry("small").read(1)
    assert Registry("small").channel("production").version == 1
    with closing(sqlite3.connect(home / "predictions" / "small-production.sqlite")) as store:
        assert ("blessed",) in store.execute("SELECT outcome FROM builds").fetchall()
    assert not list(home.glob(".restore-*"))


@pytest.mark.parametrize("share", [0.0, 0.3, 0.7, 0.99])
def test_a_backup_that_was_cut_off_is_refused(
    kept: Site, monkeypatch: pytest.MonkeyPatch, error_of: ErrorOf, share: float
) -> None:
    file = kept.root / "b.tar.gz"
    kept.ml("backup", str(file))
    file.write_bytes(file.read_bytes()[: int(file.stat().st_size * share)])
    home = empty_host(kept, monkeypatch)
    assert kept.ml("restore", str(file)) == 1
    assert "is damaged" in (told := error_of()) or "no whole backup" in told
    assert contents(home) == {}


def test_a_backup_with_another_byte_is_refused(
    kept: Site, monkeypatch: pytest.MonkeyPatch, error_of: ErrorOf
) -> None:
    file, aside = kept.root / "b.tar.gz", kept.root / "aside"
    kept.ml("backup", str(file))
    with tarfile.open(file) as tar:
        tar.extractall(aside, filter="data")
    model = aside / "registry" / "small" / "versions" / "1" / "model" / "model.pkl"
    model.write_bytes(model.read_bytes()[:-1] + b"!")
    with tarfile.open(file, "w:gz") as tar:
        for one in sorted(path for path in aside.rglob("*") if path.is_file()):
            tar.add(one, one.relative_to(aside))
    home = empty_host(kept, monkeypatch)
    assert kept.ml("restore", str(file)) == 1
    assert "versions/1/model/model.pkl is not what was backed up" in error_of()
    assert contents(home) == {}


@pytest.mark.parametrize("name", ["../outside", "/tmp/outside", "registry/../../outside", "other/file"])
def test_a_file_that_leads_elsewhere_is_refused(
    kept: Site, monkeypatch: pytest.MonkeyPatch, error_of: ErrorOf, name: str
) -> None:
    file = kept.root / "b.tar.gz"
    with new_archive(file, "registry and stores") as archive:
        archive.add_bytes(name, b"x")
    home = empty_host(kept, monkeypatch)
    assert kept.ml("restore", str(file)) == 1
    assert "no backup writes" in error_of()
    assert contents(home) == {} and not list(kept.root.glob("**/outside"))


@pytest.mark.parametrize(
    ("names", "odd"),
    [
        (["registry/a", "registry/a"], "registry/a"),
        (["registry/a", "registry/a/b"], "registry/a/b"),
        (["registry/a/b", "registry/a"], "registry/a"),
        ([f"registry/{'n' * 300}"], "registry/nnn"),
    ],
)
def test_names_that_do_not_fit_together_are_refused(
    kept: Site, monkeypatch: pytest.MonkeyPatch, error_of: ErrorOf, names: list[str], odd: str
) -> None:
    file = kept.root / "b.tar.gz"
    with tarfile.open(file, "w:gz") as tar:
        for name in names:
            tar.addfile(tarfile.TarInfo(name))
    empty_host(kept, monkeypatch)
    assert kept.ml("restore", str(file)) == 1
    told = error_of()
    assert f"{file}: holds '{odd}" in told and "no backup writes" in told


@pytest.mark.parametrize(
    ("manifest", "told"),
    [
        ('{"format": 1, "kind": "registry and stores", "files": null}', "is no whole backup"),
        ('{"format": 2, "files": {}}', "is of format 2, this code reads format 1"),
    ],
)
def test_a_manifest_that_is_none_or_of_other_code_is_told(
    kept: Site, monkeypatch: pytest.MonkeyPatch, error_of: ErrorOf, manifest: str, told: str
) -> None:
    file = kept.root / "b.tar.gz"
    with tarfile.open(file, "w:gz") as tar:
        about = tarfile.TarInfo("manifest.json")
        about.size = len(manifest)
        tar.addfile(about, io.BytesIO(manifest.encode()))
    empty_host(kept, monkeypatch)
    assert kept.ml("restore", str(file)) == 1
    assert told in error_of()


def test_a_link_is_refused(kept: Site, monkeypatch: pytest.MonkeyPatch, error_of: ErrorOf) -> None:
    file = kept.root / "b.tar.gz"
    with tarfile.open(file, "w:gz") as tar:
        link = tarfile.TarInfo("registry/small")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc"
        tar.addfile(link)
    empty_host(kept, monkeypatch)
    assert kept.ml("restore", str(file)) == 1
    assert "holds 'registry/small', which no backup writes" in error_of()


def test_what_is_there_is_not_written_over(
    kept: Site, monkeypatch: pytest.MonkeyPatch, error_of: ErrorOf
) -> None:
    file, keys = kept.root / "b.tar.gz", kept.root / "keys.tar.gz"
    kept.ml("backup", str(file), "--keys", str(keys))
    before = contents(kept.root / "home")
    assert kept.ml("restore", str(file)) == 1
    assert "registry is not empty" in error_of()
    shutil.rmtree(locations.registry())
    assert kept.ml("restore", str(file)) == 1
    assert "small-production.sqlite is there already" in error_of()
    shutil.rmtree(locations.store_folder())
    assert kept.ml("restore", str(file), "--keys", str(keys)) == 1
    assert "keys are restored where there are none" in error_of()
    assert kept.ml("restore", str(file)) == 0
    assert contents(kept.root / "home").keys() == before.keys()
    assert kept.ml("restore", str(keys)) == 1
    assert "is a backup of keys, not of registry and stores" in error_of()


def test_a_missing_file_and_a_home_without_a_registry_are_named(site: Site, error_of: ErrorOf) -> None:
    assert site.ml("restore", str(site.root / "none.tar.gz")) == 1
    assert "none.tar.gz is missing" in error_of()
    assert site.ml("backup", str(site.root / "b.tar.gz")) == 1
    assert "nothing was ever deployed here" in error_of()
    assert not list(site.root.glob("*b.tar.gz*"))


@pytest.mark.parametrize("name", ["", "."])
def test_a_backup_needs_the_name_of_a_file(site: Site, capsys: pytest.CaptureFixture[str], name: str) -> None:
    with pytest.raises(SystemExit) as ended:
        site.ml("backup", name)
    assert ended.value.code == 2
    assert f"'{name}' is not the name of a file like backup.tar.gz" in capsys.readouterr().err


def test_a_standby_keeps_up_and_another_history_is_refused(
    kept: Site, monkeypatch: pytest.MonkeyPatch, error_of: ErrorOf
) -> None:
    first, second = kept.root / "1.tar.gz", kept.root / "2.tar.gz"
    kept.ml("backup", str(first), "--keys", str(kept.root / "keys.tar.gz"))
    registry = Registry("small")
    registry.move("production", register(kept, "b"), "deploy")
    kept.ml("backup", str(second))
    home = empty_host(kept, monkeypatch)
    assert kept.ml("restore", str(first), "--keys", str(kept.root / "keys.tar.gz")) == 0
    assert Registry("small").channel("production").version == 1
    assert kept.ml("restore", str(second), "--registry") == 0
    assert Registry("small").channel("production").version == 2
    before = contents(home / "registry")
    assert kept.ml("restore", str(second), "--registry") == 0, "there is nothing to add"
    assert kept.ml("restore", str(first), "--registry") == 1
    assert "this registry went another way" in error_of()
    Registry("small").move("production", 1, "rollback")
    Registry("small").move("production", 2, "rollback")
    assert kept.ml("restore", str(second), "--registry") == 1
    assert "channels/production.json is neither as in the backup nor older" in error_of()
    assert contents(home / "registry").keys() == before.keys()


def test_a_backup_is_of_one_moment_though_builds_and_services_go_on(
    kept: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    stop, numbers = threading.Event(), iter(range(1000))

    def go_on() -> None:
        while not stop.is_set():
            Registry("small").move("production", register(kept, f"v{next(numbers)}"), "deploy")
            note_build("small", "production", "quality", "blessed")

    worker = threading.Thread(target=go_on)
    worker.start()
    files = [kept.root / f"{number}.tar.gz" for number in range(5)]
    try:
        assert [kept.ml("backup", str(file)) for file in files] == [0] * 5
    finally:
        stop.set()
        worker.join()
    monkeypatch.setenv("ML_VERIFY_KEY", str(locations.verify_key()))
    for number, file in enumerate(files):
        monkeypatch.setenv("ML_HOME", str(kept.root / f"host{number}"))
        assert kept.ml("restore", str(file)) == 0
        pointed = Registry("small").channel("production").version
        assert pointed and Registry("small").read(pointed).version == pointed
        with closing(
            sqlite3.connect(kept.root / f"host{number}/predictions/small-production.sqlite")
        ) as store:
            assert store.execute("PRAGMA integrity_check").fetchone() == ("ok",)


def test_what_is_under_way_in_the_registry_is_not_entered(
    kept: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    under_way = locations.registry() / "small" / "versions" / ".incoming-1"
    under_way.mkdir()
    scandir = os.scandir

    def look(folder: Any) -> Any:
        if str(folder) == str(under_way):
            raise FileNotFoundError(2, "No such file or directory", str(folder))  # as when a build just ended
        return scandir(folder)

    monkeypatch.setattr(os, "scandir", look)
    assert kept.ml("backup", str(kept.root / "b.tar.gz")) == 0


def test_a_store_in_a_server_or_a_file_of_its_own_comes_back(
    kept: Site,
    store_url: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    error_of: ErrorOf,
    request: pytest.FixtureRequest,
) -> None:
    file = kept.root / "b.tar.gz"
    monkeypatch.setenv("ML_STORE", store_url)
    note_build("small", "production", "quality", "blessed")
    assert kept.ml("backup", str(file)) == 0
    empty_host(kept, monkeypatch)
    if store_url.startswith("sqlite"):
        other = f"sqlite:///{tmp_path / 'elsewhere' / 'store.sqlite'}"
    else:
        keys = kept.root / "keys.tar.gz"
        with new_archive(keys, "keys") as archive:
            archive.add_bytes("signing.pem", b"")
        assert kept.ml("restore", str(file), "--keys", str(keys)) == 1
        assert "pg_restore: " in error_of(), "the tables are there already"
        left = [one for place in ("keys", "registry") for one in (locations.home() / place).glob("*")]
        assert left == [], "nothing was changed"
        other = request.getfixturevalue("postgres").new_database()
    monkeypatch.setenv("ML_STORE", other)
    assert kept.ml("restore", str(file)) == 0
    engine = open_store(other)
    with engine.connect() as connection:
        assert connection.execute(select(builds.c.outcome)).scalars().all() == ["blessed"]
    engine.dispose()
