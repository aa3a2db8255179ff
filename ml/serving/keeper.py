"""The process that holds the socket of a service: it keeps workers alive, and lets newer ones take over."""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ml.console import say
from ml.errors import MlError
from ml.files import read_json
from ml.serving.workers import (
    GRACE_SECONDS,
    LEAVE,
    LEAVE_SECONDS,
    LOOK_SECONDS,
    SHORT_LIFE_SECONDS,
    forget,
    loaded_file,
)

START_SECONDS = 60.0
# A version that answers this long, with none on trial beside it, is not about to be left again.
SETTLED_SECONDS = 5.0


@dataclass
class Generation:
    """Workers of one code: a group of processes, led by the one that forks them."""

    leader: subprocess.Popen[bytes]
    began: float
    count: int
    status: Path
    metrics: Path
    _until: float = 0.0

    def answers(self) -> bool:
        """Tell whether all its workers say that they do."""
        return sum(1 for _ in self._told()) >= self.count

    def version(self) -> int | None:
        """Return the version that all its workers hold, if each of them tells the same and tries none."""
        found = set()
        for pid in self._told():
            with contextlib.suppress(OSError, MlError):  # it ends now
                told = read_json(self.status / f"{pid}.json")
                found.add(None if told["candidate"] else told["version"])
        return found.pop() if len(found) == 1 else None

    def shared(self) -> list[int] | None:
        """Return the versions that were loaded once for all its workers; none if that was not told."""
        try:
            return list(read_json(loaded_file(self.status, self.leader.pid))["versions"])
        except (OSError, MlError):
            return None

    def is_led(self) -> bool:
        """Tell whether the process that replaces its workers runs."""
        return self.leader.poll() is None

    def end(self) -> None:
        """Let every process of the group end what it is doing, and end."""
        self._ask(signal.SIGTERM, GRACE_SECONDS)
        while not self.has_left():
            time.sleep(LOOK_SECONDS)

    def leave(self) -> None:
        """Let every process of the group end what it is doing: others answer already, so it may take long."""
        self._ask(LEAVE, LEAVE_SECONDS + GRACE_SECONDS)

    def has_left(self) -> bool:
        """Tell whether all are gone that were asked to go; who takes too long is killed."""
        if self._is_there() and time.monotonic() < self._until:
            return False
        self._signal(signal.SIGKILL)
        self.leader.wait()
        return True

    def _ask(self, number: int, seconds: float) -> None:
        """Ask all to go within so many seconds; what they told counts no more."""
        for pid in list(self._told()):
            forget(pid, self.status, self.metrics)
        loaded_file(self.status, self.leader.pid).unlink(missing_ok=True)
        self._until = time.monotonic() + seconds
        self._signal(number)

    def _told(self) -> Iterator[int]:
        for file in self.status.glob("[0-9]*.json"):
            with contextlib.suppress(ProcessLookupError):
                if os.getpgid(pid := int(file.stem)) == self.leader.pid:
                    yield pid

    def _is_there(self) -> bool:
        led = self.is_led()
        with contextlib.suppress(
            ChildProcessError
        ):  # without their leader they may be children of this process
            while not led and os.waitpid(-self.leader.pid, os.WNOHANG)[0]:
                pass
        try:
            os.killpg(self.leader.pid, 0)
        except ProcessLookupError:
            return False
        return True

    def _signal(self, number: int) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.leader.pid, number)


class Sharing:
    """Sees when each worker has loaded for itself what all could share: a version that came after them."""

    def __init__(self, count: int) -> None:
        """Look at so many workers."""
        self._count = count
        self._asked: int | None = None
        self._seen: int | None = None
        self._since = self._looked = 0.0

    def is_lost(self, workers: Generation) -> bool:
        """Tell, once of each version, whether they hold it, do not share it, and it is there to stay."""
        now = time.monotonic()
        if self._count == 1 or now - self._looked < 1 or not workers.answers():
            return False
        self._looked, version = now, workers.version()
        if version != self._seen:
            self._seen, self._since = version, now
        # Asked for twice it would be asked for again and again: who should share it did not start, or cannot.
        if version is None or version == self._asked or now - self._since < SETTLED_SECONDS:
            return False
        shared = workers.shared()
        if shared is None or version in shared:
            return False
        self._asked = version
        return True


def keep_workers(project: str, channel: str, listener: socket.socket, count: int, status: Path) -> None:
    """Run ``count`` workers until interrupted; SIGHUP lets others, with the code as it is then, take over.

    So does a version that workers do not share and could.
    ``status`` is the folder where each worker tells what it serves.
    """
    counters = status / "metrics"
    if counters.is_symlink():  # of a service that was killed: memory that nobody gives back
        shutil.rmtree(counters.readlink(), ignore_errors=True)
    shutil.rmtree(status, ignore_errors=True)
    status.mkdir(parents=True)
    here = Path.cwd()  # by name: new code takes the place of the folder that this process is in
    alive, _ = os.pipe()  # its other end is closed when this process ends, however that happens
    running, leaving = list[Generation](), list[Generation]()
    with tempfile.TemporaryDirectory(prefix="ml-metrics-", dir=_memory_folder()) as metrics:
        counters.symlink_to(metrics)
        # Several processes answer side by side; and threads of OpenMP do not outlive a fork.
        environment = os.environ | {"PROMETHEUS_MULTIPROC_DIR": metrics, "OMP_NUM_THREADS": "1"}
        command = [sys.executable, "-m", "ml.serving.workers", project, channel, str(count)]
        command += [str(listener.fileno()), str(alive), str(status)]

        def begin() -> Generation:
            leader = subprocess.Popen(
                command, cwd=here, env=environment, pass_fds=[listener.fileno(), alive], process_group=0
            )
            running.append(Generation(leader, time.monotonic(), count, status, Path(metrics)))
            return running[-1]

        renewals: list[int] = []
        sharing = Sharing(count)
        signal.signal(signal.SIGHUP, lambda *_: renewals.append(1))
        try:
            last = begin()
            while True:
                time.sleep(LOOK_SECONDS)
                _forget_the_gone(status, Path(metrics))
                leaving = [one for one in leaving if not one.has_left()]
                if sharing.is_lost(running[-1]):
                    say("serve: workers that load the version together take the place of those that did not")
                    renewals.append(1)
                if renewals or (
                    not running[-1].is_led() and time.monotonic() - last.began > SHORT_LIFE_SECONDS
                ):
                    if not renewals:
                        say("serve: the process that keeps the workers ended: another takes its place")
                    renewals.clear()
                    last = begin()
                    leaving += _take_over(running)
        finally:
            for one in (*running, *leaving):
                one.end()
            shutil.rmtree(status, ignore_errors=True)


def _take_over(running: list[Generation]) -> list[Generation]:
    """Return who leaves: the older workers once all of the newest answer, or those if they do not start."""
    newest = running[-1]
    deadline = time.monotonic() + START_SECONDS
    while newest.is_led() and not newest.answers() and time.monotonic() < deadline:
        time.sleep(LOOK_SECONDS)
    if newest.answers():
        say("serve: new workers take over")
        old = running[:-1]
    else:
        say("serve: the new workers did not start: the old ones stay")
        old = [newest]
    for one in old:
        one.leave()
        running.remove(one)
    return old


def _forget_the_gone(status: Path, metrics: Path) -> None:
    """Take away what workers told that ended when nobody led them: who led them forgets all others."""
    for file in status.glob("[0-9]*.json"):
        if not Path("/proc", file.stem).exists():
            forget(int(file.stem), status, metrics)


def _memory_folder() -> str | None:
    """Return a folder in memory: the counters are mapped files, and on a full disk writing one kills."""
    return "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
