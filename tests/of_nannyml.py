"""What NannyML estimates for the rows in some folders; runs in an environment that has it, and not ours."""

import json
import sys
from pathlib import Path
from typing import Any

import nannyml
import pandas as pd


def by_confidence(now: pd.DataFrame, classes: list[str]) -> Any:
    """Return its estimate from probabilities."""
    columns = {name: f"probability_{name}" for name in classes}
    two = len(classes) == 2
    return nannyml.CBPE(
        metrics=["roc_auc", "accuracy"],
        y_pred_proba=columns[classes[1]] if two else columns,
        y_pred="prediction",
        y_true="answer",
        problem_type="classification_binary" if two else "classification_multiclass",
        chunk_size=len(now),
    )


def by_nanny(now: pd.DataFrame) -> Any:
    """Return its estimate from a second model that learned how far off the first one is."""
    return nannyml.DLE(
        feature_column_names=[name for name in now if name != "prediction"],
        y_pred="prediction",
        y_true="answer",
        metrics=["mae"],
        chunk_size=len(now),
    )


def estimated(folder: Path) -> dict[str, tuple[float, float]]:
    """Return the estimate for ``now.csv`` after ``reference.csv`` of a folder and its error, by metric."""
    before, now = (pd.read_csv(folder / f"{name}.csv") for name in ("reference", "now"))
    classes = [name.removeprefix("probability_") for name in now if name.startswith("probability_")]
    estimator = by_confidence(now, classes) if classes else by_nanny(now)
    estimator.fit(before)
    found = estimator.estimate(now).filter(period="analysis").to_df()
    metrics = ("roc_auc", "accuracy") if classes else ("mae",)
    about = ("value", "sampling_error")
    return {name: tuple(float(found[(name, one)].iloc[0]) for one in about) for name in metrics}


if __name__ == "__main__":
    print(json.dumps({name: estimated(Path(name)) for name in sys.argv[1:]}))
