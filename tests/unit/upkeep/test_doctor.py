"""The look at a machine: what it warns of, what it refuses, and what could go."""

import hashlib
import json
import os
import shutil
import socket
import subprocess
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from ml import locations
from ml.registry.versions import Registry
from ml.upkeep import host, prune, reach
from tests.conftest import Site
from tests.support import ErrorOf, register


def line(site: Site, capsys: pytest.CaptureFixture[str], topic: str, *options: str, code: int = 0) -> str:
    """Return what the doctor says of a topic, its outcome first."""
    assert site.ml("doctor", *options) == code
    (found,) = [one for one in capsys.readouterr().out.splitlines() if one.split()[1:2] == [topic]][:1]
    return " ".join(found.split())


def test_a_healthy_machine_has_a_line_for_each_thing(site: Site, capsys: pytest.CaptureFixture[str]) -> None:
    assert site.ml("doctor", "--source") == 0
    found = [line.split()[:2] for line in capsys.readouterr().out.splitlines() if line.strip()]
    assert {topic for _, topic in found} >= {
        "disk",
        "largest",
        "logs",
        "memory",
        "port",
        "clock",
        "keys",
        "packages",
        "registry",
        "store",
        "source",
    }
    assert "refused" not in {outcome for outcome, _ in found}


def test_a_build_that_would_fill_the_disk_is_refused(
    site: Site, monkeypatch: pytest.MonkeyPatch, error_of: ErrorOf
) -> None:
    free = SimpleNamespace(free=1_000_000_000, total=10**12)
    monkeypatch.setattr(host.psutil, "disk_usage", lambda _: free)
    assert site.ml("doctor") == 0, "a first build is small"
    site.build.mkdir(parents=True)
    with open(site.build / "large", "wb") as file:
        file.truncate(300_000_000)
    assert site.ml("doctor") == 1
    told = error_of()
    assert "a build needs 1.1 GB" in told and "doctor --prune" in told


def test_a_disk_without_room_for_files_is_refused(
    site: Site, monkeypatch: pytest.MonkeyPatch, error_of: ErrorOf
) -> None:
    monkeypatch.setattr(host.psutil, "disk_usage", lambda _: SimpleNamespace(free=10**12, total=10**12))
    monkeypatch.setattr(host.os, "statvfs", lambda _: SimpleNamespace(f_favail=10, f_files=10**6))
    assert site.ml("doctor") == 1
    assert "has room for 10 more files only" in error_of()


def test_an_agent_that_only_reads_the_registry_is_fit(
    site: Site, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    registry = site.root / "registry"
    registry.mkdir()
    monkeypatch.setenv("ML_REGISTRY", str(registry))
    may = os.access
    denied = os.W_OK

    def access(place: Path, how: int) -> bool:
        return may(place, how) and not (Path(place) == registry and how & denied)

    monkeypatch.setattr(reach.os, "access", access)
    assert "to read only: nothing is deployed from here" in line(site, capsys, "registry")
    assert "to read only here" in line(site, capsys, "clock")
    denied = os.R_OK
    assert line(site, capsys, "registry", code=1).startswith("refused registry")


def test_a_disk_that_fills_is_told_with_the_days_that_are_left(
    site: Site, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    home = locations.home()
    (home / "registry").mkdir(parents=True)
    with open(home / "registry" / "large", "wb") as file:
        file.truncate(2_000_000_000)
    notes = home / "doctor.jsonl"
    notes.write_text(json.dumps({"at": time.time() - 10 * 86400, "used": 0, "logs": 0}) + "\n")
    monkeypatch.setattr(
        host.psutil, "disk_usage", lambda _: SimpleNamespace(free=1_400_000_000, total=10**12)
    )
    assert line(site, capsys, "growth") == "warning growth the disk lasts 7 days as it fills now"
    assert "registry 2.0 GB" in line(site, capsys, "largest")
    assert len(notes.read_text().splitlines()) == 2, "noted once an hour"
    notes.write_text("nonsense\n")
    assert site.ml("doctor") == 0


def test_a_log_that_grew_too_large_is_told(site: Site, capsys: pytest.CaptureFixture[str]) -> None:
    folder = locations.home() / "services"
    folder.mkdir(parents=True)
    with open(folder / "small-production.log", "wb") as file:
        file.truncate(1_100_000_000)
    assert line(site, capsys, "logs") == "warning logs 1.1 GB in 1 logs of services: restart or rotate"


def test_who_holds_our_port_is_named(site: Site, capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        site.edit("project.toml", "production = 8000", f"production = {port}")
        told = line(site, capsys, "port")
    assert told.startswith(f"warning port {port} (production): held by")
    assert f"process {os.getpid()}" in told


def test_keys_that_others_read_or_that_are_missing_are_told(
    built: Site, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], error_of: ErrorOf
) -> None:
    key = next(locations.build_keys().glob("*.pem"))
    key.chmod(0o644)
    assert f"chmod 600 {key}" in line(built, capsys, "keys")
    monkeypatch.setenv("ML_VERIFY_KEY", str(built.root / "none.pem"))
    assert built.ml("doctor") == 1
    assert "none.pem is missing: ML_VERIFY_KEY names it" in error_of()


def test_a_registry_without_the_key_that_it_is_read_by_is_refused(
    built: Site, capsys: pytest.CaptureFixture[str]
) -> None:
    register(built)
    locations.verify_key().unlink()
    assert built.ml("doctor") == 1
    assert "by which versions are read: bring it back (`restore --keys`)" in capsys.readouterr().out


def test_packages_that_differ_from_the_lock_are_refused(
    site: Site, monkeypatch: pytest.MonkeyPatch, error_of: ErrorOf
) -> None:
    monkeypatch.setattr(reach, "unlocked", lambda: ["requirements.txt:3: x 1 is locked, installed is 2"])
    assert site.ml("doctor") == 1
    assert "x 1 is locked, installed is 2 (1 in all): make install" in error_of()


def test_what_is_away_is_a_warning(
    site: Site, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], free_port: int
) -> None:
    monkeypatch.setenv("ML_STORE", "postgresql+psycopg://nobody:secret@127.0.0.1:1/none")
    monkeypatch.setenv("ML_SERVICES", f"small/production=http://127.0.0.1:{free_port}")
    monkeypatch.setenv("JENKINS_URL", f"http://127.0.0.1:{free_port}/")
    assert site.ml("doctor") == 0
    said = capsys.readouterr().out
    for topic in ("store", "service", "jenkins"):
        assert f"warning  {topic}" in said
    assert "secret" not in said


def test_a_clock_that_is_another_than_that_of_the_registry_is_told(
    site: Site, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    right = time.time
    monkeypatch.setattr(host.time, "time", lambda: right() + 60)
    assert "60 s from that of" in line(site, capsys, "clock")


@pytest.fixture
def many(built: Site, monkeypatch: pytest.MonkeyPatch) -> Site:
    """Return a site with five versions, of which two are kept for being new; the second answers."""
    monkeypatch.setattr(prune, "KEPT_VERSIONS", 2)
    registry = Registry("small")
    for number in range(5):
        version = register(built, str(number))
        if number < 2:
            registry.move("production", version, "deploy")
    return built


def test_what_could_go_is_told_first_and_taken_away_if_asked(
    many: Site, capsys: pytest.CaptureFixture[str]
) -> None:
    old = locations.downloads() / "old.csv"
    old.parent.mkdir(parents=True)
    old.write_text("x")
    os.utime(old, (1, 1))
    (old.parent / "new.csv").write_text("x")
    assert many.ml("doctor", "--prune") == 0
    said = capsys.readouterr().out
    assert "2 could go" in said and "versions/3" in said and "downloaded more than a month ago" in said
    assert Registry("small").versions() == [1, 2, 3, 4, 5]
    assert many.ml("doctor", "--prune", "--yes") == 0
    assert "MB are free again" in capsys.readouterr().out
    assert Registry("small").versions() == [1, 2, 4, 5], "those a channel points or returns to stay"
    assert [file.name for file in old.parent.iterdir()] == ["new.csv"]
    assert many.ml("rollback") == 0
    assert register(many, "next") == 6
    assert many.ml("doctor", "--prune") == 0


def test_a_version_that_a_channel_was_pointed_to_meanwhile_stays(many: Site) -> None:
    found = prune.removable(many.root / "build")
    assert [one.path.name for one in found] == ["3"]
    Registry("small").move("production", 3, "rollback")
    assert prune.remove(found) == 0
    assert 3 in Registry("small").versions()


def test_a_registry_that_cannot_be_read_loses_nothing(many: Site, error_of: ErrorOf) -> None:
    pointer = locations.registry() / "small" / "channels" / "production.json"
    pointer.write_text(pointer.read_text().replace('"version": 2', '"version": 4', 1))
    assert many.ml("doctor", "--prune", "--yes") == 1
    assert "is not signed by the release key" in error_of()
    assert Registry("small").versions() == [1, 2, 3, 4, 5]


def test_data_of_no_version_that_stays_could_go(many: Site) -> None:
    shelf = locations.registry() / "small" / "data"
    kept = Registry("small").data_manifest(5).version[:16]
    for name in (kept, "0" * 16, "1" * 16):
        (shelf / name).mkdir(parents=True)
        days = 0 if name == "1" * 16 else 2
        os.utime(shelf / name, (time.time() - days * 86400,) * 2)
    assert {one.path.name for one in prune.removable(many.root / "build")} == {"3", "0" * 16}
    shutil.rmtree(shelf)


def test_environments_of_earlier_locks_could_go_unless_something_runs_in_them(site: Site) -> None:
    venvs = site.root / "home" / "venvs"
    lock = hashlib.sha256(locations.LOCK_FILE.read_bytes()).hexdigest()
    for name in (lock, "a" * 64, "b" * 64, "c" * 64):
        (venvs / name / "bin").mkdir(parents=True)
        if name != "c" * 64:
            os.utime(venvs / name, (1, 1))
    program = venvs / ("a" * 64) / "bin" / "sleep"
    program.symlink_to(str(shutil.which("sleep")))
    with subprocess.Popen([program, "60"]) as running:
        found = [one.path for one in prune.removable(site.root / "build")]
        running.kill()
    assert found == [venvs / ("b" * 64)], "not that of today, nor one that is used, nor a new one"


def test_the_size_of_a_folder_leaves_out_what_goes_meanwhile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a").write_bytes(b"12345")
    (tmp_path / "b").symlink_to(tmp_path / "none")
    assert host.size_of(tmp_path) >= 5
    monkeypatch.setattr(host.os, "lstat", lambda _: (_ for _ in ()).throw(FileNotFoundError()))
    assert host.size_of(tmp_path) == 0
