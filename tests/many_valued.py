"""A project whose categories have many values, and rows for it."""

import numpy as np
import pandas as pd

from ml.project import Project, find_project

ROWS = 600


def many_valued_project(task: str, target: str, limit: int = 50) -> Project:
    """Return the Titanic with other features: categories with more values than the limit."""
    titanic = find_project("titanic")
    features = {"functions": [], "numeric": ["size"], "categorical": ["tail", "number", "kind"]}
    found = titanic.model_copy(
        update={
            "task": task,
            "target": target,
            "id": "id",
            "features": type(titanic.features)(**features, max_categories=limit),
        }
    )
    found._folder, found._name = titanic.folder, "many"
    return found


def many_valued_rows(target: str) -> pd.DataFrame:
    """Return rows for it, with the target `yield` (numbers), `late` (two classes) or `class` (three)."""
    random = np.random.default_rng(1)
    number = random.integers(0, 120, ROWS)
    truth = (number % 7) + random.normal(0, 0.5, ROWS)
    answers = {
        "yield": truth,
        "late": np.where(truth > 3, "Yes", "No"),
        "class": np.array(["low", "middle", "high"])[np.digitize(truth, [2, 4])],
    }
    return pd.DataFrame(
        {
            "id": range(ROWS),
            "size": random.normal(size=ROWS),
            "tail": pd.Series([f"N{one}" for one in number]).mask(random.random(ROWS) < 0.05),
            "number": number,
            "kind": random.choice(["a", "b"], ROWS),
            target: answers[target],
        }
    )
