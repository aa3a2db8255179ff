"""One candidate in every fold; what all candidates of a search share is made once in a process."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
from sklearn.metrics import check_scoring
from sklearn.pipeline import Pipeline
from threadpoolctl import threadpool_limits

from ml.project import Project
from ml.training.categories import takes_categories
from ml.training.folds import Folds
from ml.training.grid import EstimatorChoice, make_estimator
from ml.training.pipeline import build_pipeline
from ml.training.scores import positive_class, scorer

MAX_BYTES = 512 * 2**20  # kept by a process; making larger ones is little beside fitting on them
Features = pd.DataFrame | np.ndarray


@dataclass(frozen=True)
class SearchedRows:
    """What every candidate of a search is tried on; ``search`` tells one search from another."""

    search: str
    project: Project
    rows: pd.DataFrame
    target: pd.Series
    folds: Folds
    many_valued: list[str]


@dataclass(frozen=True)
class _Prepared:
    """The features of a fold, as a pipeline fitted on its rows hands them to its estimator."""

    fitted_on: Features
    known: Features  # the same rows, as rows to predict: the mean of a target is not cross-fitted there
    unknown: Features

    @cached_property
    def size(self) -> int:
        return sum(np.asarray(one).nbytes for one in (self.fitted_on, self.known, self.unknown))


_kept: dict[tuple[str, int, bool], _Prepared] = {}


def cross_validate(
    candidate: EstimatorChoice, on: SearchedRows, metrics: list[str], metric: str
) -> tuple[dict[str, list[float]], float]:
    """Return the scores of each fold's unknown rows, and the mean score in ``metric`` of the known ones.

    They are those of scikit-learn's ``cross_validate`` of the whole pipeline, which would fit what lies
    before the estimator anew for each candidate, and run it anew for each kind of answer.
    """
    positive = positive_class(on.project, on.target)
    scorers = {name: scorer(name, positive) for name in metrics}
    # scikit-learn asks a pandas column for its kind at each score, which takes longer than the score.
    plain = isinstance(on.target.dtype, np.dtype)
    target: Any = on.target.to_numpy() if plain else on.target.reset_index(drop=True)
    scores: dict[str, list[float]] = {name: [] for name in metrics}
    learned = []
    with threadpool_limits(1):
        for number, (known, unknown) in enumerate(on.folds):
            pipeline = build_pipeline(on.project, make_estimator(candidate, on.project.seed), on.many_valued)
            prepared, estimator = _prepared(pipeline, number, on, target), pipeline[-1]
            estimator.fit(prepared.fitted_on, target[known])
            found = check_scoring(estimator, scoring=scorers)(estimator, prepared.unknown, target[unknown])
            for name in metrics:
                scores[name].append(float(found[name]))
            learned.append(float(scorers[metric](estimator, prepared.known, target[known])))
    return scores, float(np.mean(learned))


def _prepared(pipeline: Pipeline, number: int, on: SearchedRows, target: Any) -> _Prepared:
    key = (on.search, number, takes_categories(pipeline[-1]))
    if key in _kept:
        return _kept[key]
    for one in [one for one in _kept if one[0] != on.search]:
        _kept.pop(one, None)  # threads of one process may share this
    known, unknown = (on.rows.iloc[places] for places in on.folds[number])
    before = pipeline[:-1]
    prepared = _Prepared(
        before.fit_transform(known, target[on.folds[number][0]]),
        before.transform(known),
        before.transform(unknown),
    )
    if prepared.size + sum(one.size for one in _kept.values()) <= MAX_BYTES:
        _kept[key] = prepared
    return prepared
