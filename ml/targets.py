"""Where a model is served: on this machine, in containers of this machine, or on another one over SSH."""

import contextlib
import hashlib
import os
import re
import shlex
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol
from urllib.parse import urlsplit

from ml import locations
from ml.console import say
from ml.errors import MlError, UsageError
from ml.project import DECLARATIONS, Project
from ml.serving import service as services
from ml.serving.workers import running_code

COMPOSE_FILE = locations.ROOT / "docker" / "serving.yaml"
COMPOSE_INSTANCES = ("serving-1", "serving-2")
COMPOSE_PORT = "8000"  # of an instance, inside its container
REMOTE_SCRIPT = Path(__file__).with_name("remote_host.sh")
ANSWER_SECONDS = 60.0


class Target(Protocol):
    """What a deploy needs of a place: its services, ready to answer, and that it hears of a moved pointer."""

    def prepare(self) -> list[services.Service]:
        """Bring what is registered there, start what does not run, and return the services."""

    def known(self) -> list[services.Service]:
        """Return the services, and start none."""

    def moved(self) -> None:
        """Tell the place that the channel's pointer has moved."""


@contextmanager
def open_target(
    text: str, project: Project, channel: str, port: int | None, hosts: tuple[str, ...]
) -> Iterator[Target]:
    """Yield the target that ``local``, ``compose`` or ``ssh://user@host[:port][/folder]`` names.

    Raises ``UsageError`` for any other text, and ``MlError`` if it cannot be reached.
    """
    if text == "local":
        yield Local(project, channel, port, hosts)
    elif text == "compose":
        yield Compose(project, channel)
    else:
        yield from _open_ssh(_parse(text), project, channel, port or project.channels[channel])


@dataclass(frozen=True)
class Local:
    """Processes of this machine, or services that run elsewhere and see the same registry."""

    project: Project
    channel: str
    port: int | None
    hosts: tuple[str, ...]

    def prepare(self) -> list[services.Service]:
        """Return the services that run elsewhere, or else the one here: started, with this build's code."""
        if elsewhere := self._elsewhere():
            for one in elsewhere:
                if one.get("/health").get("code") != running_code():
                    say(f"deploy: {one.url} runs other code than this build: renew it when it suits")
            return elsewhere
        project, channel = self.project, self.channel
        running = services.find(project.name, channel)
        port = self.port or project.channels[channel]
        if running and running.get("/health").get("code") != running_code():
            if services.same_environment(running):
                say("deploy: the service runs other code than this build: new workers take over")
                services.renew(running, project.name, channel)
            else:
                say("deploy: the service runs in another environment than this build: restarting it")
                port = int(running.url.rsplit(":", 1)[1])
                services.stop(project.name, channel)
                running = None
        return [running or services.start(project.name, channel, port, project.workers)]

    def known(self) -> list[services.Service]:
        """Return the services that run, and start none."""
        local = services.find(self.project.name, self.channel)
        return self._elsewhere() or ([local] if local else [])

    def moved(self) -> None:
        """Do nothing: these services look at the pointer itself."""

    def _elsewhere(self) -> list[services.Service]:
        hosts = self.hosts or tuple(self.project.hosts.get(self.channel, ()))
        return services.elsewhere(self.project.name, self.channel, hosts)


@dataclass(frozen=True)
class Compose:
    """Two containers behind nginx, made by ``docker/serving.yaml``; they see the registry read-only."""

    project: Project
    channel: str

    def prepare(self) -> list[services.Service]:
        """Bring the containers up and return both instances; without API keys raises ``MlError``."""
        keys = locations.api_keys()
        if keys is None or not keys.exists():
            raise MlError("containers listen on a network: name a file of API keys in ML_API_KEYS first")
        locations.registry().mkdir(parents=True, exist_ok=True)
        self._call("up", "--detach", "--build", "--wait")
        return [self._instance(name) for name in COMPOSE_INSTANCES]

    def known(self) -> list[services.Service]:
        """Return the instances that run."""
        found = []
        for name in COMPOSE_INSTANCES:
            with contextlib.suppress(MlError):
                found.append(self._instance(name))
        return found

    def _instance(self, name: str) -> services.Service:
        """Return an instance at the port of loopback that the engine chose for it."""
        return services.Service(f"http://{self._call('port', name, COMPOSE_PORT).strip()}")

    def _call(self, *command: str) -> str:
        environment = os.environ | {
            "ML_REGISTRY": str(locations.registry()),
            "ML_VERIFY_KEY": str(locations.verify_key()),
            "ML_API_KEYS": str(locations.api_keys() or os.devnull),
            "PROJECT": self.project.name,
            "CHANNEL": self.channel,
            "FRONT_PORT": str(self.project.channels[self.channel]),
        }
        whole = f"{self.project.name}-{self.channel}"
        return _call(["docker", "compose", "-f", str(COMPOSE_FILE), "-p", whole, *command], environment)

    def moved(self) -> None:
        """Do nothing: the containers look at the pointer itself."""


@dataclass(frozen=True)
class Host:
    """A machine that SSH reaches, and the folder there that holds code, environment and registry."""

    user: str
    name: str
    port: int | None
    folder: str

    @property
    def login(self) -> str:
        """User and host as ssh and rsync take them."""
        return f"{self.user}@{self.name}"

    def ssh(self) -> list[str]:
        """Return the command before the host; ``ML_SSH_CONFIG`` names another file than ``~/.ssh/config``."""
        config = os.environ.get("ML_SSH_CONFIG")
        port = ["-p", str(self.port)] if self.port else []
        return ["ssh", "-o", "BatchMode=yes", *(["-F", config] if config else []), *port]


@dataclass(frozen=True)
class Remote:
    """A service on another machine, with a copy of the registry."""

    host: Host
    project: Project
    channel: str
    port: int
    tunnel: services.Service

    def prepare(self) -> list[services.Service]:
        """Copy versions, code and public key there, see that the service runs, and return it."""
        registry = locations.registry() / self.project.name
        self._copy(f"{registry / 'versions'}/", f"registry/{self.project.name}/versions/", "--exclude=.*")
        # What is gone here must go there: a module or function left over is found by whoever imports it.
        self._copy(f"{locations.ROOT / 'ml'}/", "code/ml/", "--delete", "--exclude=projects/*/data")
        self._copy(str(locations.LOCK_FILE), "code/")
        self._copy(str(locations.verify_key()), "keys/verify.pem")
        declared = [f"--include=/{name}" for name in DECLARATIONS]
        self._copy(
            f"{self.project.folder}/", f"projects/{self.project.name}/", *declared, "--exclude=*", "--delete"
        )
        self.moved()
        say(f"deploy: {self.host.name} has the versions of the registry; its service is made ready")
        lock = hashlib.sha256(locations.LOCK_FILE.read_bytes()).hexdigest()
        words = [
            self.host.folder,
            self.project.name,
            self.channel,
            str(self.port),
            str(self.project.workers),
            lock,
            running_code(),
        ]
        remote = shlex.join(["sh", "-s", "--", *words])
        _call(
            [*self.host.ssh(), self.host.login, remote], os.environ, REMOTE_SCRIPT.read_text(encoding="utf-8")
        )
        deadline = time.monotonic() + ANSWER_SECONDS
        while True:
            try:
                workers = self.tunnel.get("/health")["workers"]
                if all(worker["code"] == running_code() for worker in workers):
                    return [self.tunnel]
            except MlError:
                if time.monotonic() > deadline:
                    raise
            if time.monotonic() > deadline:
                raise MlError(f"the service on {self.host.name} did not take the code of this build")
            time.sleep(services.POLL_SECONDS)

    def known(self) -> list[services.Service]:
        """Return the service there, running or not."""
        return [self.tunnel]

    def moved(self) -> None:
        """Copy the pointer there: rsync puts it in its place whole."""
        pointer = locations.registry() / self.project.name / "channels" / f"{self.channel}.json"
        if pointer.exists():
            self._copy(str(pointer), f"registry/{self.project.name}/channels/")

    def _copy(self, source: str, to: str, *more: str) -> None:
        place = f"{self.host.login}:{self.host.folder}/{to}"
        options = ["--archive", "--mkpath", "--no-owner", "--no-group", "--filter=-p __pycache__", *more]
        _call(
            ["rsync", *options, "--protect-args", "-e", shlex.join(self.host.ssh()), source, place],
            os.environ,
        )


def _open_ssh(host: Host, project: Project, channel: str, port: int) -> Iterator[Target]:
    ours = services.free_port()
    forward = f"127.0.0.1:{ours}:127.0.0.1:{port}"
    options = ["-N", "-o", "ExitOnForwardFailure=yes", "-o", "ServerAliveInterval=5", "-L", forward]
    tunnel = subprocess.Popen(
        [*host.ssh(), *options, host.login], stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )
    try:
        yield Remote(host, project, channel, port, services.Service(f"http://127.0.0.1:{ours}"))
    finally:
        tunnel.terminate()
        tunnel.wait()


def _parse(text: str) -> Host:
    address = urlsplit(text)
    folder = address.path.removeprefix("/") and address.path
    try:
        port = address.port
    except ValueError:
        port = -1
    names = (address.username or "", address.hostname or "")
    if (
        address.scheme != "ssh"
        or port == -1
        or not all(re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9._-]*", name) for name in names)
        or not re.fullmatch(r"(/[A-Za-z0-9._-]+)*", folder or "")
    ):
        raise UsageError(f"'{text}' is not a target: local, compose or ssh://user@host[:port][/folder]")
    if names[0] == "root":
        raise UsageError(f"'{text}': a model is served by a user of its own, never by root")
    return Host(names[0], names[1], port, folder or "ml")


def _call(
    command: list[str], environment: "os._Environ[str] | dict[str, str]", text: str | None = None
) -> str:
    """Run a command and return what it says; its failure raises ``MlError``."""
    try:
        done = subprocess.run(command, env=environment, input=text, capture_output=True, text=True)
    except FileNotFoundError as error:
        raise MlError(f"{command[0]} is not installed: this target needs it") from error
    if done.returncode:
        told = (done.stderr.strip().splitlines() or ["it said nothing"])[-1]
        raise MlError(f"{command[0]} failed: {told.removeprefix('error: ')}")
    return done.stdout
