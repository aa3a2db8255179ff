"""The time machine: how good is production over months, if nobody trains, if each month does, if the monitor?

Dated rows of a project go through the real service, log, labels (as late as they came), monitor, training,
gates, trial and channel, with a clock of their own, as fast as the machine can. Beside that stand the first
version for ever, and an oracle that refits the first version's estimator every week with all labels of the
past. ``--inject`` lets something go wrong on a day.
"""

import argparse
import dataclasses
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

from rich.table import Table

from ml.errors import MlError
from ml.results import results
from tests.replay.clock import Clock
from tests.replay.injected import KINDS, Injected, parse
from tests.replay.picture import draw
from tests.replay.play import Played, Player, day_of
from tests.replay.reckoned import reckon
from tests.replay.stage import Play, set_stage

AT_ONCE = ("monthly", "loop", "reckoned")
MEANING = {
    "never": "never train again",
    "monthly": "every month",
    "loop": "this loop",
    "oracle": "oracle, every week",
}


def main() -> int:
    """Play all policies side by side; print a table, draw a picture, return 1 if one could not be played."""
    parser = argparse.ArgumentParser(prog="python -m tests.replay", description=__doc__)
    parser.add_argument("project", nargs="?", default=os.environ.get("PROJECT") or "flights")
    parser.add_argument(
        "--from", dest="begins", default=os.environ.get("FROM") or "2013-04-01", metavar="DAY"
    )
    parser.add_argument("--until", default=os.environ.get("UNTIL") or None, metavar="DAY")
    parser.add_argument("--label-days", type=float, default=1.0, help="how late labels come (default: 1)")
    parser.add_argument(
        "--inject",
        default=os.environ.get("INJECT") or None,
        metavar="KIND:COLUMN@DAY",
        help=f"what goes wrong from a day on: {', '.join(KINDS)}",
    )
    parser.add_argument("--only", nargs="+", default=AT_ONCE, choices=AT_ONCE)
    parser.add_argument("--into", type=Path, default=Path("build") / "replay")
    parser.add_argument("--policy", choices=AT_ONCE, help=argparse.SUPPRESS)
    options = parser.parse_args()
    try:
        injected = parse(options.inject)
        folder = (options.into / options.project).resolve()
        if options.policy:
            _play(options, folder / options.policy, injected)
            return 0
        return _play_all(options, folder, injected)
    except MlError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1


def _play(options: argparse.Namespace, folder: Path, injected: Injected) -> None:
    """Play one policy in this process, whose clock is the replay's, and leave ``played.json``."""
    play: Play = set_stage(folder, options.project, options.begins, options.label_days, options.until)
    os.environ |= play.environment
    if options.policy == "reckoned":
        found = reckon(play, injected)
    else:
        found = [Player(play, options.policy, injected, folder / "log.txt").run()]
    content = [dataclasses.asdict(one) for one in found]
    (folder / "played.json").write_text(json.dumps(content), encoding="utf-8")


def _play_all(options: argparse.Namespace, folder: Path, injected: Injected) -> int:
    shutil.rmtree(folder, ignore_errors=True)
    running = {}
    for policy in options.only:
        place = folder / policy
        place.mkdir(parents=True)
        command = [sys.executable, "-m", "tests.replay", *sys.argv[1:], "--policy", policy]
        environment = os.environ | Clock(place / "clock").environment()
        running[policy] = subprocess.Popen(command, env=environment, stdin=subprocess.DEVNULL)
    failed = [policy for policy, process in running.items() if process.wait()]
    if failed:
        raise MlError(f"not played: {', '.join(failed)}: see log.txt in {folder}")
    played: list[Played] = []
    for policy in options.only:
        content = json.loads((folder / policy / "played.json").read_text(encoding="utf-8"))
        played += [Played(**one) for one in content]
    played.sort(key=lambda one: list(MEANING).index(one.policy))
    _print(options.project, played, injected)
    draw(folder, options.project, {MEANING[one.policy]: one for one in played})
    results.print(f"picture  {folder / 'replay.png'}", markup=False)
    return 0


def _print(project: str, played: list[Played], injected: Injected) -> None:
    means = {one.policy: sum(one.loss) / len(one.loss) for one in played}
    gain = means["never"] - means["oracle"] if {"never", "oracle"} <= set(means) else 0.0
    table = Table(
        "policy", "a row costs", "of the oracle's gain", "trainings", "deployed", "failed", "CPU s",
        title=f"{project}: {len(played[0].loss):,} rows",
    )  # fmt: skip
    for one in played:
        share = f"{(means['never'] - means[one.policy]) / gain:.0%}" if gain > 0 else ""
        deployed = sum(training["outcome"].startswith("version") for training in one.trainings)
        table.add_row(
            MEANING[one.policy],
            f"{means[one.policy]:.4f}",
            share,
            str(len(one.trainings)),
            str(deployed) if one.policy in ("loop", "monthly") else "",
            str(one.failed + one.refused),
            f"{one.cpu_seconds:.0f}",
        )
    results.print(table)
    loop = next((one for one in played if one.policy == "loop"), None)
    if loop is None:
        return
    told = Table("on", "the look found", "because")
    for found in loop.found:
        told.add_row(day_of(found["at"]), found["cause"], "; ".join(found["why"]))
    results.print(told)
    for training in loop.trainings:
        results.print(f"{day_of(training['at'])}: trained again: {training['outcome']}")
    if injected.kind.cause != "nothing":
        _print_found(loop, injected)


def _print_found(loop: Played, injected: Injected) -> None:
    """Say how long it took from the change to the finding, and from there to a deployed version."""
    right = (injected.kind.cause, f"drift and {injected.kind.cause}")
    found = [one["at"] for one in loop.found if one["at"] >= injected.begins and one["cause"] in right]
    if not found:
        results.print(f"{injected.kind.cause}: not found")
        return
    line = f"{injected.kind.cause}: found {(found[0] - injected.begins) / 3600:.0f} hours after it began"
    deployed = [
        one["at"] for one in loop.trainings if one["at"] >= found[0] and one["outcome"].startswith("version")
    ]
    if deployed:
        line += f", a new version deployed {(deployed[0] - found[0]) / 3600:.0f} hours later"
    results.print(line)


if __name__ == "__main__":
    sys.exit(main())
