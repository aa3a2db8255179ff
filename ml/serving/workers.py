"""Workers: processes that answer on one listening socket, and the parent that keeps them alive."""

import asyncio
import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from ml.console import say
from ml.workspace import code_digest

Worker = tuple[subprocess.Popen[bytes], float]  # and when it began

START_SECONDS = 60.0
GRACE_SECONDS = 15
LINGER_SECONDS = 1.0
LOOK_SECONDS = 0.1
# How long a request waits at most for a thread that works beside it, as the one that writes the log.
SWITCH_SECONDS = 0.0005
# A worker that ends this soon after its start is started again after this pause, not at once.
SHORT_LIFE_SECONDS = 5.0


def keep_workers(project: str, channel: str, listener: socket.socket, count: int, status: Path) -> None:
    """Run ``count`` workers until interrupted; one that ends is replaced.

    ``status`` is the folder where each worker tells what it serves.
    """
    shutil.rmtree(status, ignore_errors=True)
    status.mkdir(parents=True)
    here = Path.cwd()  # by name: new code takes the place of the folder that this process is in
    with tempfile.TemporaryDirectory(prefix="ml-metrics-", dir=_memory_folder()) as metrics:
        environment = os.environ | {"PROMETHEUS_MULTIPROC_DIR": metrics}
        command = [sys.executable, "-m", "ml.serving.workers", project, channel]
        command += [str(listener.fileno()), str(status)]

        def begin() -> Worker:
            process = subprocess.Popen(command, cwd=here, env=environment, pass_fds=[listener.fileno()])
            return process, time.monotonic()

        workers = [begin() for _ in range(count)]
        renewals: list[int] = []
        signal.signal(signal.SIGHUP, lambda *_: renewals.append(1))
        try:
            while True:
                time.sleep(LOOK_SECONDS)
                if renewals:
                    renewals.clear()
                    workers = _renew(workers, [begin() for _ in range(count)], status, Path(metrics))
                for place, (worker, began) in enumerate(workers):
                    if worker.poll() is None:
                        continue
                    _forget(worker.pid, status, Path(metrics))
                    if time.monotonic() - began > SHORT_LIFE_SECONDS or worker.returncode < 0:
                        say(
                            f"serve: worker {worker.pid} ended ({worker.returncode}): another takes its place"
                        )
                        workers[place] = begin()
                    elif time.monotonic() - began > SHORT_LIFE_SECONDS / 2:
                        workers[place] = begin()
        finally:
            _end([worker for worker, _ in workers])
            shutil.rmtree(status, ignore_errors=True)


def running_code() -> str:
    """Return one sha256 over the code of a worker."""
    return code_digest(Path(__file__))


def _renew(old: list[Worker], new: list[Worker], status: Path, metrics: Path) -> list[Worker]:
    """Return new workers, which run the code as it is now, once all of them answer; else the old ones."""
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and all(worker.poll() is None for worker, _ in new):
        if all((status / f"{worker.pid}.json").exists() for worker, _ in new):
            say("serve: new workers take over")
            break
        time.sleep(LOOK_SECONDS)
    else:
        say("serve: the new workers did not start: the old ones stay")
        old, new = new, old
    _end([worker for worker, _ in old])
    for worker, _ in old:
        _forget(worker.pid, status, metrics)
    return new


def _end(workers: list[subprocess.Popen[bytes]]) -> None:
    for worker in workers:
        worker.terminate()
    for worker in workers:
        try:
            worker.wait(GRACE_SECONDS)
        except subprocess.TimeoutExpired:
            worker.kill()


def _forget(pid: int, status: Path, metrics: Path) -> None:
    (status / f"{pid}.json").unlink(missing_ok=True)
    for file in metrics.glob(f"gauge_live*_{pid}.db"):
        file.unlink(missing_ok=True)


def _memory_folder() -> str | None:
    """Return a folder in memory: the counters are mapped files, and on a full disk writing one kills."""
    return "/dev/shm" if os.access("/dev/shm", os.W_OK) else None


def _work(project: str, channel: str, descriptor: int, status: Path) -> None:
    import uvicorn

    from ml.serving.app import create_app

    _end_with_parent()
    sys.setswitchinterval(SWITCH_SECONDS)
    listener = socket.socket(fileno=descriptor)
    config = uvicorn.Config(
        create_app(project, channel, status=status),
        log_level="warning",
        access_log=False,
        proxy_headers=False,  # who asks is not looked at
        timeout_keep_alive=75,
        timeout_graceful_shutdown=GRACE_SECONDS - 3,
    )

    class Server(uvicorn.Server):
        """Answers those it has accepted before it ends; those that come meanwhile are another worker's."""

        async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
            for server in self.servers:
                server.close()
            await asyncio.sleep(LINGER_SECONDS)
            await super().shutdown(sockets)

    with contextlib.suppress(KeyboardInterrupt):
        Server(config).run(sockets=[listener])


def _end_with_parent() -> None:
    """Ask the kernel to end this process when its parent is gone, however that ended."""
    import ctypes

    parent = os.getppid()
    ctypes.CDLL(None).prctl(1, signal.SIGTERM)  # PR_SET_PDEATHSIG
    if os.getppid() != parent:
        sys.exit(1)


if __name__ == "__main__":
    _work(sys.argv[1], sys.argv[2], int(sys.argv[3]), Path(sys.argv[4]))
