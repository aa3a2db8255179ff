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
from ml.data.rows import records
from ml.training.bundle import load_bundle

CLOCKS = (datetime.timedelta(days=3421, hours=5.3), datetime.timedelta(days=7907, hours=14.7))  # ahead
# Where Python, its libraries and the system lie; what is below says nothing of any row.
LIBRARIES = ("/proc", "/sys", "/usr/lib", "/lib", "/usr/share/zoneinfo", "/etc/localtime")
LIBRARIES += ("/dev/null", "/dev/zero", "/dev/random", "/dev/urandom")  # not /dev/shm
KEYS = (".pub", ".sig")
HARMLESS_PROGRAMS = ("lscpu",)  # joblib counts the cores with it
REAL_DATETIME = datetime.datetime
NETWORK = ("socket.connect", "socket.getaddrinfo", "socket.gethostbyname", "socket.sendto", "socket.bind")
PROGRAMS = ("subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "os.fork")
FILES = ("open", "os.listdir", "os.scandir", "sqlite3.connect")


class Watch:
    """Notes and forbids what is asked for beyond the model's own folder, Python and its libraries."""

    def __init__(self, model: Path) -> None:
        """Watch from now on; there is no way back."""
        self.tried: list[str] = []
        self.phase = "is loaded"
        packages = [sys.prefix, sys.base_prefix, sysconfig.get_path("purelib"), *sys.path[1:]]
        folders = [model, *packages, *LIBRARIES]
        ours = os.path.realpath(locations.ROOT)
        free = {os.path.realpath(one) for one in folders if one} - {ours}
        self._free = tuple(os.path.join(one, "") for one in free)
        # Python lists a folder of these anew when it imports and something was written there meanwhile.
        self._looked_through = {os.path.realpath(one) for one in sys.path}
        self._code = (ours + "/ml/", ours + "/tests/quality/")
        sys.addaudithook(self._hear)

    def _hear(self, event: str, given: tuple[Any, ...]) -> None:
        if event in FILES:
            name = os.fsdecode(given[0]) if isinstance(given[0], str | bytes | os.PathLike) else None
            looks = event == "os.listdir" and name and os.path.realpath(name) in self._looked_through
            if name is not None and not looks and not self._may_read(name):
                self._forbid(f"reads the file {name}")
        elif event in NETWORK:
            self._forbid(f"asks the network for {given[0] if event.startswith('socket.get') else given[1]}")
        elif event in PROGRAMS:
            program = os.path.basename(str(given[0] if given and given[0] else "another process"))
            if program not in HARMLESS_PROGRAMS:
                self._forbid(f"starts the program {program}")

    def _may_read(self, name: str) -> bool:
        path = os.path.realpath(name)
        code = path.startswith(self._code) and (os.path.isdir(path) or path.endswith((".py", ".pyc")))
        return code or (path + os.sep).startswith(self._free) or path.endswith(KEYS) or name == ":memory:"

    def _forbid(self, what: str) -> None:
        told = f"{what} when it {self.phase}"
        if told not in self.tried:
            self.tried.append(told)
        raise PermissionError(f"a model {what}: it must answer from its rows alone")


class _Instances(type):
    """Lets the real dates and times be instances of those below."""

    def __instancecheck__(cls, one: object) -> bool:
        return isinstance(one, cls.__mro__[1])


class Date(datetime.date, metaclass=_Instances):
    """The date by the clock that is ahead."""

    @classmethod
    def today(cls) -> Any:
        """Return the day."""
        return Datetime.now().date()


class Datetime(datetime.datetime, metaclass=_Instances):
    """The time by the clock that is ahead."""

    @classmethod
    def now(cls, tz: Any = None) -> Any:
        """Return the time in a zone, or here."""
        return REAL_DATETIME.now(tz) + Clock.ahead

    @classmethod
    def utcnow(cls) -> Any:
        """Return the time, UTC."""
        return cls.now(datetime.UTC).replace(tzinfo=None)

    @classmethod
    def today(cls) -> Any:
        """Return the time here."""
        return cls.now()


class Clock:
    """How far all clocks are ahead that Python code can ask; NumPy's own ("now") cannot be set."""

    ahead = CLOCKS[0]

    @staticmethod
    def install() -> None:
        """Replace the clocks of ``time``, ``datetime`` and pandas for all who ask or import from now on."""
        real = time.time
        time.time = lambda: real() + Clock.ahead.total_seconds()
        time.time_ns = lambda: int(time.time() * 1e9)
        for name in ("localtime", "gmtime", "ctime"):
            setattr(time, name, _of_now(getattr(time, name)))
        datetime.date, datetime.datetime = Date, Datetime  # type: ignore[misc]
        stamp = pd.Timestamp.now
        pd.Timestamp.now = lambda tz=None: stamp(tz) + Clock.ahead  # type: ignore[method-assign,assignment]
        pd.Timestamp.today = pd.Timestamp.now  # type: ignore[method-assign]
        pd.Timestamp.utcnow = lambda: pd.Timestamp.now("UTC")  # type: ignore[method-assign,assignment]


def _of_now(real: Callable[..., Any]) -> Callable[..., Any]:
    return lambda *given: real(*(given if given and given[0] is not None else (time.time(),)))


def main(model: str, table: str) -> None:
    """Print one JSON object: ``tried``, and if it went well answers by each clock, seconds and memory."""
    rows = pd.read_parquet(table)
    found: dict[str, Any] = {}
    watch = Watch(Path(model))
    try:
        Clock.install()
        start = time.perf_counter()
        bundle = load_bundle(Path(model))
        found["load_seconds"] = time.perf_counter() - start
        rows = rows.drop(columns=bundle.project.target)
        watch.phase = "predicts"
        found["answers"] = records(bundle.predict(rows))
        Clock.ahead = CLOCKS[1]
        found["answers_later"] = records(bundle.predict(rows))
        # Linux counts in units of 1024 bytes
        found["memory_bytes"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    except Exception as error:
        found["error"] = f"{type(error).__name__}: {error}"
    print(json.dumps(found | {"tried": watch.tried}))


if __name__ == "__main__":
    main(*sys.argv[1:])
