"""What a machine has left: disk, what fills it, for how long it lasts; memory, ports, its clock."""

import json
import os
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import psutil

from ml import locations
from ml.project import Project
from ml.serving import service
from ml.upkeep.findings import OK, REFUSED, WARNING, Finding

MEGABYTE = 1_000_000
MIN_FREE_BYTES = 500 * MEGABYTE
MIN_FREE_FILES = 10_000
MIN_MEMORY_BYTES = 500 * MEGABYTE
MIN_DAYS_LEFT = 14.0
MAX_LOG_BYTES = 1_000 * MEGABYTE
MAX_CLOCK_SECONDS = 2.0
LARGEST = 3
# How full it was is noted at most so often, and so many notes are kept: a month of hours.
NOTE_SECONDS = 3600.0
MAX_NOTES = 720
MIN_GROWTH_SECONDS = 86400.0


@dataclass(frozen=True)
class Filled:
    """How many bytes a home held at a time (Unix), and how many of them its logs."""

    at: float
    used: int
    logs: int


def disk(build: Path) -> Iterator[Finding]:
    """Tell what is free where builds write, and whether one has room; what is to read only fills by no build.

    A build writes its folder beside the last one, and a version is a copy of most of it: twice what the last
    build takes must be free, and ``MIN_FREE_BYTES``.
    """
    needed = MIN_FREE_BYTES + 2 * size_of(build)
    for place in _file_systems(build, locations.home(), locations.registry()):
        found, files = psutil.disk_usage(str(place)), os.statvfs(place).f_favail
        told = f"{_readable(found.free)} of {_readable(found.total)} free at {place}"
        if found.free < needed:
            yield Finding(
                REFUSED, "disk", f"{told}, a build needs {_readable(needed)}: `doctor --prune` makes room"
            )
        elif os.statvfs(place).f_files and files < MIN_FREE_FILES:
            yield Finding(REFUSED, "disk", f"{place} has room for {files} more files only: delete some")
        else:
            yield Finding(OK, "disk", told)


def growth(build: Path) -> Iterator[Finding]:
    """Tell the largest folders, and how long the disk lasts if the home grows on as it did in a month."""
    home = locations.home()
    folders = {one: size_of(one) for one in (*_folders(home), build.parent) if one.is_dir()}
    largest = sorted(folders, key=lambda one: folders[one], reverse=True)[:LARGEST]
    yield Finding(OK, "largest", ", ".join(f"{one} {_readable(folders[one])}" for one in largest) or "none")
    logs = {file: file.stat().st_size for file in (home / "services").glob("*.log")}
    notes = _note(home, Filled(time.time(), sum(folders.values()), sum(logs.values())))
    first, last = notes[0], notes[-1]
    days = (last.at - first.at) / 86400
    grown = (
        f" (+{(last.logs - first.logs) / days / MEGABYTE:.1f} MB a day)" if _long_enough(first, last) else ""
    )
    told = f"{_readable(sum(logs.values()))} in {len(logs)} logs of services{grown}"
    too_large = max(logs.values(), default=0) > MAX_LOG_BYTES
    yield Finding(WARNING if too_large else OK, "logs", told + (": restart or rotate" if too_large else ""))
    if _long_enough(first, last) and last.used > first.used:
        left = psutil.disk_usage(str(_existing(home))).free / ((last.used - first.used) / days)
        yield Finding(
            WARNING if left < MIN_DAYS_LEFT else OK,
            "growth",
            f"the disk lasts {left:,.0f} days as it fills now",
        )


def memory() -> Iterator[Finding]:
    """Tell the memory that is available, in a container that of its limit."""
    available = psutil.virtual_memory().available
    limit, used = (_number(Path("/sys/fs/cgroup") / name) for name in ("memory.max", "memory.current"))
    if limit is not None and used is not None:
        available = min(available, limit - used)
    state = OK if available >= MIN_MEMORY_BYTES else WARNING
    yield Finding(
        state, "memory", f"{_readable(available)} available" + ("" if state == OK else ": a fit may fail")
    )


def ports(project: Project) -> Iterator[Finding]:
    """Tell who listens on the port of each channel: its service, nobody, or another program."""
    listening = {
        one.laddr.port: one.pid
        for one in psutil.net_connections("inet")
        if one.status == psutil.CONN_LISTEN and one.laddr
    }
    for channel, settings in project.channels.items():
        running = service.find(project.name, channel)
        port = int(running.url.rpartition(":")[2]) if running else settings.port
        told = f"{port} ({channel})"
        if running:
            yield Finding(OK, "port", f"{told}: our service, process {running.pid}")
        elif port in listening:
            yield Finding(
                WARNING, "port", f"{told}: held by {_program(listening[port])}: end it, or take another port"
            )
        else:
            yield Finding(OK, "port", f"{told}: free")


def clock() -> Iterator[Finding]:
    """Tell whether this clock and that of the registry's disk agree: it may be another machine's."""
    place = _existing(locations.registry())
    if not os.access(place, os.W_OK):
        yield Finding(OK, "clock", f"not compared: {place} is to read only here")
        return
    try:
        with tempfile.NamedTemporaryFile(dir=place, prefix=".clock-") as file:
            apart = abs(os.fstat(file.fileno()).st_mtime - time.time())
    except OSError as error:
        yield Finding(WARNING, "clock", f"not compared: nothing can be written to {place}: {error.strerror}")
        return
    if apart > MAX_CLOCK_SECONDS:
        yield Finding(WARNING, "clock", f"{apart:.0f} s from that of {place}: let NTP set both")
    else:
        yield Finding(OK, "clock", f"as that of {place}")


def size_of(folder: Path) -> int:
    """Return the bytes of all files below a folder; what cannot be read, or goes meanwhile, is left out."""
    total = 0
    for path, _, names in os.walk(folder):
        for name in names:
            try:
                total += os.lstat(os.path.join(path, name)).st_size
            except OSError:
                continue
    return total


def _file_systems(*places: Path) -> list[Path]:
    """Return the first place on each file system that can be written to."""
    there = [one for one in map(_existing, places) if os.access(one, os.W_OK)]
    found = {os.stat(one).st_dev: one for one in reversed(there)}
    return list(dict.fromkeys(reversed(found.values())))


def _existing(place: Path) -> Path:
    return next(one for one in (place, *place.parents) if one.is_dir())


def _folders(home: Path) -> list[Path]:
    return sorted(one for one in home.glob("*") if one.is_dir()) if home.is_dir() else []


def _note(home: Path, filled: Filled) -> list[Filled]:
    """Add to the notes on how full a home was, and return those of a month; without a home there is one."""
    file = home / "doctor.jsonl"
    notes: list[Filled] = []
    try:
        for line in file.read_text(encoding="utf-8").splitlines():
            notes.append(Filled(**json.loads(line)))
    except (OSError, ValueError, TypeError):
        notes = []
    if not notes or filled.at - notes[-1].at >= NOTE_SECONDS:
        kept = [*notes, filled][-MAX_NOTES:]
        try:
            file.write_text("".join(json.dumps(asdict(one)) + "\n" for one in kept), encoding="utf-8")
        except OSError:  # a full disk, or one that is not ours: the other findings tell
            pass
    return [*notes, filled]


def _long_enough(first: Filled, last: Filled) -> bool:
    return last.at - first.at >= MIN_GROWTH_SECONDS


def _number(file: Path) -> int | None:
    try:
        return int(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):  # no such limit
        return None


def _program(pid: int | None) -> str:
    try:
        return f"{psutil.Process(pid).name()}, process {pid}" if pid else "another user's program"
    except psutil.Error:
        return f"process {pid}"


def _readable(size: float) -> str:
    return f"{size / 1_000_000_000:,.1f} GB" if size >= 1_000_000_000 else f"{size / MEGABYTE:,.1f} MB"
