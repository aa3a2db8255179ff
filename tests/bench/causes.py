"""How well the monitor names causes: injected against found ones, and false trainings of quiet years."""

from collections import Counter
from collections.abc import Callable

import numpy as np
import pandas as pd
from rich.table import Table

from ml.monitoring.checks import see
from ml.monitoring.estimate import estimate
from ml.monitoring.losses import losses
from ml.monitoring.window import DAY, Window
from ml.results import results
from tests.world import (
    INJECTED,
    ROWS_A_DAY,
    Injected,
    Rows,
    World,
    look_at,
    produce,
    project,
    project_of_numbers,
    rows_of_classes,
    rows_of_numbers,
)

SEEDS = 20
DAYS = 364
DAYS_TO_FIND, HOURS_A_LOOK = 10, 6
TRAINS = ("concept", "drift and concept")
WINDOWS = 100


def name_causes() -> None:
    """Print what is found, what is trained for nothing, and how often an estimate holds."""
    confusion()
    delays()
    quiet_years()
    coverage()


def confusion() -> None:
    """Inject each cause in many worlds, look six days later, and print what was found."""
    causes = sorted({one.cause for one in INJECTED.values()})
    table = Table("injected", "should be", *causes, title=f"{SEEDS} worlds each")
    for name, injected in INJECTED.items():
        found = Counter(look_at(injected, seed)[0].cause for seed in range(SEEDS))
        table.add_row(name, injected.cause, *(str(found[cause] or "") for cause in causes))
    results.print(table)


def delays() -> None:
    """Print how long each cause goes on until it is found, by a look every few hours.

    Of what is found before that, what would train is counted: a cause that is named so for a while trains
    for nothing.
    """
    header = ("injected", "found in", "hours: median", "least", "most", "trained before")
    table = Table(*header, title=f"Until a look finds it, every {HOURS_A_LOOK} hours")
    for name, injected in INJECTED.items():
        if injected.cause == "nothing":
            continue
        found = [_until_found(injected, seed) for seed in range(SEEDS)]
        hours = [hour for hour, _ in found if hour is not None]
        figures = [f"{figure(hours):.0f}" if hours else "" for figure in (np.median, min, max)]
        wrong = sum(trained for _, trained in found)
        table.add_row(name, f"{len(hours)} of {SEEDS}", *figures, str(wrong or ""))
    results.print(table)


def _until_found(injected: Injected, seed: int) -> tuple[int | None, bool]:
    """Return after how many hours a look first names the cause, and whether one before that would train."""
    made, trained = produce(injected, seed, days=8.0 + DAYS_TO_FIND), False
    for hour in range(HOURS_A_LOOK, DAYS_TO_FIND * 24 + 1, HOURS_A_LOOK):
        cause = made.look(made.changes + hour / 24)[0].cause
        if cause == injected.cause:
            return hour, trained
        trained |= cause in TRAINS and injected.cause not in TRAINS
    return None, trained


def quiet_years() -> None:
    """Let many worlds go on for a year without a change; print in how many a training would have begun.

    Every day one look at the labels of the week before. A look names a cause that trains only if quality is
    lost or answers come true otherwise than stated, so these are all the trainings there can be.
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
        off = seen.calibration is not None and seen.calibration.off
        alarms += off or any(one.lost for one in seen.quality)
    return alarms


def coverage() -> None:
    """Print how often the interval of an estimate held the loss that came true."""
    table = Table("model", "inputs", "windows", "held", title="Quality that is estimated")
    for model, make in (("of classes", rows_of_classes), ("of numbers", rows_of_numbers)):
        for drift, inputs in ((False, "the same"), (True, "others")):
            held = [holds(make, seed, drift) for seed in range(WINDOWS)]
            table.add_row(model, inputs, str(WINDOWS), f"{np.mean(held):.0%}")
    results.print(table)


def holds(make: Callable[..., Rows], seed: int, drift: bool) -> bool:
    """Tell whether the interval of the estimate for a week holds what its rows lost in truth."""
    world = World(seed)
    made = project() if make is rows_of_classes else project_of_numbers()
    before, now = make(world, 0, 60, 3000), make(world, 60, 67, 1400, drift=drift)
    found = estimate(made, before.reference, now.inputs, now.said)
    assert found
    low, high = found.interval
    return bool(low <= losses(made, now.said, now.truth).mean() <= high)
