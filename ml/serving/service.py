"""The service as a process: run it, start it in the background, ask it, stop it; ask one that runs elsewhere.

While it runs, a service holds a lock on ``<ML_HOME>/services/<project>-<channel>.lock``; the process id in
the file beside it can therefore be trusted, whatever became of an earlier process. The process that holds it
only keeps workers alive (``keeper.py``); they answer (``workers.py``).
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
from collections.abc import Sequence
from pathlib import Path
from typing import TextIO

from ml import locations
from ml.console import say
from ml.errors import MlError
from ml.files import read_json, write_json
from ml.serving.client import Service, wait_until
from ml.serving.keeper import keep_workers
from ml.serving.workers import running_code

START_SECONDS = 60.0
LOOK_SECONDS = 1.0
STOP_SECONDS = 20.0
# The workers of a service that was killed answer who asks already, and hold the port so long.
PORT_SECONDS = 5.0


# Who starts a service is no parent of it: Jenkins ends a build that is stopped with all its children.
APART = """import subprocess, sys
log = sys.stderr
print(subprocess.Popen(sys.argv[1:], stdout=log, stderr=log, start_new_session=True).pid)
"""


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
        # Who only looks whether somebody serves holds the lock, too, for an instant.
        if not wait_until(lambda: _take(lock) or None, LOOK_SECONDS):
            raise MlError(f"channel '{channel}' of {project} is already served: stop it with `serve --stop`")
        with wait_until(lambda: _if_free(host, port), PORT_SECONDS) or _bind(host, port) as listener:
            url = f"http://{f'[{host}]' if ':' in host else host}:{port}"
            write_json(state, {"pid": os.getpid(), "url": url})
            of_workers = f", {workers} workers" if workers > 1 else ""
            say(f"serve: {project}, channel {channel}{of_workers}, at {url} (documentation: {url}/docs)")
            try:
                keep_workers(project, channel, listener, workers, state.with_suffix(".status"))
            except KeyboardInterrupt:  # the way to stop a service in the foreground
                say("serve: stopped")
                # By this file, who keeps services alive tells one that ended in order and stays ended.
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


def died(project: str, channel: str) -> list[str]:
    """Return where a service of this machine answered that was killed: one that is stopped tells nothing."""
    state = _state_file(project, channel)
    try:
        return [] if _locked(state.with_suffix(".lock")) else [read_json(state)["url"]]
    except FileNotFoundError:
        return []


def elsewhere(project: str, channel: str, hosts: Sequence[str] = ()) -> list[Service]:
    """Return the services of a channel that run elsewhere: ``hosts``, else those of ``ML_SERVICES``.

    The variable holds ``<project>/<channel>=<url>``, separated by blanks; other text raises ``MlError``.
    """
    if hosts:
        return [Service(url.rstrip("/")) for url in hosts]
    found = []
    for entry in locations.services():
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
    # One that a killed deploy began does not listen yet, and holds the port soon.
    lock = state.with_suffix(".lock")
    if _locked(lock) and (begun := wait_until(lambda: find(project, channel), START_SECONDS)):
        return begun
    _copy_code(code)
    _bind("127.0.0.1", port).close()
    what = ["--project", project, "--channel", channel, "--port", str(port), "--workers", str(workers)]
    command = [sys.executable, "-m", "ml", "serve", *what]
    with open(log_file, "w", encoding="utf-8") as log:
        started = subprocess.run(
            [sys.executable, "-I", "-S", "-c", APART, *command],
            cwd=code,
            env=_environment(code),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=log,
            check=True,
        )
    pid = int(started.stdout)

    def answering() -> Service | None:
        if not _is_running(pid):
            lines = log_file.read_text(encoding="utf-8").strip().splitlines() or ["it said nothing"]
            raise MlError(f"the service did not start: {lines[-1]} (log: {log_file})")
        service = find(project, channel)
        try:
            return service if service and len(service.get("/health")["workers"]) == workers else None
        except MlError:
            return None

    service = wait_until(answering, START_SECONDS)
    if service is None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGTERM)
        raise MlError(f"the service did not answer within {START_SECONDS:g} s (log: {log_file})")
    return service


def _is_running(pid: int) -> bool:
    """Tell whether a process, which need not be a child, has not ended yet."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2]
    except OSError:
        return False
    return state.split()[0] not in ("Z", "X")  # ended, and whose child it is has not asked yet


def _environment(code: Path) -> dict[str, str]:
    """Return the variables of a service that runs in a copy of the code, and outlives its build."""
    # Two are secret; by the third Jenkins finds whom to kill when a build of the same job is stopped.
    left_out = ("ML_SIGNING_KEY", "ML_API_KEY", "JENKINS_SERVER_COOKIE")
    # What is named from here would be looked for there.
    named = {"ML_STORE": locations.shared_store(), "ML_API_KEYS": locations.api_keys()}
    return {name: value for name, value in os.environ.items() if name not in left_out} | {
        "PYTHONPATH": os.pathsep.join(filter(None, [str(code), os.environ.get("PYTHONPATH")])),
        "ML_HOME": str(locations.home()),
        "ML_REGISTRY": str(locations.registry()),
        "ML_VERIFY_KEY": str(locations.verify_key()),
        "ML_PERSONAL_KEY": str(locations.personal_key()),
        **{name: str(place) for name, place in named.items() if place},
        "JENKINS_NODE_COOKIE": "dontKillMe",  # or Jenkins ends it with the build that started it
    }


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

    if not wait_until(renewed, START_SECONDS):
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
    if not wait_until(lambda: not _locked(lock) or None, STOP_SECONDS):
        os.kill(service.pid, signal.SIGKILL)
    return True


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


def _if_free(host: str, port: int) -> socket.socket | None:
    try:
        return _bind(host, port)
    except MlError:
        return None


def _take(lock: TextIO) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


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
    shutil.copytree(locations.ROOT / "ml", aside / "ml", ignore=_not_copied)
    shutil.copy(locations.LOCK_FILE, aside / locations.LOCK_FILE.name)
    shutil.rmtree(folder, ignore_errors=True)
    aside.rename(folder)


def _not_copied(folder: str, names: list[str]) -> set[str]:
    """Return what is no code: a service must not keep the rows of projects."""
    is_project = Path(folder).parent == locations.ROOT / "ml" / "projects"
    return {"__pycache__", *(["data"] if is_project else [])} & set(names)


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _state_file(project: str, channel: str) -> Path:
    return locations.home() / "services" / f"{project}-{channel}.json"
