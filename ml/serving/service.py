"""The service as a process: run it, start it in the background, ask it, stop it; ask one that runs elsewhere.

While it runs, a service holds a lock on ``<ML_HOME>/services/<project>-<channel>.lock``; the process id in
the file beside it can therefore be trusted, whatever became of an earlier process. The process that holds it
only keeps workers alive (``workers.py``); they answer.
"""

import contextlib
import fcntl
import ipaddress
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import httpx2

from ml import locations
from ml.console import say
from ml.errors import MlError
from ml.files import read_json, write_json
from ml.serving import API_KEY_HEADER, REPLAY_HEADER
from ml.serving.workers import keep_workers, running_code

START_SECONDS = 60.0
STOP_SECONDS = 20.0
POLL_SECONDS = 0.05

Found = TypeVar("Found")


@dataclass(frozen=True)
class Service:
    """A running service: where it listens and which process it is."""

    url: str
    pid: int | None = None  # none for a service that this machine does not run

    def get(self, path: str) -> dict[str, Any]:
        """Return the JSON that ``path`` answers; no answer, or none in JSON, raises ``MlError``."""
        return self._ask("GET", path)

    def predict(self, rows: list[dict[str, Any]]) -> dict[str, Any]:
        """Return the answer of ``POST /predict``; an error status raises ``MlError``."""
        return self._ask("POST", "/predict", rows)

    def replay(self, rows: Iterable[dict[str, Any]]) -> None:
        """Ask for each row alone; what comes of it is seen in the metrics."""
        key = os.environ.get("ML_API_KEY")
        headers = {REPLAY_HEADER: "deploy"} | ({API_KEY_HEADER: key} if key else {})
        with httpx2.Client(headers=headers, timeout=10, trust_env=False) as client:
            for row in rows:
                with contextlib.suppress(httpx2.HTTPError):  # what was not answered is not counted either
                    client.post(f"{self.url}/predict", json=row)

    def metrics(self) -> str:
        """Return what the service tells Prometheus, or raise ``MlError``."""
        try:
            response = httpx2.get(self.url + "/metrics", timeout=10, trust_env=False)
            response.raise_for_status()
        except httpx2.HTTPError as error:
            raise MlError(f"the service at {self.url} does not tell its metrics: {error}") from error
        return response.text

    def _ask(self, method: str, path: str, body: Any = None) -> dict[str, Any]:
        key = os.environ.get("ML_API_KEY")
        headers = {REPLAY_HEADER: "deploy"} | ({API_KEY_HEADER: key} if key else {})
        try:
            response = httpx2.request(
                method, self.url + path, json=body, headers=headers, timeout=10, trust_env=False
            )
            answer: dict[str, Any] = response.json()
        except (httpx2.HTTPError, ValueError) as error:
            raise MlError(f"the service at {self.url} does not answer {path}: {error}") from error
        if method == "POST" and response.status_code != 200:
            raise MlError(f"the service at {self.url} answers {path} with {response.status_code}: {answer}")
        return answer


def serve(project: str, channel: str, host: str, port: int, workers: int = 1) -> None:
    """Serve a channel until interrupted; a port or channel that is taken raises ``MlError``.

    So does an address that others can reach while no API keys are set (``ML_API_KEYS``).
    """
    from ml.serving.access import read_keys

    if not _is_loopback(host) and locations.api_keys() is None:
        raise MlError(f"{host} can be reached from elsewhere: name a file of API keys in ML_API_KEYS first")
    read_keys()
    state = _state_file(project, channel)
    state.parent.mkdir(parents=True, exist_ok=True)
    with open(state.with_suffix(".lock"), "w", encoding="utf-8") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise MlError(
                f"channel '{channel}' of {project} is already served: stop it with `serve --stop`"
            ) from error
        with _bind(host, port) as listener:
            url = f"http://{f'[{host}]' if ':' in host else host}:{port}"
            write_json(state, {"pid": os.getpid(), "url": url})
            of_workers = f", {workers} workers" if workers > 1 else ""
            say(f"serve: {project}, channel {channel}{of_workers}, at {url} (documentation: {url}/docs)")
            try:
                keep_workers(project, channel, listener, workers, state.with_suffix(".status"))
            except KeyboardInterrupt:  # the way to stop a service in the foreground
                say("serve: stopped")
            finally:
                state.unlink(missing_ok=True)


def find(project: str, channel: str) -> Service | None:
    """Return the running service of a channel on this machine, if there is one."""
    state = _state_file(project, channel)
    if not _locked(state.with_suffix(".lock")):
        return None
    try:
        content = read_json(state)
    except FileNotFoundError:  # it holds the lock, but does not listen yet
        return None
    return Service(content["url"], content["pid"])


def elsewhere(project: str, channel: str, hosts: Sequence[str] = ()) -> list[Service]:
    """Return the services of a channel that run elsewhere: ``hosts``, else those of ``ML_SERVICES``.

    The variable holds ``<project>/<channel>=<url>``, separated by blanks; other text raises ``MlError``.
    """
    if hosts:
        return [Service(url.rstrip("/")) for url in hosts]
    found = []
    for entry in os.environ.get("ML_SERVICES", "").split():
        place, separator, url = entry.partition("=")
        if not separator or not url.startswith(("http://", "https://")):
            raise MlError(f"ML_SERVICES: '{entry}' is not <project>/<channel>=<url>")
        if place == f"{project}/{channel}":
            found.append(Service(url.rstrip("/")))
    return found


def start(project: str, channel: str, port: int, workers: int = 1) -> Service:
    """Start a service in the background and return it once it answers, or raise ``MlError``.

    It runs a copy of the code, so it outlives the checkout that a Jenkins build works in.
    """
    state = _state_file(project, channel)
    log_file, code = state.with_suffix(".log"), state.with_suffix("")
    _copy_code(code)
    _bind("127.0.0.1", port).close()
    command = [
        sys.executable,
        "-m",
        "ml",
        "serve",
        "--project",
        project,
        "--channel",
        channel,
        "--port",
        str(port),
        "--workers",
        str(workers),
    ]
    secrets = ("ML_SIGNING_KEY", "ML_API_KEY")
    environment = {name: value for name, value in os.environ.items() if name not in secrets} | {
        "PYTHONPATH": os.pathsep.join(filter(None, [str(code), os.environ.get("PYTHONPATH")])),
        "ML_HOME": str(locations.home()),
        "ML_REGISTRY": str(locations.registry()),
        "ML_VERIFY_KEY": str(locations.verify_key()),
        "JENKINS_NODE_COOKIE": "dontKillMe",  # or Jenkins ends it with the build that started it
    }
    with open(log_file, "w", encoding="utf-8") as log:
        process = subprocess.Popen(
            command,
            cwd=code,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )

    def answering() -> Service | None:
        if process.poll() is not None:
            lines = log_file.read_text(encoding="utf-8").strip().splitlines() or ["it said nothing"]
            raise MlError(f"the service did not start: {lines[-1]} (log: {log_file})")
        service = find(project, channel)
        try:
            return service if service and len(service.get("/health")["workers"]) == workers else None
        except MlError:
            return None

    service = _wait_for(answering, START_SECONDS)
    if service is None:
        process.terminate()
        raise MlError(f"the service did not answer within {START_SECONDS:g} s (log: {log_file})")
    return service


def renew(service: Service, project: str, channel: str) -> None:
    """Let new workers with the code of this checkout take over from those that run, without a gap.

    Raises ``MlError`` if they do not start; the old ones then stay.
    """
    assert service.pid
    _copy_code(_state_file(project, channel).with_suffix(""))
    code = running_code()
    os.kill(service.pid, signal.SIGHUP)

    def renewed() -> bool | None:
        return all(worker["code"] == code for worker in service.get("/health")["workers"]) or None

    if not _wait_for(renewed, START_SECONDS):
        raise MlError(f"the service at {service.url} did not take the new code within {START_SECONDS:g} s")


def same_environment(service: Service) -> bool:
    """Tell whether a service of this machine runs in this Python environment."""
    try:
        return Path(os.readlink(f"/proc/{service.pid}/exe")).samefile(sys.executable) and (
            f"{sys.prefix}/".encode() in Path(f"/proc/{service.pid}/cmdline").read_bytes()
        )
    except OSError:
        return False


def stop(project: str, channel: str) -> bool:
    """Stop the service of a channel and wait for its end; return whether there was one."""
    service = find(project, channel)
    if service is None or service.pid is None:
        return False
    os.kill(service.pid, signal.SIGTERM)
    lock = _state_file(project, channel).with_suffix(".lock")
    if not _wait_for(lambda: not _locked(lock) or None, STOP_SECONDS):
        os.kill(service.pid, signal.SIGKILL)
    return True


def wait_for_version(service: Service, version: int | None, seconds: float = 30.0) -> None:
    """Wait until all workers of the service report a version; a refusal or silence raises ``MlError``."""
    _wait_for_workers(service, version, "version", seconds)


def wait_for_candidate(service: Service, version: int | None, seconds: float = 30.0) -> None:
    """Wait until all workers of the service have a candidate; a refusal or silence raises ``MlError``."""
    _wait_for_workers(service, version, "candidate", seconds)


def _wait_for_workers(service: Service, version: int | None, role: str, seconds: float) -> None:
    def reached() -> bool | None:
        workers = service.get("/health")["workers"]
        for worker in workers:
            if reason := worker["refused"].get(str(version)):
                raise MlError(f"the service refuses version {version}: {reason}")
        return all(worker[role] == version for worker in workers) or None

    if not _wait_for(reached, seconds):
        raise MlError(f"the service at {service.url} did not take version {version} within {seconds:g} s")


def _wait_for(probe: Callable[[], Found | None], seconds: float) -> Found | None:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if (found := probe()) is not None:
            return found
        time.sleep(POLL_SECONDS)
    return None


def free_port() -> int:
    """Return a port of loopback that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def _bind(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # asyncio turns Nagle's delay (some 40 ms an answer) off only for sockets that name their protocol.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(1024)
        return listener
    except OSError as error:
        listener.close()
        raise MlError(
            f"port {port} on {host} cannot be used ({os.strerror(error.errno or 0)}): "
            "end the program that holds it, or choose another with --port (make: PORT=...)"
        ) from error


def _locked(lock: Path) -> bool:
    if not lock.exists():
        return False
    with open(lock, encoding="utf-8") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def _copy_code(folder: Path) -> None:
    aside = folder.with_suffix(".incoming")
    shutil.rmtree(aside, ignore_errors=True)
    shutil.copytree(locations.ROOT / "ml", aside / "ml", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(locations.LOCK_FILE, aside / locations.LOCK_FILE.name)
    shutil.rmtree(folder, ignore_errors=True)
    aside.rename(folder)


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _state_file(project: str, channel: str) -> Path:
    return locations.home() / "services" / f"{project}-{channel}.json"
