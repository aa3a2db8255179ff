"""The grid that a new project begins with: few candidates that are good on most tables."""

import json
from typing import Any

from ml.data.infer.draft import Task

Grid = dict[str, dict[str, list[Any]]]

# Chosen by cross-validation on the training rows of seven public tables, so that none is worse than CatBoost
# with its defaults, which costs more where there are categories; `python -m tests.bench tables` tells by the
# test rows. Few rows are best learned by shallow trees that learn slowly or see a part of the columns at a
# time; a learning rate of null is CatBoost's own guess.
LINEAR: dict[Task, Grid] = {
    "classification": {"LogisticRegression": {"C": [0.1, 1.0], "max_iter": [1000]}},
    "regression": {"Ridge": {"alpha": [1.0, 10.0]}},
}
FEW_ROWS: dict[Task, Grid] = {
    "classification": {
        "CatBoostClassifier": {
            "iterations": [1000],
            "learning_rate": [None, 0.01],
            "depth": [4],
            "rsm": [0.5, 1.0],
        },
    },
    "regression": {
        "CatBoostRegressor": {"iterations": [1500], "learning_rate": [0.05], "depth": [5], "rsm": [0.5, 1.0]},
    },
}
MANY_ROWS: dict[Task, Grid] = {
    "classification": {"CatBoostClassifier": {"iterations": [1000], "depth": [4, 6], "rsm": [0.5, 1.0]}},
    "regression": {
        "CatBoostRegressor": {"iterations": [1500], "learning_rate": [0.08], "depth": [7], "rsm": [0.5, 1.0]},
    },
}
MANY = 10_000


def grid_text(task: Task, rows: int) -> str:
    """Return ``grid.json`` for so many rows to learn from, an estimator a line."""
    grid = LINEAR[task] | (MANY_ROWS if rows >= MANY else FEW_ROWS)[task]
    lines = [f"  {json.dumps(name)}: {json.dumps(values)}" for name, values in grid.items()]
    return "{\n" + ",\n".join(lines) + "\n}\n"
