"""A Python that has imported what is heavy already, for commands that tests start: seconds less each time.

``python -P tests/warm.py FOLDER PID`` imports, and waits at ``FOLDER/socket`` until that process is gone. For
each call it forks, and the fork becomes what `python` would be: with the caller's arguments, folder,
environment and files. ``FOLDER/python`` is what to call. It knows nothing of this project: a call imports
its own.
"""

import fcntl
import gc
import importlib
import json
import os
import runpy
import selectors
import signal
import socket
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from types import ModuleType
from typing import Any

IMPORTS = """
    pandas pandera.pandas pyarrow.parquet scipy.stats joblib catboost matplotlib.pyplot sqlalchemy alembic
    sklearn.compose sklearn.ensemble sklearn.inspection sklearn.linear_model sklearn.pipeline
    fastapi httpx2 pydantic pytest uvicorn
""".split()
# Hands its files to the server, and ends as the fork does; what it is told to end by, the fork is told.
CLIENT = """
import json, os, signal, socket, sys
server = socket.socket(socket.AF_UNIX)
server.connect(sys.argv[1])
os.umask(mask := os.umask(0))
call = json.dumps([sys.argv[2:], os.getcwd(), dict(os.environ), mask]).encode()
socket.send_fds(server, [len(call).to_bytes(8, "big")], [0, 1, 2])
server.sendall(call)
for one in (signal.SIGTERM, signal.SIGINT):
    signal.signal(one, lambda number, _: server.send(bytes([number])))
status = int.from_bytes(server.recv(4) or sys.exit("error: the warm Python is gone"), "big")
if os.WIFSIGNALED(status):
    if os.WTERMSIG(status) != signal.SIGKILL:
        signal.signal(os.WTERMSIG(status), signal.SIG_DFL)
    os.kill(os.getpid(), os.WTERMSIG(status))
os._exit(os.waitstatus_to_exitcode(status))
"""
LOOK_SECONDS = 1.0
START_SECONDS = 120.0

shared: tuple[Path, int] | None = None  # where tests share it, and the process that it ends with


def python() -> str:
    """Return what to call for a command of Python: what was started once for all tests, or Python itself."""
    return str(_start(*shared)) if shared else sys.executable


class Process(subprocess.Popen[Any]):
    """Any process; the tests of a model are one that imported what is heavy before."""

    def __init__(self, command: Any, *arguments: Any, **more: Any) -> None:
        """Start it as ``subprocess.Popen`` does."""
        if command[:3] == [sys.executable, "-m", "pytest"]:
            command = [python(), *command[1:]]
        super().__init__(command, *arguments, **more)


def _start(folder: Path, until: int) -> Path:
    program = folder / "python"
    folder.mkdir(exist_ok=True)
    with open(folder / "lock", "w") as lock, open(folder / "log", "ab") as log:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not program.exists():
            subprocess.Popen(
                [sys.executable, "-P", __file__, str(folder), str(until)],
                cwd=Path(__file__).parents[1],
                env={name: value for name, value in os.environ.items() if name != "PYTHONPATH"},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
            (folder / "client.py").write_text(CLIENT, encoding="utf-8")
            line = f'exec "{sys.executable}" -IS "{folder}/client.py" "{folder}/socket" "$@"'
            program.write_text(f"#!/bin/sh\n{line}\n", encoding="utf-8")
            program.chmod(0o755)
        deadline = time.monotonic() + START_SECONDS
        while not (folder / "socket").exists():
            assert time.monotonic() < deadline, (folder / "log").read_text()
            time.sleep(0.05)
    return program


class Server:
    """Forks for each call, and tells the caller how the fork ended."""

    def __init__(self, folder: Path, until: int) -> None:
        """Listen; ``until`` is the process that this one ends with."""
        self.until = until
        self.calls: dict[int, socket.socket] = {}
        self.selector = selectors.DefaultSelector()
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(str(folder / "unready"))
        self.listener.listen(16)
        (folder / "unready").rename(folder / "socket")
        self.selector.register(self.listener, selectors.EVENT_READ)
        self.ended, self.wake = os.pipe()
        os.set_blocking(self.wake, False)
        signal.set_wakeup_fd(self.wake)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        self.selector.register(self.ended, selectors.EVENT_READ)

    def serve(self) -> list[str] | None:
        """Return the arguments of a call in the fork that is to run them, or nothing when it is over."""
        while _lives(self.until):
            for key, _ in self.selector.select(LOOK_SECONDS):
                if key.fileobj is self.listener:
                    if (arguments := self._call()) is not None:
                        return arguments
                elif key.fileobj == self.ended:
                    os.read(self.ended, 4096)
                    self._tell()
                elif key.data in self.calls:  # it may have ended a moment ago
                    self._pass_on(key.fileobj, key.data)
        return None

    def _call(self) -> list[str] | None:
        caller, _ = self.listener.accept()
        size, files, _, _ = socket.recv_fds(caller, 8, 3)
        told, part = b"", size
        while part and len(told) < int.from_bytes(size, "big"):
            told += (part := caller.recv(1 << 20))
        if not part:  # it was killed while it asked
            for file in files:
                os.close(file)
            caller.close()
            return None
        if pid := os.fork():
            for file in files:
                os.close(file)
            self.calls[pid] = caller
            self.selector.register(caller, selectors.EVENT_READ, pid)
            return None
        arguments, folder, environment, mask = json.loads(told)
        signal.set_wakeup_fd(-1)
        for number in (signal.SIGCHLD, signal.SIGTERM, signal.SIGINT):
            signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)
        for place, file in enumerate(files):
            os.dup2(file, place)
            os.close(file)
        for one in (caller, self.listener, *self.calls.values()):
            one.close()
        self.selector.close()
        os.close(self.ended)
        os.close(self.wake)
        os.chdir(folder)
        os.umask(mask)
        os.environ.clear()
        os.environ.update(environment)
        time.tzset()
        return list(arguments)

    def _tell(self) -> None:
        with suppress(ChildProcessError):
            while (ended := os.waitpid(-1, os.WNOHANG))[0]:
                pid, status = ended
                caller = self.calls.pop(pid)
                with suppress(KeyError):  # it went before its fork did
                    self.selector.unregister(caller)
                with suppress(OSError):
                    caller.send(status.to_bytes(4, "big"))
                caller.close()

    def _pass_on(self, caller: Any, pid: int) -> None:
        told = caller.recv(1)
        os.kill(pid, told[0] if told else signal.SIGKILL)
        if not told:
            self.selector.unregister(caller)


def _lives(pid: int) -> bool:
    with suppress(ProcessLookupError):
        os.kill(pid, 0)
        return True
    return False


def become(arguments: list[str]) -> None:
    """Run a module (``-m``), code (``-c``) or a file as the program of this process."""
    subprocess.Popen = Process  # type: ignore[misc]
    sys.path[:0] = filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))
    what, *rest = arguments
    if what == "-m":
        sys.path.insert(0, os.getcwd())
        sys.argv = rest
        runpy.run_module(rest[0], run_name="__main__", alter_sys=True)
    elif what == "-c":
        sys.path.insert(0, "")
        sys.argv = ["-c", *rest[1:]]
        sys.modules["__main__"] = program = ModuleType("__main__")
        exec(compile(rest[0], "<string>", "exec"), vars(program))
    elif what.startswith("-"):
        sys.exit(f"error: a warm Python does not know {what}")
    else:
        sys.path.insert(0, str(Path(what).resolve().parent))
        sys.argv = arguments
        runpy.run_path(what, run_name="__main__")


def main() -> None:
    """Import, wait for calls, and in each fork become what was called."""
    for name in IMPORTS:
        importlib.import_module(name)
    gc.freeze()  # nothing that was imported is copied only because a fork counts what refers to it
    global shared
    shared = Path(sys.argv[1]), int(sys.argv[2])  # for what the forks start
    arguments = Server(*shared).serve()
    if arguments is not None:
        become(arguments)


if __name__ == "__main__":
    main()
