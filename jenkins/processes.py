"""Processes that are kept running: what dies is started again.

``python -m jenkins.processes FOLDER`` is the process that watches. It reads what to run from ``wanted.json``
of the folder, notes what runs in ``running.json``, and takes over what a watcher before it has started. The
services that deploys have started are noted in ``services.json``; one that was killed comes back too, one
that was stopped while they are watched is forgotten.
"""

import contextlib
import dataclasses
import json
import math
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any

from ml import locations

LOOK_SECONDS = 0.5
START_SECONDS = 10.0
PAUSE_SECONDS = 5.0  # between two starts of what dies at once
STOP_SECONDS = 30.0
WATCHER = "watcher"


@dataclass(frozen=True)
class Process:
    """What to run; once it runs, which process it is. ``born`` is in clock ticks since boot."""

    name: str
    command: list[str]
    environment: dict[str, str] = field(repr=False)
    folder: str
    pid: int = 0
    born: str = ""

    @property
    def runs(self) -> bool:
        """Tell whether it runs; a number that another process got since does not count."""
        return bool(self.pid) and _born(self.pid) == self.born


def wanted(folder: Path) -> dict[str, Process]:
    """Return what is kept running, by name."""
    return _read(folder / "wanted.json")


def running(folder: Path) -> dict[str, Process]:
    """Return what runs now, the watcher included, by name, in the order of its start."""
    found = _read(folder / "watcher.json") | _read(folder / "running.json")
    return {name: process for name, process in found.items() if process.runs}


def keep(folder: Path, process: Process) -> None:
    """Have a process kept running, and wait until it was started; one of the same name that runs goes on."""
    _write(folder / "wanted.json", wanted(folder) | {process.name: process})
    if WATCHER not in running(folder):
        command = [sys.executable, "-m", "jenkins.processes", str(folder)]
        start = Process(WATCHER, command, dict(os.environ), str(locations.ROOT))
        _write(folder / "watcher.json", {WATCHER: launch(folder, start)})
    deadline = time.monotonic() + START_SECONDS
    while process.name not in _read(folder / "running.json") and time.monotonic() < deadline:
        time.sleep(LOOK_SECONDS / 10)


def launch(folder: Path, process: Process) -> Process:
    """Start a process that outlives this one; what it prints is added to ``<name>.log``."""
    with open(folder / f"{process.name}.log", "a", encoding="utf-8") as log:
        started = subprocess.Popen(
            process.command,
            cwd=process.folder,
            env=process.environment,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    return dataclasses.replace(process, pid=started.pid, born=_born(started.pid) or "")


def stop(folder: Path) -> bool:
    """Stop the watcher, then all that it kept running, the last first; return whether there was something."""
    before = list(running(folder))
    for name in [WATCHER, *reversed(before)]:
        if process := running(folder).get(name):
            _end(process)
    for file in ("wanted.json", "running.json", "watcher.json"):
        (folder / file).unlink(missing_ok=True)
    return bool(before)


def revive_services(folder: Path, *, stopped: bool = False) -> None:
    """Start services again that were killed, or with ``stopped`` all that ran once and do not now."""
    for name, process in _read(folder / "services.json").items():
        state = _state(folder, name)
        if not process.runs and (stopped or state.exists()) and Path(process.folder).is_dir():
            state.unlink(missing_ok=True)
            noted = _read(folder / "services.json")
            _write(folder / "services.json", noted | {name: launch(folder, process)})


def _note_services(folder: Path) -> None:
    noted = _read(folder / "services.json")
    for state in (folder / "ml" / "services").glob("*.json"):
        name = f"service-{state.stem}"
        with contextlib.suppress(OSError, ValueError, KeyError):  # it is ending, or only starting
            pid = int(json.loads(state.read_text(encoding="utf-8"))["pid"])
            if name in noted and noted[name].runs and noted[name].pid == pid:
                continue
            process = Path(f"/proc/{pid}")
            command = process.joinpath("cmdline").read_text().split("\0")[:-1]
            variables = process.joinpath("environ").read_text().split("\0")
            environment = dict(one.split("=", 1) for one in variables if one)
            if born := _born(pid):
                place = os.readlink(process / "cwd")
                noted[name] = Process(name, command, environment, place, pid, born)
                _write(folder / "services.json", noted)


def _state(folder: Path, name: str) -> Path:
    """Return the file that a noted service holds while it runs, and leaves if it is killed."""
    return folder / "ml" / "services" / f"{name.removeprefix('service-')}.json"


def _forget_stopped(folder: Path, seen: dict[int, float]) -> None:
    """Forget services that ended in order; ``seen`` holds when each was last there, by its number.

    Not at once: when the machine goes down they end too, a moment before this process does.
    """
    noted = _read(folder / "services.json")
    for name, process in list(noted.items()):
        state = _state(folder, name)
        if process.runs:
            if state.exists():
                seen[process.pid] = time.monotonic()
        elif not state.exists() and time.monotonic() - seen.get(process.pid, math.inf) > PAUSE_SECONDS:
            del noted[name]
            _write(folder / "services.json", noted)


def watch(folder: Path) -> None:
    """Keep the wanted processes running until this one is told to end."""
    signal.signal(signal.SIGTERM, _leave)
    started: dict[str, float] = {}
    seen: dict[int, float] = {}
    while True:
        noted = _read(folder / "running.json")
        for name, process in wanted(folder).items():
            rested = time.monotonic() - started.get(name, -PAUSE_SECONDS) >= PAUSE_SECONDS
            if rested and not (name in noted and noted[name].runs):
                started[name] = time.monotonic()
                with contextlib.suppress(OSError):  # its program is not there, maybe not yet
                    noted[name] = launch(folder, process)
                    _write(folder / "running.json", noted)
        _note_services(folder)
        _forget_stopped(folder, seen)
        revive_services(folder)
        with contextlib.suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        time.sleep(LOOK_SECONDS)


def _leave(_: int, __: FrameType | None) -> None:
    sys.exit()


def _end(process: Process) -> None:
    deadline = time.monotonic() + STOP_SECONDS
    with contextlib.suppress(ProcessLookupError):
        os.kill(process.pid, signal.SIGTERM)
        while process.runs:
            if time.monotonic() > deadline:
                os.kill(process.pid, signal.SIGKILL)
            time.sleep(0.1)


def _born(pid: int) -> str | None:
    """Return when a process was started, in clock ticks since boot (proc(5), stat, field 22)."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] == "Z" else fields[19]


def _read(file: Path) -> dict[str, Process]:
    if not file.exists():
        return {}
    content: list[dict[str, Any]] = json.loads(file.read_text(encoding="utf-8"))
    return {one["name"]: Process(**one) for one in content}


def _write(file: Path, processes: dict[str, Process]) -> None:
    aside = file.with_name(f".{file.name}.{os.getpid()}")
    aside.touch(mode=0o600)
    aside.write_text(json.dumps([dataclasses.asdict(one) for one in processes.values()]), encoding="utf-8")
    aside.replace(file)


if __name__ == "__main__":
    watch(Path(sys.argv[1]))
