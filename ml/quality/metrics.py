"""Errors (less is better), recorded predictions, and how sure a score or an error is."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats
from sklearn import config_context
from sklearn.base import BaseEstimator, ClassifierMixin, is_classifier
from sklearn.metrics import get_scorer_names
from sklearn.pipeline import Pipeline

from ml.errors import MlError
from ml.training.scores import Scorer, scorer

RESAMPLES = 500
CALIBRATION_BINS = 10


class RecordedPredictions(BaseEstimator):  # type: ignore[misc]  # scikit-learn has no types
    """Stands in for a fitted model and looks predictions up by row number: resampling costs nothing."""

    def __init__(
        self, predictions: np.ndarray, probabilities: np.ndarray | None, classes: np.ndarray | None
    ) -> None:
        """Keep the predictions, shape (rows,), and probabilities, shape (rows, classes), of a model."""
        self.predictions, self.probabilities, self.classes_ = predictions, probabilities, classes

    @staticmethod
    def of(model: Any, features: pd.DataFrame) -> "RecordedPredictions":
        """Let ``model`` predict every row once."""
        if isinstance(model, Pipeline):  # what it predicts and how sure it is are of the same features
            features, model = model[:-1].transform(features), model[-1]
        probabilities = model.predict_proba(features) if hasattr(model, "predict_proba") else None
        # A regressor may have an empty list of classes (CatBoost's has).
        classes = model.classes_ if is_classifier(model) else None
        kind = RecordedPredictions if classes is None else RecordedClasses
        return kind(np.ravel(model.predict(features)), probabilities, classes)

    def part(self, rows: np.ndarray) -> "RecordedPredictions":
        """Return what was recorded for some row numbers, numbered anew."""
        probabilities = None if self.probabilities is None else self.probabilities[rows]
        return type(self)(self.predictions[rows], probabilities, self.classes_)

    def predict(self, rows: np.ndarray) -> np.ndarray:
        """Return the recorded predictions of the given row numbers."""
        found: np.ndarray = self.predictions[rows]
        return found

    def predict_proba(self, rows: np.ndarray) -> np.ndarray:
        """Return the recorded probabilities of the given row numbers; ``MlError`` if the model has none."""
        if self.probabilities is None:
            raise MlError("this estimator gives no probabilities, and the metric needs them")
        found: np.ndarray = self.probabilities[rows]
        return found


class RecordedClasses(ClassifierMixin, RecordedPredictions):  # type: ignore[misc]
    """Recorded predictions of a classifier: scikit-learn's scorers ask what kind of model they score."""


def error_measure(name: str, positive: Any = None) -> Scorer:
    """Return what measures an error, less is better; an unknown name raises ``MlError``.

    Names are those of scikit-learn's scorers without ``neg_`` (``log_loss``, ``mean_absolute_error``,
    ``root_mean_squared_error``, …) and ``calibration_error``.
    """
    if name == "calibration_error":
        return calibration_error
    if f"neg_{name}" not in get_scorer_names():
        raise MlError(
            f"project.toml: unknown error '{name}': take calibration_error, log_loss, mean_absolute_error, "
            "root_mean_squared_error or another scikit-learn scorer whose name begins with neg_"
        )
    negated = scorer(f"neg_{name}", positive)
    return lambda model, rows, target: -negated(model, rows, target)


def calibration_error(model: Any, rows: Any, target: Any) -> float:
    """Return the expected calibration error: how far stated probabilities are from what happens, 0 to 1.

    Bins of equal numbers of rows, by the probability of the predicted class: Naeini et al., Obtaining well
    calibrated probabilities using Bayesian binning (2015); Guo et al. (2017).
    """
    probabilities = model.predict_proba(rows)
    confidence = probabilities.max(axis=1)
    right = np.asarray(model.classes_)[probabilities.argmax(axis=1)] == np.asarray(target)
    bins = np.array_split(np.argsort(confidence, kind="stable"), min(CALIBRATION_BINS, len(confidence)))
    gaps = [len(one) * abs(confidence[one].mean() - right[one].mean()) for one in bins]
    return float(sum(gaps) / len(confidence))


def interval(
    name: str, recorded: RecordedPredictions, target: np.ndarray, seed: int, positive: Any = None
) -> tuple[float, float]:
    """Return the 95 % bootstrap percentile interval of a score or an error.

    Source: Efron & Tibshirani, An Introduction to the Bootstrap (1993), chapter 13. Rows are drawn with
    replacement ``RESAMPLES`` times; draws in which the score is not defined (one class only) are left out.
    """
    low, high = np.percentile(_resampled(name, recorded, target, seed, positive), [2.5, 97.5])
    return float(low), float(high)


def paired_interval(
    name: str,
    ours: RecordedPredictions,
    theirs: RecordedPredictions,
    target: np.ndarray,
    seed: int,
    certainty: float = 0.95,
    positive: Any = None,
) -> tuple[float, float]:
    """Return the bootstrap interval of the difference ours minus theirs, both scored on the same draws.

    Source: Efron & Tibshirani (1993), chapter 13; Dietterich, Approximate statistical tests for comparing
    supervised classification learning algorithms (1998), on why the comparison must be paired.
    """
    first, second = (_resampled(name, one, target, seed, positive) for one in (ours, theirs))
    differences = first - second
    outside = (1 - certainty) / 2 * 100
    low, high = np.percentile(differences, [outside, 100 - outside])
    return float(low), float(high)


def mcnemar(ours: np.ndarray, theirs: np.ndarray, target: np.ndarray, tolerance: float = 0.0) -> float:
    """Return the one-sided p-value of the exact McNemar test that our classes are not worse than theirs.

    Source: McNemar, Note on the sampling error of the difference between correlated proportions (1947), in
    its exact binomial form. A small value says that ours are worse, by more than ``tolerance`` of all rows:
    of the rows that only one gets right, as many more may be lost.
    """
    won = int(np.sum((ours == target) & (theirs != target)))
    lost = int(np.sum((ours != target) & (theirs == target)))
    if not (apart := won + lost):
        return 1.0
    expected = max(0.0, (apart - tolerance * len(target)) / (2 * apart))
    return float(stats.binomtest(won, apart, expected, alternative="less").pvalue)


def _resampled(
    name: str, recorded: RecordedPredictions, target: np.ndarray, seed: int, positive: Any
) -> np.ndarray:
    if (quick := _quick(name, recorded, target, positive)) is not None:
        return np.array([quick(rows) for rows in _draws(target, seed)])
    score = (scorer if name in get_scorer_names() else error_measure)(name, positive)
    # scikit-learn's checks of arguments would take half of the time, and every draw would pass them
    with config_context(assume_finite=True, skip_parameter_validation=True):
        return np.array([score(recorded, rows, target[rows]) for rows in _draws(target, seed)])


def _quick(
    name: str, recorded: RecordedPredictions, target: np.ndarray, positive: Any = None
) -> Callable[[np.ndarray], float] | None:
    """Return a score that is made of sums over rows: scikit-learn takes up to 100 times as long."""
    said, classes = recorded.predictions, recorded.classes_
    if name == "accuracy":
        right = said == target
        return lambda rows: float(right[rows].mean())
    if positive is None and classes is not None and list(classes) == [0, 1]:
        positive = 1
    if name in ("precision", "recall", "f1") and positive is not None:
        called, true = said == positive, target == positive
        hits = called & true
        ends = {"precision": 2 * called, "recall": 2 * true, "f1": called.astype(int) + true}[name]
        return lambda rows: float(2 * hits[rows].sum() / max(ends[rows].sum(), 1))
    if recorded.probabilities is not None and classes is not None:
        return _quick_of_probabilities(name, recorded.probabilities, np.asarray(classes), target)
    return _quick_of_numbers(name, said, target) if classes is None else None


def _quick_of_probabilities(
    name: str, probabilities: np.ndarray, classes: np.ndarray, target: np.ndarray
) -> Callable[[np.ndarray], float] | None:
    column = np.searchsorted(classes, target)
    if name == "log_loss" and np.array_equal(classes[np.minimum(column, len(classes) - 1)], target):
        tiny = np.finfo(probabilities.dtype).eps
        losses = -np.log(np.clip(probabilities[np.arange(len(target)), column], tiny, 1 - tiny))
        return lambda rows: float(losses[rows].mean())
    if name == "roc_auc" and len(classes) == 2:
        true = target == classes[1]
        scores, rank = np.unique(probabilities[:, 1], return_inverse=True)

        def area(rows: np.ndarray) -> float:
            above = np.bincount(rank[rows[true[rows]]], minlength=len(scores))
            below = np.bincount(rank[rows[~true[rows]]], minlength=len(scores))
            # A pair is in order, or its scores are equal: that counts half (Mann & Whitney, 1947).
            ordered = above @ (np.cumsum(below) - below / 2)
            return float(ordered / (above.sum() * below.sum()))

        return area
    return None


def _quick_of_numbers(
    name: str, said: np.ndarray, target: np.ndarray
) -> Callable[[np.ndarray], float] | None:
    away = said - target
    squared = away**2
    if name == "mean_absolute_error":
        return lambda rows: float(np.abs(away[rows]).mean())
    if name == "root_mean_squared_error":
        return lambda rows: float(np.sqrt(squared[rows].mean()))
    if name == "r2":
        return lambda rows: float(1 - squared[rows].sum() / (target[rows].var() * len(rows)))
    return None


def _draws(target: np.ndarray, seed: int) -> Iterator[np.ndarray]:
    if len(np.unique(target)) < 2:
        raise ValueError("all rows have the same target, which tells nothing of a score")
    random = np.random.default_rng(seed)
    drawn = 0
    while drawn < RESAMPLES:
        rows = random.integers(0, len(target), len(target))
        if len(np.unique(target[rows])) > 1:
            drawn += 1
            yield rows
