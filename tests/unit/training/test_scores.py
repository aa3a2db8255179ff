"""Scores by scikit-learn's names: those that a task has none of are told before anything is fitted."""

import pandas as pd
import pytest

from ml.errors import MlError
from ml.project import Project, find_project
from ml.training.scores import check_metrics

TARGETS = {
    "temperature": [3.5, 4.5, 3.75, 8.25],
    "whole numbers": [3, 4, 9, 7],
    "titanic": [0, 1, 1, 0],
    "texts": ["no", "yes", "no", "no"],
    "three": ["a", "b", "c", "a"],
}


def project_of(kind: str) -> Project:
    found = find_project("temperature" if kind in ("temperature", "whole numbers") else "titanic")
    return found.model_copy(update={"positive": "yes" if kind == "texts" else None})


@pytest.mark.parametrize(
    ("kind", "metric"),
    [
        ("temperature", "f1"),
        ("temperature", "roc_auc"),
        ("whole numbers", "accuracy"),
        ("texts", "r2"),
        ("three", "f1"),
        ("three", "roc_auc"),
    ],
)
def test_a_metric_that_the_task_has_not_is_named_with_some_that_it_has(kind: str, metric: str) -> None:
    project = project_of(kind)
    able = "r2, neg_mean_absolute_error" if project.task == "regression" else "accuracy, f1_macro"
    with pytest.raises(MlError, match=rf"project.toml: the metric '{metric}' does not fit .*{able}"):
        check_metrics(project, [metric], pd.Series(TARGETS[kind]))


@pytest.mark.parametrize(
    ("kind", "metrics"),
    [
        ("temperature", ["r2", "neg_mean_absolute_error", "neg_root_mean_squared_error"]),
        ("temperature", ["neg_mean_gamma_deviance", "neg_mean_squared_log_error", "neg_max_error"]),
        ("whole numbers", ["r2", "neg_mean_absolute_percentage_error"]),
        ("titanic", ["accuracy", "f1", "roc_auc", "average_precision", "neg_log_loss", "neg_brier_score"]),
        ("texts", ["f1", "precision", "recall", "roc_auc", "average_precision", "matthews_corrcoef"]),
        ("three", ["f1_macro", "roc_auc_ovr", "neg_log_loss", "balanced_accuracy", "top_k_accuracy"]),
    ],
)
def test_a_metric_that_fits_is_taken(kind: str, metrics: list[str]) -> None:
    check_metrics(project_of(kind), metrics, pd.Series(TARGETS[kind]))
