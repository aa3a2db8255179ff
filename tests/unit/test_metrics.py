"""Scores and their intervals."""

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LogisticRegression

from ml.errors import MlError
from ml.metrics import RecordedPredictions, interval, scorer


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
