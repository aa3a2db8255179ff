"""Other places to serve: another host over a real sshd, containers, and services behind a real nginx."""

import contextlib
import grp
import hashlib
import http.server
import json
import os
import pwd
import shutil
import subprocess
import sys
import sysconfig
import time
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest
import yaml

from ml import locations
from ml.delivery.targets import open_target
from ml.delivery.targets.compose import COMPOSE_FILE
from ml.delivery.waiting import wait_for_version
from ml.errors import MlError, UsageError
from ml.project import find_project
from ml.registry.versions import Registry
from ml.serving import service
from ml.serving.client import Service
from tests.conftest import Site
from tests.load.servers import start_nginx
from tests.support import (
    PASSENGER,
    ErrorOf,
    answering,
    build_another_model,
    constant_load,
    wait_for,
    workers_of,
)

pytestmark = pytest.mark.slow
SBIN = "/usr/sbin:/usr/local/sbin:" + os.environ.get("PATH", "")
SSHD = shutil.which("sshd", path=SBIN)


def host_user() -> str | None:
    """Return who may serve: this user, or for root the user that a service account would be."""
    if os.getuid():
        return pwd.getpwuid(os.getuid()).pw_name
    with contextlib.suppress(KeyError):
        return pwd.getpwnam("postgres").pw_name
    return None


def python_for(user: str) -> str | None:
    """Return a Python like this one that the user may run: this very one may lie in root's home."""
    for python in (sys.executable, f"/usr/bin/python{sys.version_info.major}.{sys.version_info.minor}"):
        with contextlib.suppress(OSError):
            given = {"user": user} if os.getuid() == 0 else {}
            if subprocess.run([python, "-c", ""], cwd="/", **given).returncode == 0:
                return python
    return None


@pytest.fixture
def host(served: Site, free_port: int, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Run a sshd on loopback that lets one user in; yield the target and clean up what it started."""
    if not SSHD or not shutil.which("rsync") or host_user() is None:
        pytest.skip("sshd, rsync or a user to log in as is not here")
    user = pwd.getpwnam(host_user() or "")
    if (python := python_for(user.pw_name)) is None:
        pytest.skip(
            f"no Python {sys.version_info.major}.{sys.version_info.minor} that {user.pw_name} may run"
        )
    packages = sysconfig.get_path("purelib")
    wrapper = f'#!/bin/sh\nPYTHONPATH=$PWD:{packages} exec {python} "$@"\n'
    for parent in [served.root, *served.root.parents]:
        with contextlib.suppress(OSError):
            if not parent.stat().st_mode & 0o001:
                parent.chmod(parent.stat().st_mode | 0o011)
    place, keys = served.root / "host", served.root / "ssh"
    keys.mkdir()
    place.mkdir()
    for name in ("host", "client"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(keys / name)], check=True)
    shutil.copy(keys / "client.pub", place / "authorized")
    shutil.copy(keys / "host", place / "host-key")
    lock = hashlib.sha256(locations.LOCK_FILE.read_bytes()).hexdigest()
    (place / "ml" / "venvs" / lock / "bin").mkdir(parents=True)
    (place / "ml" / "venvs" / lock / "installed").touch()
    (place / "ml" / "venvs" / lock / "bin" / "python").write_text(wrapper)
    (place / "ml" / "venvs" / lock / "bin" / "python").chmod(0o755)
    for entry in [place, *place.rglob("*")]:
        if os.getuid() == 0:
            os.chown(entry, user.pw_uid, grp.getgrgid(user.pw_gid).gr_gid)
    (place / "host-key").chmod(0o600)
    port = service.free_port()
    settings = [
        f"AuthorizedKeysFile={place / 'authorized'}",
        "StrictModes=no",
        "UsePAM=no",
        "ListenAddress=127.0.0.1",
        f"PidFile={place / 'pid'}",
        f"SetEnv=XDG_CONFIG_HOME={place / 'config'}",
    ]
    command = [SSHD, "-D", "-e", "-f", "/dev/null", "-p", str(port), "-h", str(place / "host-key")]
    sshd = subprocess.Popen(
        [*command, *(part for one in settings for part in ("-o", one))],
        user=user.pw_name if os.getuid() == 0 else None,
        stderr=subprocess.DEVNULL,
    )
    public = (keys / "host.pub").read_text()
    (keys / "known").write_text(f"[127.0.0.1]:{port} {public}")
    (keys / "config").write_text(
        f"IdentityFile {keys / 'client'}\nIdentitiesOnly yes\nUserKnownHostsFile {keys / 'known'}\n"
    )
    monkeypatch.setenv("ML_SSH_CONFIG", str(keys / "config"))
    yield f"ssh://{user.pw_name}@127.0.0.1:{port}{place}/ml"
    state = place / "ml" / "home" / "services" / "small-production.json"
    if state.exists():
        with contextlib.suppress(ProcessLookupError):
            os.kill(json.loads(state.read_text())["pid"], 15)
    sshd.terminate()
    sshd.wait()


def test_another_host_gets_versions_environment_unit_and_service_and_follows_the_pointer(
    served: Site, host: str, free_port: int
) -> None:
    assert served.ml("deploy", "--target", host, "--port", str(free_port)) == 0
    place = served.root / "host"
    there = Service(f"http://127.0.0.1:{free_port}")
    assert there.predict([PASSENGER])["version"] == 1
    assert there.get("/health")["pid"] != os.getpid()
    if os.getuid() == 0:
        owner = Path(f"/proc/{there.get('/health')['pid']}").stat().st_uid
        assert owner == pwd.getpwnam(host_user() or "").pw_uid != 0
    unit = place / "config" / "systemd" / "user" / "ml-small-production.service"
    assert f"WorkingDirectory={place}/ml/code" in unit.read_text()
    if shutil.which("systemd-analyze"):
        checked = subprocess.run(
            ["systemd-analyze", "verify", "--user", "--recursive-errors=no", str(unit)],
            capture_output=True,
            text=True,
        )
        assert not [line for line in checked.stderr.splitlines() if unit.name in line], checked.stderr
    assert not list(place.rglob("signing.pem")), "the private key stays here"

    build_another_model(served)
    left_over, of_others = place / "ml" / "code" / "ml" / "renamed.py", place / "ml" / "notes.txt"
    declared, in_code = place / "ml" / "projects" / "small", place / "ml" / "code" / "ml" / "projects"
    assert not list(in_code.glob("*/project.toml")), "there it would be twice, and not served"
    (in_code / "small").mkdir(parents=True)
    for file in (left_over, declared / "grid.json", of_others, in_code / "small" / "project.toml"):
        file.write_text("# of an earlier deploy")
    for folder in (in_code, in_code / "small"):
        shutil.chown(folder, place.stat().st_uid)
    with constant_load(there.url, clients=1) as seen:
        assert served.ml("deploy", "--target", host, "--port", str(free_port)) == 0
    assert not left_over.exists(), "what was renamed or deleted here is gone there"
    assert not list(in_code.glob("*/project.toml"))
    assert of_others.exists() and (declared / "grid.json").read_text() != "# of an earlier deploy"
    assert seen.failed == [] and there.predict([PASSENGER])["version"] == 2
    began = time.monotonic()
    with open_target(host, find_project("small"), "production", free_port, ()) as target:
        Registry("small", target.moved).move("production", 1, "rollback")
    wait_for_version(there, 1, seconds=10)
    assert time.monotonic() - began < 10

    (place / "ml" / "environment").write_text("ML_STORE=off\n")
    assert served.ml("deploy", "--target", host, "--port", str(free_port), "--force") == 0
    pid = wait_for(lambda: there.get("/health").get("pid"))
    assert b"ML_STORE=off" in Path(f"/proc/{pid}/environ").read_bytes()

    lacking = place / "ml" / "registry" / "small" / "versions" / "1"
    shutil.rmtree(lacking)
    assert served.ml("rollback", "--to", "1", "--target", host, "--port", str(free_port)) == 0
    assert there.predict([PASSENGER])["version"] == 1
    assert (lacking / "version.json").exists(), "what a host lacks is brought there first"


@pytest.mark.parametrize(
    "text",
    [
        "elsewhere",
        "ssh://host",
        "ssh://root@host",
        "ssh://me@host:x",
        "ssh://me@-oProxyCommand=x",
        "ssh://me@h/a;b",
        "ssh://me@h,local",
        "ssh://me@h,",
        "ssh://me@h,ssh://me@h",
    ],
)
def test_what_is_no_target_is_a_usage_error(site: Site, text: str) -> None:
    with pytest.raises(UsageError, match="target|root|twice"):
        with open_target(text, find_project("small"), "production", None, ()):
            pass


def test_a_host_that_cannot_be_reached_is_named_and_nothing_is_pointed_to(
    served: Site, free_port: int, error_of: ErrorOf
) -> None:
    if not shutil.which("rsync") or not shutil.which("ssh"):
        pytest.skip("ssh or rsync is not installed")
    assert served.ml("deploy", "--target", f"ssh://me@127.0.0.1:{free_port}/x") == 1
    assert "host 127.0.0.1: rsync failed" in error_of()
    assert Registry("small").channel("production").version is None


DOCKER = """#!/bin/sh
echo "$@" >> {root}/asked
env > {root}/environment
case "$*" in
    *" port serving-"*) echo 127.0.0.1:{port} ;;
esac
"""


@pytest.fixture
def instance() -> Iterator[int]:
    """Return the port of a stand-in for an instance, which says that it lives."""

    class Instance(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b'{"project": "small", "channel": "production", "workers": []}')

        def log_message(self, *_: object) -> None:
            pass

    with answering(http.server.ThreadingHTTPServer(("127.0.0.1", 0), Instance)) as server:
        yield server.server_port


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (b"[]", "is no service of a model: which program is that?"),
        (b'{"status": "ok"}', "is no service of a model: which program is that?"),
        (
            b'{"project": "other", "channel": "production", "workers": []}',
            "answers for other, channel production, not for small, channel production: is the address",
        ),
    ],
)
def test_nothing_is_deployed_to_what_is_no_service_of_ours(
    built: Site, error_of: ErrorOf, answer: bytes, told: str
) -> None:
    class Stranger(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_: object) -> None:
            pass

    with answering(http.server.ThreadingHTTPServer(("127.0.0.1", 0), Stranger)) as server:
        assert built.ml("deploy", "--hosts", f"http://127.0.0.1:{server.server_port}") == 1
    assert told in error_of()


def test_containers_are_brought_up_one_after_the_other_by_whichever_command_is_here(
    built: Site, instance: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def prepare() -> list[Service]:
        with open_target("compose", find_project("small"), "production", None, ()) as target:
            return target.prepare()

    with pytest.raises(MlError, match="name a file of API keys"):
        prepare()
    (built.root / "keys").write_text(hashlib.sha256(b"key").hexdigest())
    monkeypatch.setenv("ML_API_KEYS", str(built.root / "keys"))
    programs = built.root / "bin"
    programs.mkdir()
    monkeypatch.setenv("PATH", str(programs))
    with pytest.raises(MlError, match="neither `docker compose` nor `podman-compose` is installed"):
        prepare()
    monkeypatch.setenv("PATH", f"{programs}:/usr/bin:/bin")
    for name in ("podman-compose", "docker"):  # where both are, the first of the table
        (programs / name).write_text(DOCKER.format(root=built.root, port=instance))
        (programs / name).chmod(0o755)
        assert [one.url for one in prepare()] == [f"http://127.0.0.1:{instance}"] * 2
        asked = (built.root / "asked").read_text().splitlines()
        (built.root / "asked").unlink()
        program = "compose" if name == "docker" else "--podman-build-args=--format=docker"
        called = [line.split("small-production ")[1] for line in asked if " -p " in line]
        assert called == [
            "build serving-1",
            "build front",
            "port serving-1 8000",
            "up --detach --no-deps serving-1",
            "port serving-1 8000",
            "port serving-2 8000",
            "up --detach --no-deps serving-2",
            "port serving-2 8000",
            "up --detach --no-deps front",
        ]
        assert all(line.startswith(program) for line in asked)
    environment = (built.root / "environment").read_text()
    assert f"ML_REGISTRY={locations.registry()}" in environment and "CATBOOST=no" in environment
    (programs / "docker").write_text(
        '#!/bin/sh\n[ "$2" = version ] || { echo "no such engine" >&2; exit 1; }\n'
    )
    with open_target("compose", find_project("small"), "production", None, ()) as target:
        assert target.known() == []
    with pytest.raises(MlError, match="docker failed: no such engine"):
        prepare()


def test_containers_of_any_two_projects_and_channels_share_no_port_and_no_name(site: Site) -> None:
    services = yaml.safe_load(COMPOSE_FILE.read_text(encoding="utf-8"))["services"]
    published = [port for one in services.values() for port in one.get("ports", [])]
    assert sorted(published) == ["127.0.0.1:${FRONT_PORT}:8080", "127.0.0.1::8000", "127.0.0.1::8000"]
    assert not [one for one in services.values() if "container_name" in one]


def wait_for_two(running: Service) -> set[int]:
    """Return the workers once there are two that answer."""
    return wait_for(lambda: found if len(found := workers_of(running)) >= 2 else set())


@pytest.mark.skipif(not shutil.which("nginx"), reason="nginx is not installed")
def test_behind_nginx_a_killed_worker_costs_no_request(served: Site, free_port: int) -> None:
    settings = served.project / "project.toml"
    settings.write_text("workers = 2\n" + settings.read_text(encoding="utf-8"), encoding="utf-8")
    assert served.ml("deploy", "--port", str(free_port)) == 0
    running = service.find("small", "production")
    assert running
    # nginx asks an entry once for a request, and a process that is killed keeps its idle connections until
    # its memory is freed: of a service that stands there alone more than one of them may be asked.
    with start_nginx(served.root / "nginx", [running.url] * 4) as url:
        assert httpx2.get(f"{url}/metrics", trust_env=False).status_code == 404
        with constant_load(url) as seen:
            for _ in range(3):
                victim = min(wait_for_two(running))
                os.kill(victim, 9)
                while victim in workers_of(running):
                    time.sleep(0.1)
                answered = seen.answered  # so often nginx has met what is left of the dead one's connections
                while seen.answered < answered + 50:
                    time.sleep(0.1)
            wait_for_two(running)
    assert seen.failed == [] and seen.answered > 50
