"""What a project may expect of its model whatever the data says: the ``EXPECTATIONS`` of ``expectations.py``.

The three kinds are those of Ribeiro et al., Beyond Accuracy: Behavioral Testing of NLP Models with CheckList
(2020): invariance, directional expectation, minimum functionality. Each allows a share ``most_broken`` of the
rows to break it, none unless said otherwise.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd

from ml.data.rows import typed_table
from ml.errors import MlError
from ml.project import EXPECTATIONS_FILE, Project
from ml.training.bundle import Bundle, answer_numbers
from ml.user_code import load_module

Change = Callable[[pd.DataFrame], pd.DataFrame]


@dataclass(frozen=True)
class Invariant:
    """A change of the test rows that must not change a prediction."""

    name: str
    change: Change
    tolerance: float = 0.0
    most_broken: float = 0.0


@dataclass(frozen=True)
class Directional:
    """A change of the test rows that must not move predictions the wrong way.

    What moves is the probability of class ``of``, or the predicted number of a regression. A movement of up
    to ``tolerance`` against the ``direction`` is forgiven.
    """

    name: str
    change: Change
    direction: Literal["not lower", "not higher"]
    of: Any = None
    tolerance: float = 0.0
    most_broken: float = 0.0


@dataclass(frozen=True)
class Known:
    """Rows, as in a request, whose answer anyone knows; ``tolerance`` is for the numbers of a regression."""

    name: str
    rows: list[dict[str, Any]]
    answer: Any
    tolerance: float = 0.0
    most_broken: float = 0.0


Expectation = Invariant | Directional | Known


def load_expectations(project: Project) -> list[Expectation]:
    """Return the project's expectations, none if it has no such file; other content raises ``MlError``."""
    file = project.folder / EXPECTATIONS_FILE
    code = project.content(file.name)
    if code is None:
        return []
    found = getattr(load_module(file, code), "EXPECTATIONS", None)
    if not isinstance(found, list) or not all(isinstance(one, Expectation) for one in found):
        raise MlError(f"{file}: EXPECTATIONS must be a list of Invariant, Directional and Known")
    return found


def share_broken(expectation: Expectation, bundle: Bundle, rows: pd.DataFrame) -> float:
    """Return the share of rows whose prediction is not as expected, 0 to 1."""
    if isinstance(expectation, Known):
        known = typed_table(expectation.rows, bundle.request_contract)
        answers = bundle.predict(known)["prediction"]
        if bundle.project.task == "regression":
            return float((abs(answers - expectation.answer) > expectation.tolerance).mean())
        return float((answers != expectation.answer).mean())
    before, after = bundle.predict(rows), bundle.predict(_changed(expectation, rows))
    if isinstance(expectation, Invariant):
        numbers = answer_numbers(bundle.project, before)
        moved = np.abs(after[numbers].to_numpy(float) - before[numbers].to_numpy(float)).max(
            axis=1, initial=0
        )
        changed_class = np.zeros(len(rows), dtype=bool)
        if bundle.project.task == "classification" and expectation.tolerance == 0:
            changed_class = (before["prediction"] != after["prediction"]).to_numpy()
        return float((changed_class | (moved > expectation.tolerance)).mean())
    column = "prediction" if expectation.of is None else f"probability_{expectation.of}"
    if column not in before:
        raise MlError(f"{EXPECTATIONS_FILE}: {expectation.name}: the model gives no {column}")
    rise = after[column].to_numpy(float) - before[column].to_numpy(float)
    against = -rise if expectation.direction == "not lower" else rise
    return float((against > expectation.tolerance).mean())


def _changed(expectation: Invariant | Directional, rows: pd.DataFrame) -> pd.DataFrame:
    about = f"{EXPECTATIONS_FILE}: {expectation.name}: its change"
    try:
        changed = expectation.change(rows.copy())
    except Exception as error:
        raise MlError(f"{about} fails: {type(error).__name__}: {error}") from error
    if not isinstance(changed, pd.DataFrame) or not changed.index.equals(rows.index):
        raise MlError(f"{about} must return a table of the rows that it was given, in their order")
    return changed
