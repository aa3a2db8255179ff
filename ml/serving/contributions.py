"""What drove an answer: how its score moves when one field of the row is replaced, one field at a time.

A field's contribution is the score of the row less the mean of its scores with that field taken from each of
the reference rows, which are the version's golden rows. Of a score that is a sum over the fields, as the
log-odds of a linear model, this is each field's exact share, coefficient x (value - mean): Strumbelj and
Kononenko, Explaining prediction models and individual predictions with feature contributions (2014). Fields
are those that a client sends: what a project makes of them happens inside the fitted pipeline.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd

from ml.data.rows import typed_table
from ml.serving import MAX_ROWS
from ml.serving.loaded import LoadedVersion
from ml.training.bundle import predict_columns

Scale = Literal["log-odds", "score", "prediction", "probability", "agreement"]
ROUNDING = 1e-9  # of the largest number; what is less is none


@dataclass(frozen=True)
class Contributions:
    """What each field added to a score: ``total``, where the reference rows have ``reference`` on average.

    ``exact`` says that they are the shares of a linear model, and add up from ``reference`` to ``total``.
    ``agreement`` is the share of rows that get the same class: all that a model tells without probabilities.
    """

    scale: Scale
    total: float
    reference: float
    rows: int
    parts: dict[str, float]
    exact: bool


def scored_rows(loaded: LoadedVersion) -> int:
    """Return how many rows ``contributions`` scores: as many as one request may hold, or one a field."""
    fields = len(loaded.columns)
    return 1 + _reference_count(loaded) * (fields + 1)


def contributions(loaded: LoadedVersion, row: pd.DataFrame, answer: dict[str, Any]) -> Contributions:
    """Return what drove the ``answer`` to a table of one row that the contract admits."""
    count = _reference_count(loaded)
    golden = loaded.bundle.golden["rows"]
    chosen = [golden[place] for place in np.linspace(0, len(golden) - 1, count).astype(int)]
    references = typed_table(chosen, loaded.bundle.request_contract)
    scale, score = _score(loaded, answer)
    scores = score(_replaced(row, references))
    total, (reference, *means) = float(scores[0]), scores[1:].reshape(-1, count).mean(axis=1).tolist()
    parts = {str(name): total - mean for name, mean in zip(row.columns, means, strict=True)}
    rounding = ROUNDING * max(abs(total), abs(reference), *map(abs, parts.values()))
    parts = {name: part if abs(part) > rounding else 0.0 for name, part in parts.items()}
    # No sum over the fields: a feature that multiplies two of them, or a link as a Poisson regression has it.
    adds_up = abs(total - reference - sum(parts.values())) <= rounding
    exact = adds_up and _is_linear(loaded.bundle.pipeline[-1])
    return Contributions(scale, total, reference, count, parts, exact)


def _reference_count(loaded: LoadedVersion) -> int:
    most = MAX_ROWS // (len(loaded.columns) + 1)
    return max(1, min(most, len(loaded.bundle.golden["rows"])))


def _replaced(row: pd.DataFrame, references: pd.DataFrame) -> pd.DataFrame:
    """Return the row, the reference rows, and for each column the row with that column of each of them."""
    both, count = pd.concat([row, references], ignore_index=True), len(references)
    columns = {}
    for number, name in enumerate(row.columns):
        places = np.zeros(1 + count * (1 + len(row.columns)), dtype=int)
        for block in (0, number + 1):
            places[1 + block * count : 1 + (block + 1) * count] = np.arange(1, count + 1)
        columns[name] = both[name].take(places).reset_index(drop=True)
    return pd.DataFrame(columns)


def _score(
    loaded: LoadedVersion, answer: dict[str, Any]
) -> tuple[Scale, Callable[[pd.DataFrame], np.ndarray]]:
    """Return the number that stands for an answer, greater the more the model is for it."""
    pipeline, said = loaded.bundle.pipeline, answer["prediction"]
    if loaded.bundle.project.task == "regression":
        return "prediction", lambda rows: _column(loaded, rows, "prediction").astype(float)
    estimator = pipeline[-1]
    if _is_linear(estimator) and hasattr(estimator, "decision_function"):
        place = list(estimator.classes_).index(said)

        def linear(rows: pd.DataFrame) -> np.ndarray:
            scores = np.asarray(estimator.decision_function(pipeline[:-1].transform(rows)))
            return scores[:, place] if scores.ndim == 2 else scores * (1 if place else -1)

        odds = len(estimator.classes_) == 2 and type(estimator).__name__.startswith("LogisticRegression")
        return "log-odds" if odds else "score", linear
    if f"probability_{said}" in answer:
        return "probability", lambda rows: _column(loaded, rows, f"probability_{said}")
    return "agreement", lambda rows: (_column(loaded, rows, "prediction") == said).astype(float)


def _column(loaded: LoadedVersion, rows: pd.DataFrame, name: str) -> np.ndarray:
    return predict_columns(loaded.bundle.pipeline, loaded.bundle.project, rows)[name]


def _is_linear(estimator: Any) -> bool:
    """Tell whether an estimator has a coefficient for each feature; those of a kernel are of pairs."""
    return hasattr(estimator, "coef_") and not hasattr(estimator, "kernel")
