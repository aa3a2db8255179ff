"""Images, compose file and scripts are checked by the tools of the trade; nginx runs with our file."""

import http.server
import json
import re
import shutil
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from ml import locations
from tests.conftest import tool
from tests.jenkins.conftest import tracked_files
from tests.load.servers import start_nginx
from tests.support import answering

DOCKER = locations.ROOT / "docker"
COMPOSE = DOCKER / "compose.yaml"


def services() -> dict[str, Any]:
    content: dict[str, Any] = yaml.safe_load(COMPOSE.read_text(encoding="utf-8"))["services"]
    return content


@pytest.mark.skipif(not tool("hadolint"), reason="hadolint is not installed (`make test` installs it)")
def test_hadolint_finds_nothing() -> None:
    files = [name for name in tracked_files() if Path(name).name.endswith("Dockerfile")]
    assert files == ["docker/Dockerfile"]
    done = subprocess.run(
        [tool("hadolint") or "", *files], cwd=locations.ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.skipif(not tool("shellcheck"), reason="shellcheck is not installed (`make test` installs it)")
def test_shellcheck_finds_nothing() -> None:
    shebang = re.compile(r"#!.*\b(sh|bash)\n")
    scripts = [
        name
        for name in tracked_files()
        if (locations.ROOT / name).is_file()
        and shebang.match((locations.ROOT / name).read_bytes()[:80].decode("latin-1"))
    ]
    assert {
        ".ci/run",
        "ml/delivery/targets/remote_host.sh",
        "jenkins/post-receive",
        "docker/add-packages",
        "docker/agent",
        "docker/front",
        "docker/git-server",
        "docker/ssh-server",
    } <= set(scripts)
    done = subprocess.run(
        [tool("shellcheck") or "", *scripts], cwd=locations.ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_compose_file_keeps_to_the_specification() -> None:
    compose_spec = pytest.importorskip(
        "compose_spec", reason="compose-spec is not installed (`make test` installs it)"
    )
    expanded = yaml.safe_dump(yaml.safe_load(COMPOSE.read_text(encoding="utf-8")))
    parsed = compose_spec.PyCompose.from_yaml(expanded)
    assert set(parsed.service_names()) == set(services())
    alone = (DOCKER / "serving.yaml").read_text(encoding="utf-8")
    values = {"FRONT_PORT": "8000", "ML_REGISTRY": "/r", "ML_VERIFY_KEY": "/v", "ML_API_KEYS": "/k"}
    values |= {"PROJECT_FOLDER": "/p", "PROJECT": "p", "SERVING_TAG": "1", "FRONT_TAG": "1"}
    for name, value in values.items():
        alone = alone.replace(f"${{{name}}}", value)
    compose_spec.PyCompose.from_yaml(yaml.safe_dump(yaml.safe_load(alone)))
    with pytest.raises(ValueError, match="restrat"):
        compose_spec.PyCompose.from_yaml(expanded.replace("restart:", "restrat:", 1))


def test_every_image_is_ours_and_pinned_and_every_port_is_on_loopback() -> None:
    text = (DOCKER / "Dockerfile").read_text(encoding="utf-8")
    stages = re.findall(r"(?m)^FROM (\S+) AS (\S+)$", text)
    from_elsewhere = {base for base, _ in stages} - {name for _, name in stages}
    assert from_elsewhere == {"${BASE_IMAGE}", "jenkins/jenkins:2.568.2-lts-jdk21"}
    [base] = re.findall(r"(?m)^ARG BASE_IMAGE=(.*)$", text)
    [day] = re.findall(r"^debian:trixie-(\d{8})-slim@sha256:[0-9a-f]{64}$", base)
    mirrors = re.findall(r"(?m)^ARG DEBIAN_\w+=(.*)$", text)
    assert len(mirrors) == 2 and all(mirror.endswith(f"/{day}T000000Z") for mirror in mirrors)
    for file in (COMPOSE, DOCKER / "serving.yaml"):
        for one in yaml.safe_load(file.read_text(encoding="utf-8"))["services"].values():
            assert one["image"].split(":")[0] == f"ml-{one['build']['target']}", "none comes from a registry"
    ports = [port for service in services().values() for port in service.get("ports", [])]
    assert sorted(port.rsplit(":", 1)[0] for port in ports) == [
        "127.0.0.1:2222",
        "127.0.0.1:8000",
        "127.0.0.1:8080",
    ]
    for name in ("serving-1", "serving-2"):
        assert "ports" not in services()[name], "the model is reached through nginx only"


def test_every_service_is_restarted_and_confined() -> None:
    for name, service in services().items():
        assert service["restart"] == ("no" if name == "keys" else "unless-stopped")
        if name != "controller":
            assert service["read_only"] is True and service["cap_drop"] == ["ALL"], name
    text = (DOCKER / "Dockerfile").read_text(encoding="utf-8")
    images = {one["build"]["target"] for one in services().values()}
    for target in images - {"controller"}:
        stage = text.split(f" AS {target}\n")[1].split("\nFROM ")[0]
        assert "\nUSER 1000\n" in stage, target
        assert "\nHEALTHCHECK " in stage or target in ("git", "keys"), target


def test_the_volumes_and_files_that_are_mounted_exist() -> None:
    declared = set(yaml.safe_load(COMPOSE.read_text(encoding="utf-8"))["volumes"])
    used = {volume.split(":")[0] for service in services().values() for volume in service.get("volumes", [])}
    assert used - declared == {".."} and declared <= used
    private = {
        name
        for name, one in services().items()
        if any("controller-keys" in v for v in one.get("volumes", []))
    }
    assert private == {"keys", "controller"}, "no other container sees the controller's secrets"


def test_the_image_gets_the_files_it_copies() -> None:
    text = (DOCKER / "Dockerfile").read_text(encoding="utf-8").replace("\\\n", "")
    ignored = (locations.ROOT / ".dockerignore").read_text(encoding="utf-8")
    copied = [line.split()[1:-1] for line in text.splitlines() if re.match(r"COPY (?!--)", line)]
    for name in (name for names in copied for name in names):
        assert (locations.ROOT / name).exists(), name
        assert f"!{name}" in ignored or f"!{name.split('/')[0]}\n" in ignored, name


class Upstream(http.server.BaseHTTPRequestHandler):
    """Answers with the path it was asked for."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        """Answer any path."""
        body = json.dumps(self.path).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Keep quiet."""


@pytest.fixture
def nginx(tmp_path: Path) -> Iterator[str]:
    """Run nginx with our configuration before a stand-in for the service."""
    with answering(http.server.ThreadingHTTPServer(("127.0.0.1", 0), Upstream)) as upstream:
        with start_nginx(tmp_path / "nginx", [f"http://127.0.0.1:{upstream.server_port}"]) as url:
            yield url


@pytest.mark.skipif(not shutil.which("nginx"), reason="nginx is not installed")
def test_nginx_passes_on_what_clients_need_and_nothing_else(nginx: str) -> None:
    def status(path: str) -> int:
        try:
            with urllib.request.urlopen(nginx + path, timeout=10) as answer:
                assert json.loads(answer.read()) == path
                return int(answer.status)
        except urllib.error.HTTPError as error:
            return error.code

    passed = (
        "/",
        "/try",
        "/report",
        "/predict",
        "/model",
        "/health",
        "/docs",
        "/openapi.json",
        "/static-offline-docs/swagger-ui.css",
    )
    assert {path: status(path) for path in passed} == dict.fromkeys(passed, 200)
    kept = ("/metrics", "/predict/x", "/openapiXjson", "/admin", "/try/x")
    assert {path: status(path) for path in kept} == dict.fromkeys(kept, 404)
