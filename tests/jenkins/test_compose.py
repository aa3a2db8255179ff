"""The start in containers: what it asks Docker for, what it tells a newcomer, and what it keeps to itself."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from jenkins import compose
from ml.errors import MlError
from tests.jenkins.conftest import FAKE_JAVA, wait_for_json

DOCKER = """#!/bin/sh
echo "$*" >>"$(dirname "$0")/calls"
case "$*" in
    *ADMIN_PASSWORD) echo 0pen-sesame ;;
    *push-key) echo private ;;
    *GIT_HOST_KEY) echo ssh-ed25519 AAAA ;;
    *logs*) exit 3 ;;
esac
"""


@pytest.fixture
def docker(tmp_path: Path, free_port: int, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Put stand-ins for Docker and for the controller in place; return the file that notes the calls."""
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "docker").write_text(DOCKER)
    (tmp_path / "bin" / "docker").chmod(0o755)
    (tmp_path / "casc.yaml").touch()
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    monkeypatch.setattr(compose, "URL", f"http://127.0.0.1:{free_port}")
    monkeypatch.setattr(compose, "FOLDER", tmp_path / "jenkins")
    environment = os.environ | {"CASC_JENKINS_CONFIG": str(tmp_path / "casc.yaml")}
    controller = subprocess.Popen([FAKE_JAVA, f"--httpPort={free_port}"], cwd=tmp_path, env=environment)
    wait_for_json(tmp_path / "controller.json")
    yield tmp_path / "bin" / "calls"
    controller.terminate()
    controller.wait()


def test_up_starts_everything_and_says_how_to_use_it(
    docker: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    compose.up()
    called = [
        line.split("docker/compose.yaml ")[1] for line in docker.read_text().splitlines() if "--file" in line
    ]
    services = yaml.safe_load(compose.FILE.read_text(encoding="utf-8"))["services"]
    *built, started = called[: len(compose.BUILT) + 1]
    assert built == [f"build {name}" for name in compose.BUILT] and started == "up --detach"
    images = {one["image"] for one in services.values()}
    assert sorted(services[name]["image"] for name in compose.BUILT) == sorted(images), "each of them once"
    said = capsys.readouterr().out
    for told in (
        compose.URL,
        "cat /keys/controller/ADMIN_PASSWORD",
        "HEAD:main",
        "127.0.0.1:2222",
        "jenkins-down",
    ):
        assert told in said
    assert "0pen-sesame" not in said and "private" not in said
    key = compose.FOLDER / "push-key"
    assert (key.read_text(), key.stat().st_mode & 0o777) == ("private\n", 0o600)
    assert (compose.FOLDER / "known_hosts").read_text() == "[127.0.0.1]:2222 ssh-ed25519 AAAA\n"
    requests = (docker.parent.parent / "requests.log").read_text()
    assert "POST /configuration-as-code/reload abc True" in requests
    assert "POST /job/push/build abc True" in requests


def test_a_failure_is_one_line_and_no_docker_is_another(
    docker: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["compose", "logs"])
    assert compose.main() == 1
    assert capsys.readouterr().err.startswith("error: docker: logs failed")
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(MlError, match="neither `docker compose` nor `podman-compose`.*jenkins-local"):
        compose.up()
