"""The whole loop in many worlds: how long a cause goes on until it is found, and until it is mended."""

import os
import tempfile
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pandas as pd
from rich.table import Table

from ml.console import say
from ml.results import results
from tests.replay.injected import KINDS
from tests.replay.play import Played
from tests.replay.small_world import BEGINS, replay

CHANGE = "2025-02-13"
COLUMNS = {"lower": "kind", "missing": "kind", "drift": "age", "stopped": "", "flooded": ""}
TRAINS = ("concept",)
HOUR = 3600.0


def play_loops(seeds: int) -> None:
    """Print what real services, looks, trainings and deploys made of each cause, a look a day."""
    header = (
        "injected",
        "should be",
        "found in",
        "first found",
        "hours to it",
        "to a new version",
        "trained for nothing",
    )
    table = Table(
        *header, title=f"The whole loop, {seeds} worlds each, from {BEGINS} on; changed on {CHANGE}"
    )
    with ThreadPoolExecutor(os.cpu_count()) as pool:  # each world is played by processes of its own
        worlds = {
            name: [pool.submit(_play, name, seed) for seed in range(seeds)] for name in ("nothing", *KINDS)
        }
        for name, own in worlds.items():
            cause = KINDS[name].cause if name in KINDS else "nothing"
            table.add_row(name, cause, *_told(cause, [one.result() for one in own]))
    results.print(table)


def _play(name: str, seed: int) -> Played:
    injected = [] if name == "nothing" else ["--inject", f"{name}:{COLUMNS.get(name, 'size')}@{CHANGE}"]
    with tempfile.TemporaryDirectory(prefix="ml-loop-") as folder:
        loop = replay(Path(folder), "--only", "loop", *injected, seed=seed)[1]["loop"]
    causes = ", ".join(one["cause"] for one in loop.found)
    say(f"{name}, world {seed}: {causes}; {len(loop.trainings)} trainings")
    return loop


def _told(cause: str, played: list[Played]) -> list[str]:
    change = pd.Timestamp(CHANGE, tz="UTC").timestamp()
    first, hours, deployed, wrong = Counter[str](), list[float](), list[float](), 0
    for loop in played:
        causes = [one for one in loop.found if one["at"] >= change and one["cause"] != "nothing"]
        first[causes[0]["cause"] if causes else "nothing"] += 1
        right = [one["at"] for one in causes if one["cause"] in (cause, f"drift and {cause}")]
        asked = [one for one in loop.trainings if right and cause in TRAINS and one["at"] > right[0] - HOUR]
        wrong += len(loop.trainings) - len(asked)
        new = [one["at"] for one in asked if one["outcome"].startswith("version")]
        hours += [(at - change) / HOUR for at in right[:1]]
        deployed += [(at - right[0]) / HOUR for at in new[:1]]
    found = first["nothing"] if cause == "nothing" else len(hours)
    told = ", ".join(f"{name} {count}" for name, count in first.most_common())
    return [f"{found} of {len(played)}", told, _spread(hours), _spread(deployed), str(wrong or "")]


def _spread(hours: list[float]) -> str:
    return f"{np.median(hours):.0f} ({min(hours):.0f} to {max(hours):.0f})" if hours else ""
