"""Sabotage of the loop: what goes wrong with answers, labels, store, clock, people; what each ends in."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from sqlalchemy import func, select

from ml import locations
from ml.monitoring.retrain import BEGIN_HOURS, NEVER_BEGAN
from ml.registry.versions import Registry
from ml.store.database import open_store
from ml.store.tables import labels, looks, predictions, quarantines, trainings
from tests import warm
from tests.conftest import Site
from tests.production import (
    DAY,
    ROWS,
    TwoWeeks,
    another_world,
    answer,
    keep,
    kept,
    nothing,
    one_label,
    poisoned,
    stopped,
    watch,
)
from tests.replay.clock import Clock
from tests.support import KILLED_AT, register

# Of one look, in their order: what of the store is read, decided, and written.
STEPS = [
    ("ml.store.database", "open_store"),
    ("ml.monitoring.looks", "last_looks"),
    ("ml.monitoring.window", "prune"),
    ("ml.monitoring.window", "read_window"),
    ("ml.monitoring.diagnosis", "diagnose"),
    ("ml.monitoring.looks", "asked_for"),
    ("ml.monitoring.retrain", "decide"),
    ("ml.monitoring.looks", "keep_look"),
    ("ml.monitoring.page", "write_page"),
    ("ml.workspace", "write_json"),
]
FLOOD = 20_000


@dataclass(frozen=True)
class Seen:
    """What a look ended in: its cause (``failed`` if it failed), what it asks for, and what it said."""

    cause: str
    asks: str
    said: str


@dataclass(frozen=True)
class Sabotage:
    """One thing that is done to the loop, and the cause, what is asked for, and a part of what is said then.

    ``quarantined`` is whether rows are taken out of training by it.
    """

    name: str
    cause: str
    asks: str
    told: str
    does: Callable[[Site], Seen]
    quarantined: bool = False


def try_loop(base: Site, sabotage: Sabotage, folder: Path) -> tuple[bool, Seen]:
    """Do it to a copy of a site in production; return whether it ended as it must, and in what.

    Whatever it is: never is more than one training on, and nobody sees a traceback.
    """
    with pytest.MonkeyPatch.context() as monkeypatch:
        site = watch(base.copy(folder, monkeypatch))
        seen = sabotage.does(site)
        asked = sum(one.outcome is None for one in kept(trainings))
        right = (seen.cause, seen.asks) == (sabotage.cause, sabotage.asks) and sabotage.told in seen.said
        taken = bool(kept(quarantines)) == sabotage.quarantined
        return right and taken and asked <= 1 and "Traceback" not in seen.said, seen


def look(site: Site, *before: str, **more: str) -> Seen:
    """Let a process of its own look at what is in service, as the job ``monitor`` does."""
    return _seen(_start(site, *before, **more))


def _start(site: Site, *before: str, build: str = "build", **environment: str) -> "subprocess.Popen[str]":
    # A clock of its own is set where Python begins.
    python = sys.executable if "PYTHONPATH" in environment else warm.python()
    command = [python, *(before or ("-m", "ml")), "monitor", "--all"]
    paths = (str(locations.ROOT), environment.get("PYTHONPATH", ""))
    return subprocess.Popen(
        [*command, "--build", str(site.root / build)],
        env=os.environ | environment | {"PYTHONPATH": os.pathsep.join(filter(None, paths))},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def _seen(process: "subprocess.Popen[str]") -> Seen:
    out, error = process.communicate()
    lines = [line.split("\t") for line in out.splitlines()]
    if not lines:
        return Seen("nothing in service", "", error)
    _, follows, why = lines[0]
    cause = "failed" if follows == "failed" else why.split(":")[0]
    return Seen(cause, "train" if follows == "train" else "", f"{why}\n{error}")


def spoiled(spoil: Callable[[TwoWeeks], object]) -> Callable[[Site], Seen]:
    """Return what spoils two weeks of answers and looks at them twice: the second look must add nothing."""

    def does(site: Site) -> Seen:
        answer(site, spoil)
        look(site)
        return look(site)

    return does


def swapped_in_one_slice(weeks: TwoWeeks) -> None:
    """Of the men, age and fare stand in each other's place."""
    rows = weeks.since & (weeks.inputs["Sex"] == "male").to_numpy()
    weeks.inputs.loc[rows, ["Age", "Fare"]] = weeks.inputs.loc[rows, ["Fare", "Age"]].to_numpy()


def without_a_feature(weeks: TwoWeeks) -> None:
    """The log has no fares."""
    weeks.inputs = weeks.inputs.drop(columns="Fare")


def flood(site: Site) -> Seen:
    """Labels for rows that nobody asked for, and others again and again, older than what holds."""
    answer(site)
    now = time.time()
    told = [
        {"request": f"f{n:031x}", "row": 0, "at": now, "label": "1", "since": 1.0, "sender": "x"}
        for n in range(FLOOD)
    ]
    again = [
        {"request": f"{n % ROWS:032x}", "row": 0, "at": now, "label": "1", "since": 1.0, "sender": "x"}
        for n in range(FLOOD)
    ]
    keep(labels, told + again)
    return look(site)


def a_day_twice(site: Site) -> Seen:
    """The newest day but one of answers, once more under other names."""
    answer(site)
    twice = [one for one in kept(predictions) if time.time() - 2 * DAY < one.at < time.time() - DAY]
    known = {one.request: one for one in kept(labels)}
    copies = [dict(one._mapping) | {"request": f"e{one.request[1:]}"} for one in twice]
    keep(predictions, copies)
    about = ("row", "at", "label", "since", "sender")
    keep(
        labels,
        [
            {name: getattr(known[one.request], name) for name in about} | {"request": f"e{one.request[1:]}"}
            for one in twice
        ],
    )
    return look(site)


def clock_back(site: Site) -> Seen:
    """After a look that asks for a training the clock goes back a day, and another look is taken."""
    answer(site, another_world)
    first = look(site)
    assert first.asks == "train", first
    return look(site, **_later(site, -1))


def _later(site: Site, days: float) -> dict[str, str]:
    """Return what a process needs for a clock that is so many days ahead."""
    clock = Clock(site.root / "clock")
    environment = clock.environment()
    clock.move_to(time.time() + days * DAY)
    return environment


def store_away(site: Site) -> Seen:
    """The database cannot be reached; once it is back, one look asks for the training."""
    answer(site, another_world)
    away = look(site, ML_STORE="postgresql+psycopg://nobody@127.0.0.1:9/none")
    assert away.cause == "failed" and "cannot be looked into" in away.said, away
    return look(site)


def killed_anywhere(site: Site) -> Seen:
    """A look dies at each of its steps; what it asked for and nobody heard is asked for again later."""
    answer(site, another_world)
    before = _counts()
    for module, name in STEPS:
        died = _start(site, "-c", KILLED_AT, module, name, "before")
        assert _seen(died).asks == ""
        assert died.returncode == -signal.SIGKILL, f"{name} is no step of a look any more"
    assert "a training is on" in look(site).said
    assert _counts() == before and len(kept(trainings)) == 1, "one training is asked for, nothing is lost"
    later = _later(site, BEGIN_HOURS / 24 + 0.01)
    assert look(site, **later).asks == "train"
    assert [one.outcome for one in kept(trainings)] == [NEVER_BEGAN, None]
    return look(site, **later)


def two_at_once(site: Site) -> Seen:
    """Two agents look at the same moment."""
    answer(site, another_world)
    running = [_start(site, build=f"agent-{n}") for n in range(2)]
    found = sorted((_seen(one) for one in running), key=lambda one: one.asks)
    assert [one.asks for one in found] == ["", "train"] and len(kept(looks)) == 2, found
    return found[1]


def rolled_back(site: Site) -> Seen:
    """A person took the channel back: what they took back is not trained back."""
    registry = Registry("small")
    registry.move("production", register(site, "b"), "deploy")
    registry.move("production", 1, "rollback", "customers complain")
    answer(site, another_world)
    return look(site)


def without_champion(site: Site) -> Seen:
    """Nothing is in service any more."""
    answer(site)
    Registry("small").move("production", None, "undeploy", "closed")
    return look(site)


def _counts() -> tuple[int, ...]:
    url = locations.store("small", "production")
    assert url
    with open_store(url).connect() as connection:
        counted = (select(func.count()).select_from(table) for table in (predictions, labels))
        return tuple(int(connection.execute(one).scalar_one()) for one in counted)


LOOP = [
    Sabotage("nothing", "nothing", "", "", spoiled(nothing)),
    Sabotage("another world, looked at twice", "concept", "", "a training is on", spoiled(another_world)),
    Sabotage("labels of one client poisoned", "labels", "", "of sender few", spoiled(poisoned), True),
    Sabotage("a flood of labels", "nothing", "", "", flood),
    Sabotage("labels all of one class", "labels", "", "of the labels say '1'", spoiled(one_label), True),
    Sabotage("labels that stopped", "labels", "", "labels came for", spoiled(stopped)),
    Sabotage("the clock a day back", "concept", "", "a training is on", clock_back),
    Sabotage(
        "two columns swapped in a slice", "broken feed", "", "Fare", spoiled(swapped_in_one_slice), True
    ),
    Sabotage("a day replayed twice", "nothing", "", "", a_day_twice),
    Sabotage("the database away", "concept", "train", "a row costs", store_away),
    Sabotage("a look killed at each step", "concept", "", "a training is on", killed_anywhere),
    Sabotage("two looks at once", "concept", "train", "a row costs", two_at_once),
    Sabotage("no champion", "nothing in service", "", "", without_champion),
    Sabotage("rolled back by a person", "concept", "", "a person took the channel back", rolled_back),
    Sabotage("a log without a feature", "broken feed", "", "Fare: missing", spoiled(without_a_feature), True),
]
