"""The workers of a service: a process that loads the model once, and its forks, which answer on one socket.

What was loaded before a fork takes memory once, however many workers there are, and a worker that ended is
replaced in an instant. ``keeper.py`` starts this process, and another when there is new code, or a version
that workers loaded each and could share.
"""

import contextlib
import gc
import math
import os
import select
import signal
import socket
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any, NoReturn

from ml import locations
from ml.console import say
from ml.errors import MlError
from ml.files import write_json
from ml.workspace import code_digest

if TYPE_CHECKING:
    import uvicorn

    from ml.serving.app import Application

GRACE_SECONDS = 15
ANSWER_SECONDS = GRACE_SECONDS - 3  # of it, for what is being answered
# Who is replaced already need not hurry: a file may take two minutes to come in, and as long to be answered.
LEAVE_SECONDS = 300
LEAVE = signal.SIGUSR1
LINGER_SECONDS = 1.0
# So long a client may be silent that keeps its connection: it goes with the answer to what it asks then.
SILENT_SECONDS = 10.0
LOOK_SECONDS = 0.1
# How long a request waits at most for a thread that works beside it, as the one that writes the log.
SWITCH_SECONDS = 0.0005
# A worker that ends this soon after its start is started again after a pause, not at once.
SHORT_LIFE_SECONDS = 5.0


def running_code() -> str:
    """Return one sha256 over the code of a worker."""
    return code_digest(Path(__file__))


def loaded_file(status: Path, leader: int) -> Path:
    """Return where the process that forks workers tells which versions it loaded for all of them."""
    return status / f"loaded-by-{leader}.json"


def forget(pid: int, status: Path, metrics: Path) -> None:
    """Take away what a process that ended told of itself: it serves nothing any more."""
    (status / f"{pid}.json").unlink(missing_ok=True)
    for file in metrics.glob(f"gauge_live*_{pid}.db"):
        file.unlink(missing_ok=True)


class Workers:
    """Forks of this process that answer; one that ends is replaced."""

    def __init__(self, app: "Application", listener: socket.socket, alive: int, status: Path) -> None:
        """Answer with ``app`` on ``listener``, as long as nobody closes the other end of ``alive``."""
        self._app, self._config = app, _loaded(app)
        self._listener, self._alive, self._status = listener, alive, status
        self._began: dict[int, float] = {}
        self._pause_until = 0.0
        self._ending: signal.Signals | None = None

    def keep(self, count: int) -> None:
        """Run so many workers until this process is told to end, or to leave, or nobody keeps it any more."""
        for one in (signal.SIGTERM, LEAVE):
            signal.signal(one, self._end)
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # who keeps this process is asked, and ends it
        while self._ending is None:
            if time.monotonic() >= self._pause_until:
                for _ in range(count - len(self._began)):
                    self._fork()
            if _has_ended(self._alive, LOOK_SECONDS):
                self._ending = signal.SIGTERM
            for pid, code in self._ended():
                self._replace(pid, code)
        told, deadline = None, math.inf
        while self._began and time.monotonic() < deadline:
            if told != self._ending:  # who leaves may be told to end meanwhile
                told = self._ending
                deadline = time.monotonic() + (LEAVE_SECONDS if told == LEAVE else GRACE_SECONDS)
                self._tell(told)
            for pid, _ in self._ended():
                del self._began[pid]
            time.sleep(LOOK_SECONDS)

    def _tell(self, number: int) -> None:
        for pid in self._began:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)

    def _end(self, number: int, _: object) -> None:
        self._ending = signal.Signals(number)

    def _fork(self) -> None:
        pid = os.fork()
        if pid == 0:
            _answer(self._app, self._config, self._listener, self._alive)
        self._began[pid] = time.monotonic()

    def _ended(self) -> Iterator[tuple[int, int]]:
        """Yield the workers that ended, each with its exit code, below 0 for a signal."""
        for pid in list(self._began):
            ended, code = os.waitpid(pid, os.WNOHANG)
            if ended:
                yield pid, os.waitstatus_to_exitcode(code)

    def _replace(self, pid: int, code: int) -> None:
        lived = time.monotonic() - self._began.pop(pid)
        forget(pid, self._status, Path(os.environ["PROMETHEUS_MULTIPROC_DIR"]))
        if lived < SHORT_LIFE_SECONDS and code >= 0:
            self._pause_until = time.monotonic() + SHORT_LIFE_SECONDS / 2
        say(f"serve: worker {pid} ended ({code}): another takes its place")


def _has_ended(alive: int, seconds: float) -> bool:
    """Tell, after so many seconds at most, whether the process at the other end of a pipe is gone."""
    return bool(select.select([alive], [], [], seconds)[0])


def _loaded(app: "Application") -> "uvicorn.Config":
    """Return how workers answer, with all that they import for it, which is shared, too."""
    import uvicorn
    import uvicorn.loops.uvloop  # noqa: F401

    from ml.serving.heads import LimitedHeads

    config = uvicorn.Config(
        app,
        http=LimitedHeads,
        log_level="warning",
        access_log=False,
        proxy_headers=False,  # who asks is not looked at
        timeout_keep_alive=75,
        timeout_graceful_shutdown=ANSWER_SECONDS,
    )
    config.load()
    return config


def _prepare_store(url: str | None) -> None:
    """Bring the store up to date in a process that ends then: what that imports is no worker's to keep."""
    if url is None:
        return
    from sqlalchemy.exc import SQLAlchemyError

    from ml.store.database import open_store

    if (pid := os.fork()) == 0:
        with contextlib.suppress(
            MlError, SQLAlchemyError, OSError
        ):  # who writes to it tells, and tries again
            open_store(url)
        os._exit(0)
    os.waitpid(pid, 0)


def _answer(app: "Application", config: "uvicorn.Config", listener: socket.socket, alive: int) -> NoReturn:
    """Be a worker until told to end or leave, or the keeper of the service is gone, however it ended."""
    import asyncio  # neither is needed by who only asks for ``running_code``

    import uvicorn

    from ml.serving.accepting import accept_who_waits

    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(LEAVE, signal.SIG_DFL)
    sys.setswitchinterval(SWITCH_SECONDS)

    class Server(uvicorn.Server):
        """Answers those it has accepted before it ends; those that come meanwhile are another worker's."""

        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            asyncio.get_running_loop().add_reader(alive, self._end)
            asyncio.get_running_loop().add_signal_handler(LEAVE, self._leave)
            await super().startup(sockets)
            accepting = accept_who_waits(listener, self._protocol, lambda: self.should_exit)
            self._accepting = asyncio.create_task(accepting)

        def _protocol(self) -> Any:
            made: Any = config.http_protocol_class
            return made(config=config, server_state=self.server_state, app_state=self.lifespan.state)

        def _end(self) -> None:
            asyncio.get_running_loop().remove_reader(alive)
            self.should_exit = True

        def _leave(self) -> None:
            self.config.timeout_graceful_shutdown = LEAVE_SECONDS
            self.should_exit = True

        def _is_leaving(self) -> bool:
            return self.config.timeout_graceful_shutdown == LEAVE_SECONDS

        def handle_exit(self, sig: int, frame: FrameType | None) -> None:
            self.config.timeout_graceful_shutdown = ANSWER_SECONDS
            super().handle_exit(sig, frame)

        async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
            for server in self.servers:
                server.close()
            app.end()
            await asyncio.sleep(LINGER_SECONDS)
            silent_until = time.monotonic() + SILENT_SECONDS
            while self._is_leaving() and self.server_state.connections and time.monotonic() < silent_until:
                await asyncio.sleep(LOOK_SECONDS)
            await super().shutdown(sockets)

    with contextlib.suppress(KeyboardInterrupt):
        Server(config).run(sockets=[listener])
    sys.exit(0)


def main() -> None:
    """Load the champion, then let workers answer; what cannot be loaded now, each of them tries to."""
    from ml.serving.app import create_app

    project, channel, count, descriptor, alive, status = sys.argv[1:]
    app = create_app(project, channel, status=Path(status))
    follower = app.state.worker.follower
    follower.follow()
    with contextlib.suppress(OSError):  # a full disk: then nobody asks for workers that share more
        write_json(loaded_file(Path(status), os.getpid()), {"versions": follower.loaded}, lasting=False)
    for file in Path(os.environ["PROMETHEUS_MULTIPROC_DIR"]).glob(f"*_{os.getpid()}.db"):
        file.unlink()  # this process serves nothing
    _prepare_store(locations.store(project, channel))
    workers = Workers(app, socket.socket(fileno=int(descriptor)), int(alive), Path(status))
    # A collection would write to every page that is shared.
    gc.collect()
    gc.freeze()
    workers.keep(int(count))


if __name__ == "__main__":
    main()
