"""Whether answers come true as often as they say, and what a row would save if they were put right."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from ml.monitoring.losses import (
    LEAST_PROBABILITY,
    Mean,
    as_text,
    class_columns,
    losses,
    mean,
    surely_above,
)
from ml.project import Project

MAX_ROWS = 50_000  # from which it is learned how to put answers right
BINS = 8
FOLDS_OF_REFERENCE = 5


@dataclass(frozen=True)
class Stated:
    """Rows of which about the same was stated: that mean, and how much of it came true."""

    stated: float
    true: float
    labels: int


@dataclass(frozen=True)
class Calibration:
    """What was stated against what came true, and what a row would save if answers were put right.

    ``saved`` is of the window, ``saved_before`` of the test rows: a model may have been off from the start.
    ``off`` tells whether it is surely and considerably more now.
    """

    bins: tuple[Stated, ...]
    saved: Mean
    saved_before: Mean
    off: bool


def calibration(
    project: Project,
    reference: pd.DataFrame,
    said: pd.DataFrame,
    truth: pd.Series,
    days: np.ndarray,
    alpha: float,
) -> Calibration | None:
    """Return how well answers come true; none for classes without probabilities, or of less than three days.

    A rise of the loss needs many rows to be sure of, for rows differ; that answers put right by what other
    days say would cost less, needs few. Put right are probabilities by a logistic regression of their
    logarithms (Cox, 1958), numbers by the median of how far off they are.
    """
    if project.task == "classification" and not class_columns(said) or len(np.unique(days)) < 3:
        return None
    few = np.sort(np.random.default_rng(0).permutation(len(said))[:MAX_ROWS])
    said, truth = said.iloc[few].reset_index(drop=True), truth.iloc[few].reset_index(drop=True)
    blocks = np.arange(len(reference)) * FOLDS_OF_REFERENCE // len(reference)
    before = mean(_saved(project, reference, reference[project.target], blocks))
    now = mean(_saved(project, said, truth, days[few]), groups=days[few])
    least = (
        project.monitoring.max_miscalibration * losses(project, reference, reference[project.target]).mean()
    )
    off = surely_above(before, now, least, alpha)
    return Calibration(tuple(_bins(project, said, truth)), now, before, off)


def _saved(project: Project, said: pd.DataFrame, truth: pd.Series, groups: np.ndarray) -> np.ndarray:
    """Return what each row would cost less, put right by what the other groups say."""
    put_right = _numbers_right if project.task == "regression" else _classes_right
    better = np.empty(len(said))
    for group in np.unique(groups):
        apart = groups == group
        better[apart] = put_right(said, truth, ~apart, apart)
    return losses(project, said, truth) - better


def _numbers_right(
    said: pd.DataFrame, truth: pd.Series, learned: np.ndarray, asked: np.ndarray
) -> np.ndarray:
    off = pd.to_numeric(truth).to_numpy(float) - said["prediction"].to_numpy(float)
    return np.asarray(np.abs(off[asked] - np.median(off[learned])))


def _classes_right(
    said: pd.DataFrame, truth: pd.Series, learned: np.ndarray, asked: np.ndarray
) -> np.ndarray:
    from sklearn.linear_model import LogisticRegression

    names, labels = class_columns(said), as_text(truth).to_numpy()
    logs = np.log(np.clip(said[list(names.values())].to_numpy(float), LEAST_PROBABILITY, 1.0))
    logs = logs[:, 1:] - logs[:, :1]
    found = np.full(int(asked.sum()), LEAST_PROBABILITY)
    if len(np.unique(labels[learned])) < 2:
        found[labels[asked] == labels[learned][0]] = 1.0
        return np.asarray(-np.log(found))
    model = LogisticRegression(C=100.0, max_iter=1000).fit(logs[learned], labels[learned])
    chances = model.predict_proba(logs[asked])
    for place, label in enumerate(model.classes_):
        rows = labels[asked] == label
        found[rows] = chances[rows, place]
    return np.asarray(-np.log(np.clip(found, LEAST_PROBABILITY, 1.0)))


def _bins(project: Project, said: pd.DataFrame, truth: pd.Series) -> list[Stated]:
    """Return rows by what was stated: a number, or the probability of the second class (or the answered)."""
    if project.task == "regression":
        stated, true = said["prediction"].to_numpy(float), pd.to_numeric(truth).to_numpy(float)
    elif len(names := class_columns(said)) == 2:
        second = list(names)[1]
        stated, true = said[names[second]].to_numpy(float), (as_text(truth) == second).to_numpy(float)
    else:
        stated = confidence(said)
        true = (as_text(truth) == as_text(said["prediction"])).to_numpy(float)
    parts = np.array_split(np.argsort(stated, kind="stable"), BINS)
    return [
        Stated(float(stated[rows].mean()), float(true[rows].mean()), len(rows)) for rows in parts if len(rows)
    ]


def confidence(said: pd.DataFrame) -> np.ndarray:
    """Return the probability of the class that was answered, by row."""
    return np.asarray(said[list(class_columns(said).values())].to_numpy(float).max(axis=1))
