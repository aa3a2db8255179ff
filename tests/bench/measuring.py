"""How a bench measures, and its ratios to the peers as a file that Jenkins can keep and plot."""

import csv
import resource
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from ml import locations

Figure = TypeVar("Figure")
FILE = locations.ROOT / "build" / "bench.csv"


def begin() -> Path:
    """Begin the file anew."""
    FILE.parent.mkdir(exist_ok=True)
    FILE.write_text("part,figure,ratio\n", encoding="utf-8")
    return FILE


def record(part: str, figure: str, ratio: float) -> None:
    """Add a ratio to the file."""
    with open(FILE, "a", encoding="utf-8", newline="") as stream:
        csv.writer(stream).writerow([part, figure, f"{ratio:.4g}"])


def in_turns(works: Sequence[Callable[[], Figure]], rounds: int) -> list[list[Figure]]:
    """Return what each work gives in every round; a machine that grows slower meanwhile does so for all."""
    found: list[list[Figure]] = [[] for _ in works]
    for _ in range(rounds):
        for own, work in zip(found, works, strict=True):
            own.append(work())
    return found


@contextmanager
def cpu_seconds() -> Iterator[Callable[[], float]]:
    """Yield what tells the CPU seconds since, those of ended child processes included."""

    def used() -> float:
        both = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
        return sum(one.ru_utime + one.ru_stime for one in both)

    start = used()
    yield lambda: used() - start
