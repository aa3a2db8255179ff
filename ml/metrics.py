"""Scores by scikit-learn's scorer names (greater is better), and how sure they are."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.metrics import get_scorer, get_scorer_names

from ml.errors import MlError

Scorer = Callable[[Any, Any, Any], float]
RESAMPLES = 500


class RecordedPredictions(ClassifierMixin, BaseEstimator):
    """Stands in for a fitted model and looks predictions up by row number: resampling costs nothing."""

    def __init__(
        self, predictions: np.ndarray, probabilities: np.ndarray | None, classes: np.ndarray
    ) -> None:
        """Keep the predictions, shape (rows,), and probabilities, shape (rows, classes), of a model."""
        self.predictions, self.probabilities, self.classes_ = predictions, probabilities, classes

    @classmethod
    def of(cls, model: Any, features: pd.DataFrame) -> "RecordedPredictions":
        """Let ``model`` predict every row once."""
        probabilities = model.predict_proba(features) if hasattr(model, "predict_proba") else None
        return cls(np.ravel(model.predict(features)), probabilities, model.classes_)

    def predict(self, rows: np.ndarray) -> np.ndarray:
        """Return the recorded predictions of the given row numbers."""
        return self.predictions[rows]

    def predict_proba(self, rows: np.ndarray) -> np.ndarray:
        """Return the recorded probabilities of the given row numbers; ``MlError`` if the model has none."""
        if self.probabilities is None:
            raise MlError("this estimator gives no probabilities, and the metric needs them")
        return self.probabilities[rows]


def scorer(name: str) -> Scorer:
    """Return scikit-learn's scorer; an unknown name raises ``MlError``."""
    if name not in get_scorer_names():
        raise MlError(
            f"project.toml: unknown metric '{name}': take a scikit-learn scorer name, e.g. accuracy, f1"
        )
    return get_scorer(name)


def interval(name: str, recorded: RecordedPredictions, target: np.ndarray, seed: int) -> tuple[float, float]:
    """Return the 95 % bootstrap percentile interval of a score.

    Source: Efron & Tibshirani, An Introduction to the Bootstrap (1993), chapter 13. Rows are drawn with
    replacement ``RESAMPLES`` times; draws in which the score is not defined (one class only) are left out.
    """
    random, score, scores = np.random.default_rng(seed), scorer(name), []
    while len(scores) < RESAMPLES:
        rows = random.integers(0, len(target), len(target))
        if len(np.unique(target[rows])) > 1:
            scores.append(score(recorded, rows, target[rows]))
    low, high = np.percentile(scores, [2.5, 97.5])
    return float(low), float(high)
