"""Scores by the names that scikit-learn gives them, and the class that they are about."""

import warnings
from collections.abc import Callable, Iterable
from inspect import signature
from typing import Any

import numpy as np
import pandas as pd
from sklearn.dummy import DummyClassifier, DummyRegressor
from sklearn.metrics import get_scorer, get_scorer_names, make_scorer

from ml.errors import MlError
from ml.project import Project

FITTING = {"classification": "accuracy, f1_macro", "regression": "r2, neg_mean_absolute_error"}
Scorer = Callable[[Any, Any, Any], float]


def positive_class(project: Project, target: pd.Series) -> Any:
    """Return the class that f1, precision, recall and the like are about; ``None`` if there are not two.

    It is the one that ``project.toml`` declares; else 1 or True of 0/1, -1/1 and False/True, as scikit-learn
    has it; else the rarer one (of two equally frequent ones the second).
    """
    counts = target.value_counts().sort_index()
    if project.task != "classification" or len(counts) != 2:
        return None
    classes = counts.index.tolist()
    if project.positive is not None:
        return classes[classes.index(project.positive)]
    if classes in ([0, 1], [-1, 1]):
        return classes[1]
    return classes[0] if counts.iloc[0] < counts.iloc[1] else classes[1]


def check_metrics(project: Project, metrics: Iterable[str], target: pd.Series) -> None:
    """Raise ``MlError`` for a metric that cannot judge answers to this target: it is tried on a dummy's."""
    rows = np.zeros((len(target), 1))
    dummy = (DummyRegressor() if project.task == "regression" else DummyClassifier()).fit(rows, target)
    positive = positive_class(project, target)
    for name in metrics:
        score = scorer(name, positive)
        try:
            with warnings.catch_warnings(action="ignore"):
                score(dummy, rows, target)
        except Exception as error:
            raise MlError(
                f"project.toml: the metric '{name}' does not fit a {project.task} of '{project.target}': "
                f"{str(error).splitlines()[0]}; take another, e.g. {FITTING[project.task]}"
            ) from error


def about_class(name: str, positive: Any) -> str:
    """Return in words which class a score is about, if that is not plain from its name; else nothing."""
    found = name if name in get_scorer_names() else f"neg_{name}"
    if positive is None or positive == 1 or found not in get_scorer_names():
        return ""
    takes = signature(get_scorer(found)._score_func).parameters
    return f"(of class {positive!r})" if "pos_label" in takes else ""


def scorer(name: str, positive: Any = None) -> Scorer:
    """Return scikit-learn's scorer, greater is better; an unknown name raises ``MlError``.

    ``positive`` is the class that scores of one class are about (scikit-learn's ``pos_label``, which is 1).
    """
    if name not in get_scorer_names():
        raise MlError(
            f"project.toml: unknown metric '{name}': take a scikit-learn scorer name, e.g. accuracy, f1, r2"
        )
    found: Any = get_scorer(name)
    if not about_class(name, positive):
        plain: Scorer = found
        return plain
    one_class: Scorer = make_scorer(
        found._score_func,
        response_method=found._response_method,
        greater_is_better=found._sign > 0,
        **found._kwargs | {"pos_label": positive},
    )
    return one_class
