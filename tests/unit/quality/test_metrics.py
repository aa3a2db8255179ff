"""Scores and their intervals."""

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LogisticRegression

from ml.errors import MlError
from ml.project import find_project
from ml.quality.metrics import (
    RecordedClasses,
    RecordedPredictions,
    _quick,
    calibration_error,
    error_measure,
    interval,
    mcnemar,
    paired_interval,
)
from ml.training.scores import about_class, positive_class, scorer


@pytest.fixture
def fitted() -> tuple[LogisticRegression, pd.DataFrame, np.ndarray]:
    random = np.random.default_rng(1)
    rows = pd.DataFrame({"x": random.normal(size=200)})
    target = (rows["x"] + random.normal(size=200) > 0).astype(int).to_numpy()
    return LogisticRegression().fit(rows, target), rows, target


@pytest.mark.parametrize("metric", ["accuracy", "f1", "roc_auc", "neg_log_loss"])
def test_recorded_predictions_score_as_the_model_does(
    metric: str, fitted: tuple[LogisticRegression, pd.DataFrame, np.ndarray]
) -> None:
    model, rows, target = fitted
    recorded = RecordedPredictions.of(model, rows)
    everything = np.arange(len(target))
    assert scorer(metric)(recorded, everything, target) == scorer(metric)(model, rows, target)


def test_the_interval_holds_the_score_and_has_the_width_that_theory_gives(
    fitted: tuple[LogisticRegression, pd.DataFrame, np.ndarray],
) -> None:
    model, rows, target = fitted
    value = scorer("accuracy")(model, rows, target)
    low, high = interval("accuracy", RecordedPredictions.of(model, rows), target, seed=1)
    theory = 2 * 1.96 * np.sqrt(value * (1 - value) / len(target))
    assert low < value < high
    assert high - low == pytest.approx(theory, rel=0.2)


def test_an_unknown_metric_is_refused() -> None:
    with pytest.raises(MlError, match="unknown metric 'acuracy'"):
        scorer("acuracy")


@pytest.mark.parametrize("metric", ["accuracy", "precision", "recall", "f1"])
def test_the_quick_way_to_a_score_leads_to_scikit_learn_s(metric: str) -> None:
    random = np.random.default_rng(1)
    target, said = random.integers(0, 2, 90), random.integers(0, 2, 90)
    recorded = RecordedClasses(said, None, np.array([0, 1]))
    quick = _quick(metric, recorded, target)
    assert quick is not None
    for rows in (np.arange(90), random.integers(0, 90, 90), np.flatnonzero(target == 1)):
        assert quick(rows) == pytest.approx(scorer(metric)(recorded, rows, target[rows]))
    never = RecordedClasses(np.zeros(90, dtype=int), None, np.array([0, 1]))
    assert metric == "accuracy" or _quick(metric, never, target)(np.arange(90)) == 0  # type: ignore[misc]


@pytest.mark.parametrize("metric", ["roc_auc", "log_loss"])
@pytest.mark.parametrize("classes", [["no", "yes"], ["a", "b", "c"]])
def test_the_quick_way_with_probabilities_leads_there_too(metric: str, classes: list[str]) -> None:
    random = np.random.default_rng(1)
    probabilities = random.integers(1, 9, (90, len(classes))) / 10.0  # few values: many are equal
    probabilities /= probabilities.sum(axis=1, keepdims=True)
    probabilities[0] = [1.0, *[0.0] * (len(classes) - 1)]
    target = random.choice(classes, 90)
    recorded = RecordedClasses(np.repeat(classes[0], 90), probabilities, np.array(classes))
    quick = _quick(metric, recorded, target)
    if metric == "roc_auc" and len(classes) > 2:
        assert quick is None
        return
    measure = scorer(metric) if metric == "roc_auc" else error_measure(metric)
    for rows in (np.arange(90), random.integers(0, 90, 90)):
        assert quick is not None and quick(rows) == pytest.approx(measure(recorded, rows, target[rows]))


@pytest.mark.parametrize("metric", ["r2", "mean_absolute_error", "root_mean_squared_error"])
def test_the_quick_way_with_numbers_leads_there_too(metric: str) -> None:
    random = np.random.default_rng(1)
    target = random.normal(size=90)
    recorded = RecordedPredictions(target + random.normal(size=90), None, None)
    quick = _quick(metric, recorded, target)
    measure = scorer(metric) if metric == "r2" else error_measure(metric)
    for rows in (np.arange(90), random.integers(0, 90, 90)):
        assert quick is not None and quick(rows) == pytest.approx(measure(recorded, rows, target[rows]))


def test_other_classes_and_metrics_are_left_to_scikit_learn() -> None:
    named = RecordedClasses(np.array(["a", "b"]), None, np.array(["a", "b"]))
    assert _quick("f1", named, np.array(["a", "b"])) is None
    assert (
        _quick("roc_auc", RecordedClasses(np.array([0, 1]), None, np.array([0, 1])), np.array([0, 1])) is None
    )


def test_an_error_is_measured_by_its_plain_name(
    fitted: tuple[LogisticRegression, pd.DataFrame, np.ndarray],
) -> None:
    model, rows, target = fitted
    assert error_measure("log_loss")(model, rows, target) == -scorer("neg_log_loss")(model, rows, target)
    with pytest.raises(MlError, match="unknown error 'rmse'"):
        error_measure("rmse")


def test_calibration_error_is_what_is_said_too_much() -> None:
    target = np.array([0, 1] * 100)
    sure = RecordedClasses(np.ones(200, dtype=int), np.array([[0.1, 0.9]] * 200), np.array([0, 1]))
    assert calibration_error(sure, np.arange(200), target) == pytest.approx(0.4)


def test_the_paired_interval_of_equal_models_is_zero_and_narrower_than_two_single_ones() -> None:
    random = np.random.default_rng(1)
    target = random.integers(0, 2, 300)
    ours = np.where(random.random(300) < 0.8, target, 1 - target)
    theirs = np.where(np.arange(300) < 6, 1 - ours, ours)
    one, other = (RecordedClasses(predictions, None, np.array([0, 1])) for predictions in (ours, theirs))
    assert paired_interval("accuracy", one, one, target, seed=1) == (0.0, 0.0)
    low, high = paired_interval("accuracy", one, other, target, seed=1)
    alone = interval("accuracy", one, target, seed=1)
    assert high - low < (alone[1] - alone[0]) / 2


def test_mcnemar_is_the_binomial_test_of_the_rows_that_only_one_gets_right() -> None:
    target = np.ones(20, dtype=int)
    ours, theirs = target.copy(), target.copy()
    ours[:8], theirs[8:9] = 0, 0
    assert mcnemar(ours, theirs, target) == pytest.approx(10 / 512)
    assert mcnemar(target, target, target) == 1.0
    forgiven = mcnemar(ours, theirs, target, tolerance=0.02)
    assert forgiven > mcnemar(ours, theirs, target)
    assert mcnemar(ours, theirs, target, tolerance=1.0) == 1.0


@pytest.mark.parametrize(
    ("classes", "declared", "positive"),
    [
        ([0, 0, 0, 1], None, 1),
        ([0, 1, 1, 1], None, 1),
        ([False, True, True], None, True),
        (["No", "No", "Yes"], None, "Yes"),
        (["No", "Yes", "Yes"], None, "No"),
        (["No", "No", "Yes"], "No", "No"),
        (["a", "b", "c"], None, None),
    ],
)
def test_the_positive_class_is_the_declared_one_or_1_or_the_rarer_one(
    classes: list[object], declared: object, positive: object
) -> None:
    project = find_project("titanic").model_copy(update={"positive": declared})
    assert positive_class(project, pd.Series(classes)) == positive


@pytest.mark.parametrize("metric", ["f1", "precision", "recall", "average_precision", "neg_brier_score"])
def test_scores_of_one_class_are_of_the_positive_one(
    metric: str, fitted: tuple[LogisticRegression, pd.DataFrame, np.ndarray]
) -> None:
    _, rows, numbers = fitted
    texts = np.where(numbers == 1, "Yes", "No")
    said, plain = (LogisticRegression().fit(rows, target) for target in (texts, numbers))
    assert scorer(metric, "Yes")(said, rows, texts) == pytest.approx(scorer(metric)(plain, rows, numbers))
    mirrored = LogisticRegression().fit(rows, 1 - numbers)
    expected = scorer(metric)(mirrored, rows, 1 - numbers)
    assert scorer(metric, "No")(said, rows, texts) == pytest.approx(expected)
    assert about_class(metric, "Yes") == "(of class 'Yes')" and about_class(metric, 1) == ""
    assert about_class("accuracy", "Yes") == about_class("roc_auc", "Yes") == ""


def test_the_quick_way_knows_the_positive_class() -> None:
    said, target = np.array(["No", "Yes", "Yes"]), np.array(["Yes", "Yes", "No"])
    quick = _quick("recall", RecordedClasses(said, None, np.array(["No", "Yes"])), target, "Yes")
    assert quick is not None and quick(np.arange(3)) == 0.5
