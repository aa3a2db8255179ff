"""A first look at a new project's rows: what a quick model reaches, for gates that a good one passes."""

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
from threadpoolctl import threadpool_limits

from ml.data.giveaways import giveaways
from ml.project import Project
from ml.quality.baselines import dummy
from ml.quality.metrics import RecordedPredictions
from ml.training.categories import count_many_valued
from ml.training.folds import make_folds
from ml.training.grid import EstimatorChoice, make_estimator
from ml.training.pipeline import build_pipeline, feature_table
from ml.training.scores import positive_class, scorer

QUICK: dict[str, tuple[tuple[str, dict[str, int]], ...]] = {
    "classification": (("LogisticRegression", {"max_iter": 300}), ("HistGradientBoostingClassifier", {})),
    "regression": (("Ridge", {}), ("HistGradientBoostingRegressor", {})),
}
MAX_ROWS = 20_000
DRAWS = 300
SURE = (0.5, 99.5)  # percentiles of the draws
SURELY_TOLD, MAYBE_TOLD = 0.9995, 0.98
MIN_LEAD = 0.08  # over the best other, of a column that maybe gives the target away


@dataclass(frozen=True)
class FirstLook:
    """The cross-validated score of the better of two quick models, and what chance makes of it.

    ``low`` and ``high`` are the 99 % bootstrap interval of the score on as many rows as the test has; the
    dummy always says the most frequent class, or the mean.
    """

    model: str
    score: float
    low: float
    high: float
    dummy: float

    @property
    def beats_dummy(self) -> bool:
        """Whether the columns tell the target for sure."""
        return self.low > self.dummy


def sample(project: Project, rows: pd.DataFrame) -> pd.DataFrame:
    """Return at most ``MAX_ROWS`` rows, drawn by the project's seed, in their order."""
    if len(rows) <= MAX_ROWS:
        return rows
    return rows.sample(MAX_ROWS, random_state=project.seed).sort_index().reset_index(drop=True)


def told_by(project: Project, train: pd.DataFrame) -> tuple[dict[str, float], list[str]]:
    """Return how well each column alone tells the target, and those that give it away.

    A column that is nearly as good as the answer gives it away if no other comes near.
    """
    scores = giveaways(project, train.drop(columns=[project.id, project.target]), train[project.target])
    found = []
    for name, score in scores.items():
        best_other = max((other for key, other in scores.items() if key != name), default=0.0)
        if score >= SURELY_TOLD or (score >= MAYBE_TOLD and score - best_other >= MIN_LEAD):
            found.append(name)
    return scores, found


def first_look(project: Project, train: pd.DataFrame, test_rows: int) -> FirstLook:
    """Return what two quick models reach on the training rows, in the folds that the search will use."""
    rows = train.drop(columns=project.target)
    target = train[project.target]
    positive = positive_class(project, target)
    score = scorer(project.training.metric, positive)
    folds = make_folds(project, rows, target)
    many_valued = list(count_many_valued(project, feature_table(project, rows)))
    answered = np.concatenate([predicted for _, predicted in folds])
    truth = target.iloc[answered].to_numpy()
    everything = np.arange(len(answered))

    def out_of_fold(make: Callable[[], Any]) -> RecordedPredictions:
        return joined(
            [
                RecordedPredictions.of(
                    make().fit(rows.iloc[learned], target.iloc[learned]), rows.iloc[predicted]
                )
                for learned, predicted in folds
            ]
        )

    best: tuple[float, str, RecordedPredictions] | None = None
    with threadpool_limits(1), warnings.catch_warnings(action="ignore"):
        for name, parameters in QUICK[project.task]:
            choice = EstimatorChoice(name, dict(parameters))
            estimator = make_estimator(choice, project.seed)
            recorded = out_of_fold(partial(build_pipeline, project, estimator, many_valued))
            value = float(score(recorded, everything, truth))
            if best is None or value > best[0]:
                best = value, name, recorded
        guess = float(score(out_of_fold(lambda: dummy(project)), everything, truth))
        assert best
        random = np.random.default_rng(project.seed)
        draws = []
        for _ in range(DRAWS):
            drawn = random.integers(0, len(answered), max(test_rows, 2))
            if len(np.unique(truth[drawn])) == len(np.unique(truth)) or project.task == "regression":
                draws.append(float(score(best[2], drawn, truth[drawn])))
    low, high = np.percentile(draws or [best[0]], SURE)
    return FirstLook(best[1], best[0], float(low), float(high), guess)


def joined(parts: list[RecordedPredictions]) -> RecordedPredictions:
    """Return what the models of all folds answered as one record."""
    one = parts[0]
    told = None
    if one.probabilities is not None:
        told = np.concatenate([part.probabilities for part in parts if part.probabilities is not None])
    return type(one)(np.concatenate([part.predictions for part in parts]), told, one.classes_)
