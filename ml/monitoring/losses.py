"""The loss of each row that came true, and whether rows lose more than others, for sure."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import stats

from ml.project import Project

# A probability of zero for what came true costs no more than this one.
LEAST_PROBABILITY = 1e-3
# Weights beyond this ratio would let a few rows speak for all.
MAX_WEIGHT = 20.0
MEDIAN_OF_SQUARES = 0.4549  # of normal numbers with a variance of one
MAX_LEARNED = 20_000  # rows from which it is learned who gets a label


@dataclass(frozen=True)
class Mean:
    """A mean loss and its standard error, of so many rows."""

    value: float
    error: float
    rows: int


def losses(project: Project, said: pd.DataFrame, truth: pd.Series) -> np.ndarray:
    """Return the loss of each row: log loss if there are probabilities, else whether wrong, or how far off.

    Labels compare as texts: JSON knows other types than a table.
    """
    if project.task == "regression":
        off = said["prediction"].to_numpy(float) - pd.to_numeric(truth).to_numpy(float)
        return np.asarray(np.abs(off))
    labels = as_text(truth)
    if not (classes := class_columns(said)):
        return (as_text(said["prediction"]) != labels).to_numpy(float)
    table = said[list(classes.values())].to_numpy(float)
    places = labels.map({label: place for place, label in enumerate(classes)})
    known = places.notna().to_numpy()
    found = np.full(len(labels), LEAST_PROBABILITY)  # a class that the model does not know
    found[known] = table[np.flatnonzero(known), places[known].astype(int)]
    return np.asarray(-np.log(np.clip(found, LEAST_PROBABILITY, 1.0)))


def class_columns(said: pd.DataFrame) -> dict[str, str]:
    """Return the column of the probability of each class, by the class as a text."""
    start = "probability_"
    return {str(name).removeprefix(start): str(name) for name in said if str(name).startswith(start)}


def as_text(labels: pd.Series) -> pd.Series:
    """Return labels as texts; whole numbers have no point."""
    if pd.api.types.is_float_dtype(labels):
        return labels.map(lambda value: str(int(value)) if value % 1 == 0 else str(value))
    return labels.astype(str)


def mean(values: np.ndarray, weights: np.ndarray | None = None, groups: np.ndarray | None = None) -> Mean:
    """Return the (weighted) mean and its standard error; rows of one group, as of a day, may go together.

    Then the variance is half that of rows that stand alone, and half that of groups which differ as those
    that follow each other do (von Neumann, 1941; by the median, so that one change in between does not
    count), for few groups tell it badly; but never less than the first.
    """
    if len(values) == 0:
        return Mean(float("nan"), float("nan"), 0)
    weights = np.ones(len(values)) if weights is None else weights
    total = weights.sum()
    value = float((weights * values).sum() / total)
    error = float(np.sqrt((weights**2 * (values - value) ** 2).sum()) / total)
    if groups is not None and len(names := np.unique(groups)) > 2:
        sums = np.bincount(np.searchsorted(names, groups), weights * (values - value))
        variance = np.median(np.diff(sums) ** 2) / (2 * MEDIAN_OF_SQUARES)
        together = len(names) * variance / total**2
        error = max(error, float(np.sqrt((error**2 + together) / 2)))
    return Mean(value, error, len(values))


def surely_more(before: Mean, now: Mean, margin: float, alpha: float) -> bool:
    """Tell whether rows lose more than before by more than a share of it, and surely more at all."""
    return surely_above(before, now, before.value * margin, alpha)


def surely_above(before: Mean, now: Mean, least: float, alpha: float) -> bool:
    """Tell whether a mean is above another one by more than ``least``, and surely above it at all.

    By chance alone that is said less often than alpha: Welch (1947), with the normal distribution.
    """
    if now.rows == 0 or before.rows == 0 or now.value - before.value <= least:
        return False
    error = np.hypot(now.error, before.error)
    return bool(error > 0 and stats.norm.sf((now.value - before.value) / error) < alpha)


def weights_of_labelled(inputs: pd.DataFrame, labelled: np.ndarray) -> np.ndarray | None:
    """Return how many rows each labelled one stands for, where labels are missing for a reason inputs tell.

    None if labels are missing by no rule that the inputs tell, or nearly never. Inverse probability weights:
    Horvitz and Thompson (1952); the probability of a label by a logistic regression of the inputs.
    """
    if not 0.02 < labelled.mean() < 0.98 or labelled.sum() < 50:
        return None
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import roc_auc_score
    from sklearn.model_selection import cross_val_predict
    from sklearn.pipeline import make_pipeline

    from ml.monitoring.tables import as_numbers, plain

    known = plain(inputs)
    few = np.random.default_rng(0).permutation(len(known))[:MAX_LEARNED]
    seen, came = known.iloc[few], labelled[few]
    model = make_pipeline(as_numbers(known), LogisticRegression(max_iter=1000))
    chance = cross_val_predict(model, seen, came, cv=3, method="predict_proba")[:, 1]
    # Standard error of an area of one half: Hanley and McNeil (1982).
    error = np.sqrt((len(came) + 1) / (12 * came.sum() * (~came).sum()))
    if roc_auc_score(came, chance) < 0.5 + max(0.02, 3 * error):
        return None
    chance = model.fit(seen, came).predict_proba(known[labelled])[:, 1]
    return np.asarray(np.clip(1 / chance, 1.0, MAX_WEIGHT))
