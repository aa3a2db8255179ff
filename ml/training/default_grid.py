"""The grid that a new project begins with: few candidates that are good on most tables."""

import json
from typing import Any

from ml.data.infer.draft import Task

# Trees that look at a part of the columns at a time stand beside the usual: on six of seven public tables it
# was not worse than CatBoost with its defaults, on diamonds by 0.0013 of R², in 0.4 to 2.9 times its CPU
# (`python -m tests.bench tables`).
GRIDS: dict[Task, dict[str, dict[str, list[Any]]]] = {
    "classification": {
        "LogisticRegression": {"C": [0.1, 1.0], "max_iter": [1000]},
        "CatBoostClassifier": {"iterations": [1000], "depth": [4, 6], "rsm": [0.3, 1.0]},
    },
    "regression": {
        "Ridge": {"alpha": [1.0, 10.0]},
        "CatBoostRegressor": {"iterations": [1500], "learning_rate": [0.05], "depth": [5], "rsm": [0.5, 1.0]},
    },
}


def grid_text(task: Task) -> str:
    """Return ``grid.json``, an estimator a line."""
    lines = [f"  {json.dumps(name)}: {json.dumps(values)}" for name, values in GRIDS[task].items()]
    return "{\n" + ",\n".join(lines) + "\n}\n"
