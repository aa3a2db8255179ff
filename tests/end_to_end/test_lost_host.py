"""A host is lost: another serves the same version from the backup, and a standby kept up all the time."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from ml import locations
from ml.delivery.waiting import wait_for_version
from ml.files import read_json
from ml.registry.versions import Registry
from ml.serving import service
from tests.conftest import Site
from tests.support import build_another_model

pytestmark = pytest.mark.slow


def make(target: str, **variables: str) -> None:
    """Run a target of the Makefile as a person does, with the environment of this test."""
    command = [
        "make",
        "--no-print-directory",
        target,
        *(f"{name}={value}" for name, value in variables.items()),
    ]
    command += [f"PYTHON={sys.executable}", "INSTALLED="]
    done = subprocess.run(command, cwd=locations.ROOT, env=os.environ, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def answers(channel: str = "production") -> tuple[int, object]:
    """Return the version that answers on this host, and what it says of the golden rows."""
    running = service.find("small", channel)
    assert running
    golden = read_json(Registry("small").folder(1) / "model" / "golden.json")
    answer = running.predict(golden["rows"])
    return answer["version"], answer["predictions"]


def test_another_host_serves_the_same_and_a_standby_follows(
    served: Site, free_port: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert served.ml("deploy", "--port", str(free_port)) == 0
    first = answers()
    made = {"BACKUP": str(tmp_path / "ml.tar.gz"), "KEYS": str(tmp_path / "keys.tar.gz")}
    make("backup", **made)
    build_another_model(served)
    assert served.ml("deploy") == 0
    second = answers()
    make("backup", BACKUP=str(tmp_path / "later.tar.gz"))
    assert service.stop("small", "production")

    monkeypatch.setenv("ML_HOME", str(tmp_path / "standby"))
    make("restore", **made)
    running = service.start("small", "production", free_port)
    try:
        assert answers() == first
        assert served.ml("restore", str(tmp_path / "later.tar.gz"), "--registry") == 0
        wait_for_version(running, 2, seconds=10)
        assert answers() == second
    finally:
        service.stop("small", "production")
