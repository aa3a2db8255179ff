"""Another machine, over SSH."""

import os
import re
import shlex
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from ml import locations
from ml.console import say
from ml.delivery.targets.command import ConnectionLost, call
from ml.delivery.targets.interface import Target
from ml.errors import MlError, UsageError
from ml.files import digest
from ml.project import DECLARATIONS, Project
from ml.serving import service as services
from ml.serving.client import POLL_SECONDS, Service
from ml.serving.workers import running_code

REMOTE_SCRIPT = Path(__file__).with_name("remote_host.sh")
ANSWER_SECONDS = 60.0
# A host that went away is told within half a minute, also in the middle of a copy.
PATIENCE = ("ConnectTimeout=10", "ServerAliveInterval=5", "ServerAliveCountMax=3")


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
        config = locations.ssh_config()
        port = ["-p", str(self.port)] if self.port else []
        options = [word for one in ("BatchMode=yes", *PATIENCE) for word in ("-o", one)]
        return ["ssh", *options, *(["-F", config] if config else []), *port]


@dataclass(frozen=True)
class Tunnel(Service):
    """What answers at the end of a tunnel; its own address says nothing of the machine that it leads to."""

    host: str = ""
    port: int = 0  # of loopback over there

    @property
    def place(self) -> str:
        """Where it answers, for people: the tunnel ends with the command that opened it."""
        return f"http://127.0.0.1:{self.port} on {self.host}"


@dataclass(frozen=True)
class Remote:
    """A service on another machine, with a copy of the registry."""

    host: Host
    project: Project
    channel: str
    port: int
    tunnel: Service

    def prepare(self) -> list[Service]:
        """Copy versions, code and public key there, see that the service runs, and return it."""
        code = running_code()
        self._copy_versions()
        # What is gone here must go there: a module or function left over is found by whoever imports it.
        # A project has one place there, its own below: with another one in the code it would be there twice.
        self._copy(f"{locations.ROOT / 'ml'}/", "code/ml/", "--delete", "--filter=H /projects/*")
        self._copy(str(locations.LOCK_FILE), "code/")
        self._copy(str(locations.verify_key()), "keys/verify.pem")
        declared = [f"--include=/{name}" for name in DECLARATIONS]
        self._copy(
            f"{self.project.folder}/", f"projects/{self.project.name}/", *declared, "--exclude=*", "--delete"
        )
        self.moved()
        say(f"deploy: {self.host.name} has the versions of the registry; its service is made ready")
        lock = digest(locations.LOCK_FILE)
        words = [
            self.host.folder,
            self.project.name,
            self.channel,
            str(self.port),
            str(self.project.workers),
            lock,
            code,
        ]
        remote = shlex.join(["sh", "-s", "--", *words])
        self._call([*self.host.ssh(), self.host.login, remote], REMOTE_SCRIPT.read_text(encoding="utf-8"))
        deadline = time.monotonic() + ANSWER_SECONDS
        while True:
            try:
                workers = self.tunnel.health(self.project.name, self.channel)["workers"]
                if all(worker["code"] == code for worker in workers):
                    return [self.tunnel]
            except MlError:
                if time.monotonic() > deadline:
                    name = f"{self.project.name}-{self.channel}"
                    log = f"{self.host.folder}/home/{name}.log"
                    told = f"`journalctl --user --unit ml-{name}`, or without systemd {log}"
                    say(f"deploy: on {self.host.name} {told}, tells why")
                    raise
            if time.monotonic() > deadline:
                raise MlError(f"host {self.host.name}: the service did not take the code of this build")
            time.sleep(POLL_SECONDS)

    def bring(self) -> None:
        """Copy the versions there, if it can be reached."""
        try:
            self._copy_versions()
        except MlError as error:
            say(str(error))

    def known(self) -> list[Service]:
        """Return the service there, running or not."""
        return [self.tunnel]

    def moved(self) -> None:
        """Copy the pointer there: rsync puts it in its place whole."""
        pointer = locations.registry() / self.project.name / "channels" / f"{self.channel}.json"
        if pointer.exists():
            self._copy(str(pointer), f"registry/{self.project.name}/channels/")

    def _copy_versions(self) -> None:
        versions = locations.registry() / self.project.name / "versions"
        self._copy(f"{versions}/", f"registry/{self.project.name}/versions/", "--exclude=.*")

    def _copy(self, source: str, to: str, *more: str) -> None:
        place = f"{self.host.login}:{self.host.folder}/{to}"
        options = ["--archive", "--mkpath", "--no-owner", "--no-group", "--filter=-p __pycache__", *more]
        command = ["rsync", *options, "--protect-args", "-e", shlex.join(self.host.ssh()), source, place]
        try:
            self._call(command)
        except ConnectionLost:  # it copies what is missing there, so it goes on where it ended
            self._call(command)

    def _call(self, command: list[str], text: str | None = None) -> None:
        try:
            call(command, os.environ, text)
        except MlError as error:
            raise type(error)(f"host {self.host.name}: {error}") from error


@dataclass(frozen=True)
class Fleet:
    """Services on several other machines that answer one channel."""

    remotes: tuple[Remote, ...]

    def prepare(self) -> list[Service]:
        """Make every host ready and return all services; a host that is away raises ``MlError``."""
        return [service for remote in self.remotes for service in remote.prepare()]

    def bring(self) -> None:
        """Copy the versions to every host that can be reached."""
        for remote in self.remotes:
            remote.bring()

    def known(self) -> list[Service]:
        """Return the services there, running or not."""
        return [service for remote in self.remotes for service in remote.known()]

    def moved(self) -> None:
        """Copy the pointer to every host that can be reached; then name those that cannot (``MlError``)."""
        away = []
        for remote in self.remotes:
            try:
                remote.moved()
            except MlError as error:
                away.append(str(error))
        if away:
            raise MlError("; ".join(away))


def open_ssh(
    text: str, project: Project, channel: str, port: int | None, hosts: tuple[str, ...]
) -> Iterator[Target]:
    """Yield the host that ``ssh://user@host[:port][/folder]`` names, or several, separated by commas."""
    port = port or project.channels[channel].port
    named = [parse_host(one) for one in text.split(",")]
    if len(set(named)) < len(named):
        raise UsageError(f"'{text}' names a host twice")
    with ExitStack() as tunnels:
        yield Fleet(
            tuple(
                Remote(host, project, channel, port, tunnels.enter_context(_tunnel(host, port)))
                for host in named
            )
        )


@contextmanager
def _tunnel(host: Host, port: int) -> Iterator[Tunnel]:
    """Yield what answers at a port of loopback over there."""
    ours = services.free_port()
    forward = f"127.0.0.1:{ours}:127.0.0.1:{port}"
    options = ["-o", "ExitOnForwardFailure=yes", "-L", forward]
    # What reads to the end over there ends with this process, even a killed one; `-N` would stay for ever.
    tunnel = subprocess.Popen(
        [*host.ssh(), *options, host.login, "cat"],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        yield Tunnel(f"http://127.0.0.1:{ours}", host=host.name, port=port)
    finally:
        tunnel.terminate()
        tunnel.wait()


def parse_host(text: str) -> Host:
    """Return the host that ``ssh://user@host[:port][/folder]`` names; other text raises ``UsageError``."""
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
