"""Break everything on purpose and print who noticed: ``make sabotage``.

Every fault and every harmless change is done to a copy of the repository in which the real commands run; what
is done to the loop of continuous training, to a copy of a site in production.
"""

import argparse
import shutil
import sys
import tempfile
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from rich.table import Table

from ml.console import progress, say
from ml.results import results
from tests.conftest import make_built_site
from tests.sabotage.faults import FAULTS, Fault
from tests.sabotage.harmless import HARMLESS, RESAMPLED, Harmless, resample
from tests.sabotage.loop import LOOP, Sabotage, try_loop
from tests.sabotage.sandbox import STAGES, Sandbox, make_base

AT_ONCE = 2
HARMLESS_FAMILY = "harmless"


@dataclass(frozen=True)
class Outcome:
    """What came of one change: the stage that stopped it, if any, whether that is right, what was said."""

    name: str
    family: str
    stopped: str
    right: bool
    said: str


def try_fault(base: Sandbox, fault: Fault, folder: Path) -> Outcome:
    """Break a copy and run the stages; right is only the stage that must stop it, with its reason."""
    sandbox = base.copy(folder, fault.project)
    if fault.first:
        shutil.rmtree(folder / "home" / "registry")
    held = fault.breaks(sandbox)
    stopped, said = sandbox.ends(fault.start)
    executed = (folder / "pwned").exists()  # what no pickle may leave behind
    del held
    shutil.rmtree(folder)
    line = next((line for line in reversed(said.splitlines()) if line.startswith("error: ")), said[-300:])
    right = stopped == fault.stage and fault.told in said and "Traceback" not in said and not executed
    return Outcome(fault.name, fault.family, stopped, right, line)


def try_harmless(base: Sandbox, change: Harmless, folder: Path) -> Outcome:
    """Change a copy and run the stages; right is that none stops."""
    sandbox = base.copy(folder, change.project)
    change.change(sandbox)
    stopped, said = sandbox.ends(change.start, change.last)
    shutil.rmtree(folder)
    return Outcome(change.name, HARMLESS_FAMILY, stopped, not stopped, said.splitlines()[-1] if said else "")


def main() -> int:
    """Run everything and print the matrix; return 0 if nothing was missed and nothing harmless stopped."""
    parser = argparse.ArgumentParser("python -m tests.sabotage", description=__doc__)
    parser.add_argument("words", nargs="*", metavar="WORD", help="try only what has one of these in its name")
    words = parser.parse_args().words

    def wanted(changes: Iterable[Any]) -> list[Any]:
        return [one for one in changes if not words or any(word in one.name for word in words)]

    faults, harmless = wanted(FAULTS), wanted([*HARMLESS, *map(resample, range(RESAMPLED))])
    with tempfile.TemporaryDirectory(prefix="sabotage-") as folder_name:
        folder = Path(folder_name)
        base = make_base(folder / "base") if faults or harmless else Sandbox(folder)
        tasks: list[partial[Outcome]] = [
            *(partial(try_fault, base, one, folder / f"fault-{n}") for n, one in enumerate(faults)),
            *(partial(try_harmless, base, one, folder / f"harmless-{n}") for n, one in enumerate(harmless)),
        ]
        with ThreadPoolExecutor(AT_ONCE) as pool, progress("sabotage", len(tasks)) as advance:
            outcomes = []
            for outcome in pool.map(_finished, tasks):
                outcomes.append(outcome)
                advance(outcome.name)
                if not outcome.right:  # at once: all of it takes an hour
                    say(f"sabotage: {outcome.name}: not as it must be: {outcome.said}")
        right = sabotage_loop(wanted(LOOP), folder)
    return int(report(outcomes) != 0 or not right)


def sabotage_loop(sabotages: list[Sabotage], folder: Path) -> bool:
    """Do each to the loop and print in what it ended; return whether all did as they must."""
    if not sabotages:
        return True
    base, right = make_built_site(folder / "loop"), []
    table = Table("what is done to the loop", "cause", "asks for", "must be", "")
    with progress("sabotage of the loop", len(sabotages)) as advance:
        for number, one in enumerate(sabotages):
            ended, seen = try_loop(base, one, folder / f"loop-{number}")
            right.append(ended)
            must = one.cause + (", trains" if one.asks else "")
            table.add_row(one.name, seen.cause, seen.asks, must, "as it must" if ended else "otherwise")
            advance(one.name)
    results.print(table)
    return all(right)


def _finished(task: partial[Outcome]) -> Outcome:
    """Return what came of a task; one that cannot even be set up must not lose the others."""
    try:
        return task()
    except Exception as error:
        change = task.args[1]
        return Outcome(
            change.name,
            getattr(change, "family", HARMLESS_FAMILY),
            "",
            False,
            f"could not be tried: {error!r}",
        )


def report(outcomes: list[Outcome]) -> int:
    """Print fault by stage, harmless changes and the sums; return 1 if anything was not as it must be."""
    caught = [one for one in outcomes if one.family != HARMLESS_FAMILY]
    passed = [one for one in outcomes if one.family == HARMLESS_FAMILY]
    matrix = Table("family", "fault", *STAGES, "")
    for one in caught:
        cells = ["x" if stage == one.stopped else "" for stage in STAGES]
        known = "not noticed, a known limit" if one.right else "missed"
        verdict = known if not one.stopped else "caught" if one.right else "caught for another reason"
        matrix.add_row(one.family, one.name, *cells, verdict)
    results.print(matrix)
    for one in outcomes:
        if not one.right:
            results.print(f"{one.name}: stopped at {one.stopped or 'no stage'}: {one.said}", markup=False)
    sums = Table("family", "caught", "tried")
    for family in dict.fromkeys(one.family for one in caught):
        mine = [one for one in caught if one.family == family]
        sums.add_row(family, str(sum(one.right and one.stopped != "" for one in mine)), str(len(mine)))
    sums.add_row("all", str(sum(one.right and one.stopped != "" for one in caught)), str(len(caught)))
    results.print(sums)
    clean = [one for one in passed if one.name.startswith("resampled data")]
    changed = [one for one in passed if one not in clean]
    for name, group in (("harmless changes", changed), ("resampled clean data sets", clean)):
        results.print(f"false alarms: {sum(not one.right for one in group)} of {len(group)} {name}")
    return 0 if all(one.right for one in outcomes) else 1


if __name__ == "__main__":
    sys.exit(main())
