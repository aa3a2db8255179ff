"""Is the model good enough, better than simple ones, and as good as its training promised?"""

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest

from ml.console import rounded
from ml.data.giveaways import one_column
from ml.project import Project
from ml.quality.baselines import dummy
from ml.quality.metrics import RecordedPredictions, error_measure, interval
from ml.training.bundle import Bundle
from ml.training.pipeline import feature_table
from ml.training.scores import about_class, scorer

MIN_ROWS_OF_A_CLASS = 5


def test_floor(
    floor_metric: str,
    gate: Callable[..., None],
    project: Project,
    positive: Any,
    recorded: RecordedPredictions,
    test_target: pd.Series,
) -> None:
    """A score on the held-out rows is at least its floor."""
    target = test_target.to_numpy()
    gate(
        "floor",
        floor_metric,
        scorer(floor_metric, positive)(recorded, np.arange(len(target)), target),
        at_least=project.gates.floors[floor_metric],
        interval=interval(floor_metric, recorded, target, project.seed, positive),
        note=about_class(floor_metric, positive),
    )


def test_ceiling(
    ceiling_metric: str,
    gate: Callable[..., None],
    project: Project,
    positive: Any,
    recorded: RecordedPredictions,
    test_target: pd.Series,
) -> None:
    """An error on the held-out rows is at most its ceiling."""
    target = test_target.to_numpy()
    gate(
        "ceiling",
        ceiling_metric,
        error_measure(ceiling_metric, positive)(recorded, np.arange(len(target)), target),
        at_most=project.gates.ceilings[ceiling_metric],
        interval=interval(ceiling_metric, recorded, target, project.seed, positive),
        note=about_class(ceiling_metric, positive),
    )


def test_every_class_is_said(
    warn: Callable[[str, str], None],
    project: Project,
    recorded: RecordedPredictions,
    test_target: pd.Series,
) -> None:
    """A class that no answer says is told; that refuses nothing."""
    if project.task == "regression":
        pytest.skip("a regression has no classes")
    rows = test_target.value_counts()
    silent = rows[~rows.index.isin(np.unique(recorded.predictions)) & (rows >= MIN_ROWS_OF_A_CLASS)]
    if len(silent):
        told = ", ".join(
            f"{name} ({count} of {len(test_target)} test rows)" for name, count in silent.items()
        )
        warn(
            "classes that are never said", f"{told}: look at their probabilities instead, or weigh them more"
        )


def test_better_than_a_dummy(
    gate: Callable[..., None],
    declared: Callable[..., float],
    project: Project,
    positive: Any,
    train: pd.DataFrame,
    test_rows: pd.DataFrame,
    test_target: pd.Series,
    test_score: float,
) -> None:
    """The model knows more than the most frequent class, or the mean."""
    least = declared(project.gates.min_gain_over_dummy, "min_gain_over_dummy")
    guess = dummy(project).fit(train[[project.id]], train[project.target])
    theirs = scorer(project.training.metric, positive)(guess, test_rows[[project.id]], test_target)
    gate(
        "gain",
        "over a dummy",
        test_score - theirs,
        at_least=least,
        note=f"(the dummy scores {rounded(theirs)})",
    )


def test_better_than_the_best_single_feature(
    gate: Callable[..., None],
    declared: Callable[..., float],
    project: Project,
    positive: Any,
    train: pd.DataFrame,
    test_rows: pd.DataFrame,
    test_target: pd.Series,
    test_score: float,
) -> None:
    """The model knows more than a small tree on its best column."""
    least = declared(project.gates.min_gain_over_one_feature, "min_gain_over_one_feature")
    ours, theirs = (
        table.astype({name: object for name in project.features.categorical})
        for table in (
            feature_table(project, train.drop(columns=project.target)),
            feature_table(project, test_rows),
        )
    )
    ours, theirs = (table.fillna(dict.fromkeys(project.features.categorical, "")) for table in (ours, theirs))
    scores = {
        name: scorer(project.training.metric, positive)(
            one_column(project, ours[name]).fit(ours[[name]], train[project.target]),
            theirs[[name]],
            test_target,
        )
        for name in project.features.columns
    }
    best = max(scores, key=lambda name: scores[name])
    gate(
        "gain",
        "over the best single feature",
        test_score - scores[best],
        at_least=least,
        note=f"({best} alone scores {rounded(scores[best])})",
    )


def test_gap_between_training_and_test(
    gate: Callable[..., None],
    declared: Callable[..., float],
    project: Project,
    candidate: Bundle,
    test_score: float,
) -> None:
    """The model does not know its training rows by heart."""
    most = declared(project.gates.max_gap, "max_gap")
    gate(
        "gap",
        f"training minus test {project.training.metric}",
        candidate.manifest.training_score - test_score,
        at_most=most,
    )


def test_not_too_good_to_be_true(
    gate: Callable[..., None],
    declared: Callable[..., float],
    project: Project,
    candidate: Bundle,
    test_score: float,
) -> None:
    """A model that is better than anyone can be was told the target: by one column, several, or the rows."""
    most = declared(project.gates.max_score, "max_score")
    promised = candidate.manifest.cross_validation[project.training.metric].mean
    gate(
        "too good to be true",
        project.training.metric,
        max(test_score, promised),
        at_most=most,
        note=f"(test {rounded(test_score)}, cross-validated {rounded(promised)})",
    )


def test_no_better_than_cross_validation_promised(
    gate: Callable[..., None],
    declared: Callable[..., float],
    project: Project,
    candidate: Bundle,
    test_score: float,
) -> None:
    """A model that does much better on the held-out rows than on held-out folds has seen those rows."""
    most = declared(project.gates.max_surprise, "max_surprise")
    promised = candidate.manifest.cross_validation[project.training.metric].mean
    gate(
        "surprise",
        f"test minus cross-validated {project.training.metric}",
        test_score - promised,
        at_most=most,
    )
