"""Changes that break nothing: whoever stops them raises a false alarm."""

import csv
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from tests.sabotage.faults import code, environment, grid, rows, settings, some, text, together
from tests.sabotage.sandbox import GRID, Sandbox

RESAMPLED = 20


@dataclass(frozen=True)
class Harmless:
    """One change that must pass every stage from ``start`` to ``last``."""

    name: str
    change: Callable[[Sandbox], Any]
    project: str = "titanic"
    start: str = "data"
    last: str = "deploy"


def add_rows(table: pd.DataFrame) -> pd.DataFrame:
    """Add forty passengers much like those there are."""
    more = table.sample(40, random_state=1)
    return pd.concat(
        [
            table,
            more.assign(
                PassengerId=more["PassengerId"] + 100_000,
                Name="New" + more["Name"],
                Fare=(more["Fare"] * 1.03).round(2),
                Ticket="N " + more["Ticket"],
            ),
        ]
    )


def correct_some(table: pd.DataFrame) -> pd.DataFrame:
    """Correct the age of one passenger in a hundred."""
    return table.assign(Age=table["Age"].mask(some(table, 0.01), (table["Age"] + 1).clip(upper=80)))


def other_folder(sandbox: Sandbox) -> None:
    """Move everything to a folder whose name has blanks and letters beyond ASCII."""
    target = sandbox.root / "bäck up"
    sandbox.repository.rename(target)
    sandbox.repository.symlink_to(target)


def in_quotes(sandbox: Sandbox) -> None:
    """Write every value in quotes."""
    table = pd.read_csv(sandbox.table, dtype=str, keep_default_na=False)
    table.to_csv(sandbox.table, index=False, quoting=csv.QUOTE_ALL)


def without_unlabelled(sandbox: Sandbox) -> None:
    """Leave out the rows to predict for."""
    settings('unlabelled = "data/test.csv"\n', "")(sandbox)
    (sandbox.folder / "data" / "test.csv").unlink()


def resample(seed: int) -> Harmless:
    """Return nine tenths of the passengers, drawn anew."""
    return Harmless(
        f"resampled data {seed + 1}", rows(lambda table: table.sample(frac=0.9, random_state=seed))
    )


def reseed(seed: int, project: str) -> Harmless:
    """Return the same rows, split, folded and fitted with another seed."""
    return Harmless(f"{project} with seed {seed}", settings("seed = 42 ", f"seed = {seed} "), project)


CLOCKWORK = {"TZ": "Asia/Kathmandu", "LC_ALL": "C", "LANG": "C"}

HARMLESS = [
    Harmless("nothing changed", lambda sandbox: None),
    Harmless("everything run again", lambda sandbox: sandbox.arguments.append("--force")),
    Harmless("rows in another order", rows(lambda table: table.sample(frac=1, random_state=1))),
    Harmless("ids counted anew", rows(lambda table: table.assign(PassengerId=table["PassengerId"] + 5000))),
    Harmless("columns in another order", rows(lambda table: table[table.columns[::-1]])),
    Harmless("a column more", rows(lambda table: table.assign(Deck="A"))),
    *(reseed(seed, project) for project in ("titanic", "temperature") for seed in range(43, 49)),
    Harmless("5 % fewer rows", rows(lambda table: table[~some(table, 0.05)])),
    Harmless("5 % more rows", rows(add_rows)),
    Harmless("1 % of the ages corrected", rows(correct_some)),
    Harmless(
        "2 % of the ages lost", rows(lambda t: t.assign(Age=t["Age"].mask(some(t, 0.02) & (t.index > 800))))
    ),
    Harmless("Windows line ends", text(lambda content: content.replace(b"\n", b"\r\n"))),
    Harmless("a byte order mark", text(lambda content: b"\xef\xbb\xbf" + content)),
    Harmless("everything in quotes", in_quotes),
    Harmless("whole numbers written with a point", rows(lambda t: t.assign(Age=t["Age"].astype(float)))),
    Harmless(
        "a comment in the code",
        code("ml/errors.py", "class MlError", "# nothing new\nclass MlError"),
        start="lint",
    ),
    Harmless(
        "a comment in the features",
        code("ml/projects/titanic/features.py", "COMMON =", "# as before\nCOMMON ="),
        start="lint",
    ),
    Harmless("a comment in the settings", settings("[split]\n", "# as before\n[split]\n")),
    Harmless("another title", settings("did this passenger survive?", "who survived?")),
    Harmless("candidates in another order", grid(dict(reversed(GRID.items())))),
    Harmless("one candidate more", grid(GRID | {"DecisionTreeClassifier": {"max_depth": [3]}})),
    Harmless("another time zone and locale", environment(**CLOCKWORK)),
    Harmless("another hash seed", environment(PYTHONHASHSEED="7")),
    Harmless("a folder with blanks in its name", other_folder),
    Harmless("no rows to predict for", without_unlabelled),
    Harmless(
        "a regression: rows in another order", rows(lambda t: t.sample(frac=1, random_state=1)), "temperature"
    ),
    Harmless("a regression: 5 % fewer rows", rows(lambda t: t[~some(t, 0.05)]), "temperature"),
    Harmless(
        "a second column more, and fewer rows",
        together(rows(lambda t: t[~some(t, 0.03)]), rows(lambda t: t.assign(Noise=np.arange(len(t))))),
    ),
]
