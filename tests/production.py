"""A channel in production that answered for two weeks, as the store holds it, and what may go wrong there."""

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from sqlalchemy import Table, insert, select

from ml import locations
from ml.data.rows import records
from ml.project import find_project
from ml.registry.versions import Registry
from ml.store.database import open_store
from ml.store.tables import labels, predictions
from ml.training.bundle import load_version
from tests.conftest import Site
from tests.support import register

ROWS, DAY = 1500, 86400.0
CHANGE_DAYS = 6.0  # ago
MONITORING = """
[monitoring]
min_new_labels = 100
train_on = ["concept", "drift and concept"]
"""


@dataclass
class TwoWeeks:
    """Rows in the order of their answers: what was asked, what came true, and who told it, if anybody did.

    ``since`` tells which are of the last six days, in which things go wrong.
    """

    at: np.ndarray
    since: np.ndarray
    inputs: pd.DataFrame
    truth: np.ndarray
    labelled: np.ndarray
    sender: np.ndarray


Spoil = Callable[[TwoWeeks], Any]


def nothing(weeks: TwoWeeks) -> None:
    """All is well."""


def another_world(weeks: TwoWeeks) -> None:
    """Who would have survived does not, and the other way round."""
    weeks.truth = np.where(weeks.since, 1 - weeks.truth, weeks.truth)


def poisoned(weeks: TwoWeeks) -> None:
    """One of two clients tells the opposite of what came true."""
    weeks.truth = np.where(weeks.since & (weeks.sender == "few"), 1 - weeks.truth, weeks.truth)


def one_label(weeks: TwoWeeks) -> None:
    """All labels say the same."""
    weeks.truth = np.where(weeks.since, 1, weeks.truth)


def stopped(weeks: TwoWeeks) -> None:
    """No label comes any more."""
    weeks.labelled &= ~weeks.since


def watch(site: Site) -> Site:
    """Let production serve version 1 of a built site, and the project train again by itself."""
    Registry("small").move("production", register(site), "deploy")
    settings = site.project / "project.toml"
    settings.write_text(settings.read_text() + MONITORING)
    return site


def answer(site: Site, spoil: Spoil = nothing) -> None:
    """Fill the store with answers and labels of two weeks; ``spoil`` changes them after they were given."""
    random = np.random.default_rng(5)
    project = find_project("small")
    test = pd.read_parquet(site.build / "data" / "test.parquet")
    rows = test.sample(ROWS, replace=True, random_state=3).reset_index(drop=True)
    at = np.sort(time.time() - random.uniform(0, 14 * DAY, ROWS))
    truth = rows.pop(project.target).to_numpy()
    said = records(load_version(Registry("small"), 1).predict(rows))
    sender = np.where(np.arange(ROWS) % 3, "many", "few")
    since = at > time.time() - CHANGE_DAYS * DAY
    weeks = TwoWeeks(at, since, rows, truth, np.ones(ROWS, bool), sender)
    spoil(weeks)
    given = records(weeks.inputs.drop(columns="Name"))
    keep(predictions, [answered(n, at[n], given[n], said[n]) for n in range(ROWS)])
    told = [
        {
            "request": f"{n:032x}",
            "row": 0,
            "at": time.time(),
            "label": json.dumps(int(weeks.truth[n])),
            "sender": sender[n],
        }
        for n in np.flatnonzero(weeks.labelled)
    ]
    if told:
        keep(labels, told)


def answered(number: int, at: float, inputs: dict[str, Any], output: dict[str, Any]) -> dict[str, Any]:
    """Return a row of the store: the answer to a request."""
    return {
        "request": f"{number:032x}",
        "row": 0,
        "at": at,
        "project": "small",
        "channel": "production",
        "version": 1,
        "replay": False,
        "inputs": json.dumps(inputs),
        "output": json.dumps(output),
        "milliseconds": 3.0,
    }


def keep(table: Table, rows: list[dict[str, Any]]) -> None:
    """Add rows to a table of the store."""
    url = locations.store("small", "production")
    assert url
    with open_store(url).begin() as connection:
        connection.execute(insert(table), rows)


def kept(table: Table) -> list[Any]:
    """Return the rows of a table of the store."""
    url = locations.store("small", "production")
    assert url
    with open_store(url).connect() as connection:
        return list(connection.execute(select(table)))


def newest_look(site: Site) -> dict[str, Any]:
    """Return what the last look left."""
    found: dict[str, Any] = json.loads((site.build / "monitor" / "look.json").read_text())
    return found
