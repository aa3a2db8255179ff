"""What people see while work goes on: lines in a log, a bar on a terminal. All of it goes to stderr."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

LOG_EVERY_SECONDS = 5.0


def say(line: str) -> None:
    """Print one line about the work under way."""
    print(line, file=sys.stderr, flush=True)


def rounded(value: float, decimals: int = 4) -> str:
    """Return a score or a cost for people, whatever its unit: very large or small ones in powers of ten."""
    plain = value == 0 or 10 ** (1 - decimals) <= abs(value) < 100_000
    return f"{value:.{decimals}f}" if plain else f"{value:.4g}"


@contextmanager
def progress(title: str, total: int | None) -> Iterator[Callable[[str], None]]:
    """Show that ``total`` pieces of work go on: a bar on a terminal, a line every few seconds in a log.

    Call what it yields once for each finished piece, with a note to show beside the count. Without a total
    nobody knows how many there will be.
    """
    if sys.stderr.isatty():
        with _bar(title, total) as shown:
            yield shown
        return
    done, last = 0, time.monotonic()

    def advance(note: str) -> None:
        nonlocal done, last
        done += 1
        if done == total or time.monotonic() - last >= LOG_EVERY_SECONDS:
            last = time.monotonic()
            say(f"{title}: {done}/{total}  {note}" if total else f"{title}: {note}")

    yield advance


@contextmanager
def _bar(title: str, total: int | None) -> Iterator[Callable[[str], None]]:
    # To import it takes longer than many a command, and a log has no bar.
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.fields[note]}", markup=False),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(title, total=total, note="")
        yield lambda note: bar.update(task, advance=1, note=note)
