"""How well the monitor names causes: injected against found ones, and false trainings of quiet years."""

from collections import Counter

import numpy as np
import pandas as pd
from rich.table import Table

from ml.console import results
from ml.monitoring.checks import see
from ml.monitoring.window import DAY, Window
from tests.world import INJECTED, ROWS_A_DAY, World, look_at, project

SEEDS = 20
DAYS = 364


def name_causes() -> None:
    """Print both tables."""
    confusion()
    quiet_years()


def confusion() -> None:
    """Inject each cause in many worlds, look six days later, and print what was found."""
    causes = sorted({one.cause for one in INJECTED.values()})
    table = Table("injected", "should be", *causes, title=f"{SEEDS} worlds each")
    for name, injected in INJECTED.items():
        found = Counter(look_at(injected, seed)[0].cause for seed in range(SEEDS))
        table.add_row(name, injected.cause, *(str(found[cause] or "") for cause in causes))
    results.print(table)


def quiet_years() -> None:
    """Let many worlds go on for a year without a change; print in how many a training would have begun.

    Every day one look at the labels of the week before. A look names a cause that trains only if quality is
    lost, so these are all the trainings there can be.
    """
    false = [seed for seed in range(SEEDS) if _alarms(seed)]
    results.print(f"false trainings in {DAYS // 7} quiet weeks: in {len(false)} of {SEEDS} years")


def _alarms(seed: int) -> int:
    """Return on how many days of a quiet year quality is said to be lost."""
    world, made = World(1000 + seed), project()
    past = np.sort(world.random.uniform(-60, 0, 3000))
    before = world.answers(past, world.inputs(past))
    truth = before.told["label"].astype(int)
    reference = pd.concat([before.inputs, before.said], axis=1).assign(answer=truth)
    days = np.sort(world.random.uniform(0, DAYS + 8, ROWS_A_DAY * (DAYS + 8)))
    answers = world.answers(days, world.inputs(days))
    answers.told["labelled"] = True  # all come: none must be weighted
    alarms = 0
    for day in range(8, DAYS + 8):
        matured = answers.part((days <= day - 1) & (days > day - 8))
        nothing = answers.part(np.zeros(len(days), bool))
        seen = see(made, reference, Window(day * DAY, 1, nothing, nothing, matured))
        alarms += any(one.lost for one in seen.quality)
    return alarms
