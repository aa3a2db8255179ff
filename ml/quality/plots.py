"""The pictures of the report, each a matplotlib figure from plain numbers."""

from typing import Any

import matplotlib
import numpy as np
import pandas as pd

matplotlib.use("Agg")

from matplotlib import pyplot  # noqa: E402  (the backend is chosen first)
from matplotlib.axes import Axes  # noqa: E402
from matplotlib.figure import Figure  # noqa: E402
from sklearn.calibration import calibration_curve  # noqa: E402
from sklearn.metrics import (  # noqa: E402
    ConfusionMatrixDisplay,
    PrecisionRecallDisplay,
    RocCurveDisplay,
)

from ml.quality.metrics import RecordedPredictions  # noqa: E402

BLUE, GREY, RED = "#2b6cb0", "#a0aec0", "#c53030"


def _axes(height: float = 4.0) -> tuple[Figure, Axes]:
    figure, axes = pyplot.subplots(figsize=(5, height), layout="constrained")
    axes.spines[["top", "right"]].set_visible(False)
    return figure, axes


def _probability_of(recorded: RecordedPredictions, positive: Any) -> tuple[Any, np.ndarray]:
    """Return the positive class, the second one unless told, and its probability of each row."""
    assert recorded.probabilities is not None and recorded.classes_ is not None
    place = 1 if positive is None else list(recorded.classes_).index(positive)
    return recorded.classes_[place], recorded.probabilities[:, place]


def roc_and_precision_recall(
    recorded: RecordedPredictions, target: pd.Series, positive: Any = None
) -> Figure:
    """Return both curves of a two-class model side by side."""
    assert recorded.probabilities is not None and recorded.classes_ is not None
    figure, (left, right) = pyplot.subplots(1, 2, figsize=(8, 4), layout="constrained")
    label, said = _probability_of(recorded, positive)
    chance = {"plot_chance_level": True, "curve_kwargs": {"color": BLUE}, "pos_label": label}
    RocCurveDisplay.from_predictions(target, said, ax=left, name="model", **chance)
    PrecisionRecallDisplay.from_predictions(target, said, ax=right, name="model", **chance)
    for axes, name in ((left, "ROC"), (right, "precision and recall")):
        axes.set(title=name)
        axes.legend(loc="lower right" if axes is left else "lower left", fontsize=8)
    return figure


def calibration(recorded: RecordedPredictions, target: pd.Series, positive: Any = None) -> Figure:
    """Return how often the positive class happens, by how probable the model calls it."""
    assert recorded.probabilities is not None and recorded.classes_ is not None
    label, stated = _probability_of(recorded, positive)
    happened = (target == label).to_numpy()
    often, said = calibration_curve(happened, stated, n_bins=10, strategy="quantile")
    figure, axes = _axes()
    axes.plot([0, 1], [0, 1], "--", color=GREY, label="perfect")
    axes.plot(said, often, "o-", color=BLUE, label="model, ten bins")
    axes.set(xlabel=f"probability of {label} as stated", ylabel="share that came true")
    axes.legend()
    return figure


def confusion(recorded: RecordedPredictions, target: pd.Series) -> Figure:
    """Return the confusion matrix on the test rows."""
    figure, axes = pyplot.subplots(figsize=(5, 4), layout="constrained")
    ConfusionMatrixDisplay.from_predictions(
        target, recorded.predictions, ax=axes, cmap="Blues", colorbar=False
    )
    return figure


def predicted_against_true(recorded: RecordedPredictions, target: pd.Series) -> Figure:
    """Return a regression's predictions against the truth, and the residuals."""
    figure, (left, right) = pyplot.subplots(1, 2, figsize=(8, 4), layout="constrained")
    ends = [min(target.min(), recorded.predictions.min()), max(target.max(), recorded.predictions.max())]
    left.plot(ends, ends, "--", color=GREY)
    left.scatter(target, recorded.predictions, s=8, color=BLUE, alpha=0.6)
    left.set(xlabel="true", ylabel="predicted", title="predictions")
    right.hist(recorded.predictions - target.to_numpy(), bins=30, color=BLUE)
    right.set(xlabel="predicted minus true", ylabel="test rows", title="residuals")
    return figure


def importance(found: dict[str, dict[str, float]], metric: str) -> Figure:
    """Return what is lost when a feature is shuffled."""
    table = pd.DataFrame(found).T.sort_values("mean")
    figure, axes = _axes()
    colours = [BLUE if mean > 0 else GREY for mean in table["mean"]]
    axes.barh(table.index, table["mean"], xerr=table["spread"], color=colours, ecolor=GREY)
    axes.set_xlabel(f"mean loss of {metric}, 5 shuffles")
    return figure


def slices(found: dict[str, dict[str, float]], metric: str, overall: float) -> Figure:
    """Return the score of each slice with its 95 % interval."""
    names = list(found)[::-1]
    figure, axes = _axes(max(3.0, 0.32 * len(names) + 0.8))
    for place, name in enumerate(names):
        one = found[name]
        axes.plot([one["low"], one["high"]], [place, place], color=GREY)
        axes.plot(one["value"], place, "o", color=BLUE)
    axes.axvline(overall, linestyle="--", color=GREY)
    axes.set_yticks(range(len(names)), [f"{name} ({found[name]['rows']})" for name in names], fontsize=8)
    axes.set_xlabel(f"{metric}, 95 % interval; dashed: all rows")
    return figure


def robustness(found: dict[str, dict[str, float]], metric: str) -> Figure:
    """Return the score against the strength of each damage."""
    figure, axes = _axes()
    for name, curve in found.items():
        axes.plot(
            [float(strength) for strength in curve], list(curve.values()), "o-", markersize=3, label=name
        )
    axes.set(xlabel="strength of the damage", ylabel=metric)
    axes.legend(fontsize=8)
    return figure


def training_curve(found: dict[str, list[float]]) -> Figure:
    """Return the error on training and test rows, step by step."""
    figure, axes = _axes()
    for name, colour in (("training", GREY), ("test", BLUE)):
        axes.plot(range(1, len(found[name]) + 1), found[name], color=colour, label=name)
    best = int(np.argmin(found["test"]))
    axes.plot(best + 1, found["test"][best], "o", color=BLUE)
    axes.set(xlabel="steps of boosting", ylabel="error (log loss, or squared)")
    axes.legend()
    return figure


def trials(found: list[dict[str, Any]], metric: str) -> Figure:
    """Return the cross-validated score of every trial, by estimator."""
    table = pd.DataFrame(
        [
            (one["estimator"], one["scores"][metric]["mean"], one["scores"][metric]["standard_deviation"])
            for one in found
        ],
        columns=["estimator", "mean", "spread"],
    )
    order = table.groupby("estimator")["mean"].max().sort_values().index
    figure, axes = _axes()
    for place, estimator in enumerate(order):
        mine = table[table["estimator"] == estimator].sort_values("mean", ignore_index=True)
        heights = place + (mine.index - (len(mine) - 1) / 2) * 0.1
        axes.errorbar(
            mine["mean"], heights, xerr=mine["spread"], fmt="o", markersize=4, color=BLUE, ecolor="#cbd5e0"
        )
    names = [name.removesuffix("Classifier").removesuffix("Regressor") for name in order]
    axes.set_yticks(range(len(order)), names)
    axes.set_xlabel(f"{metric}: mean and deviation over the folds")
    return figure
