"""Load a model in a process where all is otherwise, nothing can be looked up, and the clock is years ahead.

It prints what the model answers there, and every file, address and program that it asked for meanwhile.
"""

import datetime
import json
import os
import resource
import sys
import sysconfig
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd

from ml import locations
from ml.contracts import records
from ml.model import load_bundle

CLOCKS = (datetime.timedelta(days=3421, hours=5.3), datetime.timedelta(days=7907, hours=14.7))  # ahead
# Where Python, its libraries and the system lie; what is below says nothing of any row.
LIBRARIES = ("/proc", "/sys", "/dev", "/usr/lib", "/usr/share/zoneinfo", "/lib", "/etc/localtime", "/etc/ld.so")
KEYS = (".pem", ".sig")
HARMLESS_PROGRAMS = ("lscpu",)  # joblib counts the cores with it
NETWORK = ("socket.connect", "socket.getaddrinfo", "socket.gethostbyname", "socket.sendto", "socket.bind")
PROGRAMS = ("subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "os.fork")
FILES = ("open", "os.listdir", "os.scandir", "sqlite3.connect")


class Watch:
    """Notes and forbids what is asked for beyond the model's own folder, Python and its libraries."""

    def __init__(self, model: Path) -> None:
        """Watch from now on; there is no way back."""
        self.tried: list[str] = []
        self.phase = "is loaded"
        folders = [model, sys.prefix, sys.base_prefix, sysconfig.get_path("purelib"), *LIBRARIES, *sys.path[1:]]
        ours = os.path.realpath(locations.ROOT)
        self._free = tuple({os.path.realpath(one) for one in folders if one} - {ours})
        self._code = (ours + "/ml/", ours + "/tests/quality/")
        sys.addaudithook(self._hear)

    def _hear(self, event: str, given: tuple[Any, ...]) -> None:
        if event in FILES:
            if isinstance(given[0], str | bytes | os.PathLike) and not self._may_read(os.fsdecode(given[0])):
                self._forbid(f"reads the file {os.fsdecode(given[0])}")
        elif event in NETWORK:
            self._forbid(f"asks the network for {given[0] if event.startswith('socket.get') else given[1]}")
        elif event in PROGRAMS:
            program = os.path.basename(str(given[0] if given and given[0] else "another process"))
            if program not in HARMLESS_PROGRAMS:
                self._forbid(f"starts the program {program}")

    def _may_read(self, name: str) -> bool:
        path = os.path.realpath(name)
        code = path.startswith(self._code) and (os.path.isdir(path) or path.endswith((".py", ".pyc")))
        return code or path.startswith(self._free) or path.endswith(KEYS)

    def _forbid(self, what: str) -> None:
        told = f"{what} when it {self.phase}"
        if told not in self.tried:
            self.tried.append(told)
        raise PermissionError(f"a model {what}: it must answer from its rows alone")


class _Instances(type):
    def __instancecheck__(cls, one: object) -> bool:
        return isinstance(one, cls.__mro__[1])


def set_clock(ahead: datetime.timedelta) -> None:
    """Let every clock that Python code can ask show a later time; NumPy's own ("now") cannot be set."""
    for name, real in REAL_TIMES.items():
        setattr(time, name, _later(real, ahead))
    time.time_ns = lambda: int(time.time() * 1e9)  # type: ignore[assignment]

    class Date(REAL_DATE, metaclass=_Instances):  # type: ignore[misc,valid-type]
        @classmethod
        def today(cls) -> Any:
            return (REAL_DATETIME.now() + ahead).date()

    class Datetime(REAL_DATETIME, metaclass=_Instances):  # type: ignore[misc,valid-type]
        @classmethod
        def now(cls, tz: Any = None) -> Any:
            return REAL_DATETIME.now(tz) + ahead

        @classmethod
        def utcnow(cls) -> Any:
            return REAL_DATETIME.now(datetime.UTC).replace(tzinfo=None) + ahead

        @classmethod
        def today(cls) -> Any:
            return REAL_DATETIME.now() + ahead

    datetime.date, datetime.datetime = Date, Datetime  # type: ignore[misc]
    pd.Timestamp.now = lambda tz=None: REAL_STAMP(tz) + ahead  # type: ignore[method-assign,assignment]
    pd.Timestamp.today = pd.Timestamp.now  # type: ignore[method-assign]
    pd.Timestamp.utcnow = lambda: REAL_STAMP("UTC") + ahead  # type: ignore[method-assign,assignment]


def _later(real: Callable[..., Any], ahead: datetime.timedelta) -> Callable[..., Any]:
    if real is REAL_TIMES["time"]:
        return lambda: real() + ahead.total_seconds()
    return lambda *given: real(*(given if given and given[0] is not None else (time.time(),)))


REAL_DATE, REAL_DATETIME, REAL_STAMP = datetime.date, datetime.datetime, pd.Timestamp.now
REAL_TIMES = {name: getattr(time, name) for name in ("time", "localtime", "gmtime", "ctime")}


def main(model: str, table: str) -> None:
    """Print one JSON object: ``tried``, and if it went well answers by each clock, seconds and memory."""
    rows = pd.read_parquet(table)
    found: dict[str, Any] = {}
    watch = Watch(Path(model))
    try:
        set_clock(CLOCKS[0])
        start = time.perf_counter()
        bundle = load_bundle(Path(model))
        found["load_seconds"] = time.perf_counter() - start
        rows = rows.drop(columns=bundle.project.target)
        watch.phase = "predicts"
        found["answers"] = records(bundle.predict(rows))
        set_clock(CLOCKS[1])
        found["answers_later"] = records(bundle.predict(rows))
        # Linux counts in units of 1024 bytes
        found["memory_bytes"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    except Exception as error:
        found["error"] = f"{type(error).__name__}: {error}"
    print(json.dumps(found | {"tried": watch.tried}))


if __name__ == "__main__":
    main(*sys.argv[1:])
