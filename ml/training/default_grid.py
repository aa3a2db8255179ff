"""The grid that a new project begins with: few candidates that are good on most tables."""

from typing import Any

from ml.data.infer.draft import Task

BOOSTED: dict[str, list[Any]] = {"iterations": [1000], "learning_rate": [0.03], "depth": [4, 6]}
CLASSIFICATION: dict[str, dict[str, list[Any]]] = {
    "LogisticRegression": {"C": [0.1, 1.0], "max_iter": [1000]},
    "CatBoostClassifier": BOOSTED,
}
REGRESSION: dict[str, dict[str, list[Any]]] = {
    "Ridge": {"alpha": [1.0, 10.0]},
    "CatBoostRegressor": BOOSTED,
}


def default_grid(task: Task) -> dict[str, dict[str, list[Any]]]:
    """Return the candidates by estimator, each with the values of its parameters."""
    return CLASSIFICATION if task == "classification" else REGRESSION


def grid_text(task: Task) -> str:
    """Return ``grid.json``, an estimator a line."""
    import json

    lines = [f"  {json.dumps(name)}: {json.dumps(values)}" for name, values in default_grid(task).items()]
    return "{\n" + ",\n".join(lines) + "\n}\n"
