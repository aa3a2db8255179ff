"""Candidates share what lies before their estimators, and are scored as scikit-learn scores them."""

import pandas as pd
import pytest
from sklearn import model_selection

from ml.training import cross_validation
from ml.training.cross_validation import SearchedRows, cross_validate
from ml.training.folds import make_folds
from ml.training.grid import EstimatorChoice, make_estimator
from ml.training.pipeline import build_pipeline
from ml.training.scores import positive_class, scorer
from tests.many_valued import many_valued_project, many_valued_rows

METRICS = {"yield": ["r2", "neg_root_mean_squared_error"], "late": ["f1", "roc_auc"], "class": ["accuracy"]}


def searched(target: str, search: str) -> SearchedRows:
    project = many_valued_project("regression" if target == "yield" else "classification", target)
    rows = many_valued_rows(target)
    answers: pd.Series = rows.pop(target)
    folds = make_folds(project, rows, answers)
    return SearchedRows(search, project, rows, answers, folds, ["tail", "number"])


@pytest.mark.slow
@pytest.mark.parametrize("target", METRICS)
def test_the_scores_are_those_of_the_whole_pipeline(target: str) -> None:
    on, metrics = searched(target, f"whole {target}"), METRICS[target]
    kind = "Regressor" if target == "yield" else "Classifier"
    scoring = {name: scorer(name, positive_class(on.project, on.target)) for name in metrics}
    for name, parameters in (
        (f"CatBoost{kind}", {"iterations": 5}),
        (f"DecisionTree{kind}", {"max_depth": 3}),
    ):
        candidate = EstimatorChoice(name, parameters)
        pipeline = build_pipeline(on.project, make_estimator(candidate, on.project.seed), on.many_valued)
        expected = model_selection.cross_validate(
            pipeline, on.rows, on.target, cv=on.folds, scoring=scoring, return_train_score=True
        )
        for _ in range(2):  # the second time from what was kept
            scores, learned = cross_validate(candidate, on, metrics, metrics[0])
            assert scores == {metric: list(expected[f"test_{metric}"]) for metric in metrics}
            assert learned == expected[f"train_{metrics[0]}"].mean()


def test_what_is_kept_is_of_one_search_and_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    candidate = EstimatorChoice("DecisionTreeClassifier", {"max_depth": 2})
    for search in ("first", "second"):
        cross_validate(candidate, searched("late", search), ["accuracy"], "accuracy")
        assert {key[0] for key in cross_validation._kept} == {search}
    assert len(cross_validation._kept) == 5
    monkeypatch.setattr(cross_validation, "MAX_BYTES", 0)
    cross_validate(candidate, searched("late", "third"), ["accuracy"], "accuracy")
    assert cross_validation._kept == {}
