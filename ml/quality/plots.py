"""The pictures of the report, each from plain numbers, with what it shows in words."""

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from sklearn.calibration import calibration_curve
from sklearn.metrics import auc, average_precision_score, confusion_matrix, precision_recall_curve, roc_curve

from ml.quality.drawing import (
    BLUE,
    GREY,
    INK,
    RED,
    WIDTH,
    Picture,
    axes,
    label,
    number,
    pair_of_axes,
    rows_of,
    set_logarithmic,
    told_apart,
)
from ml.quality.metrics import CALIBRATION_BINS, RecordedPredictions
from ml.records import Gate

MAX_POINTS = 400  # of a curve or a cloud: more are not seen, and make the file large
REACH = 4  # of the quartiles' distance: how far beyond them values are drawn
STRETCHED = 3  # times the range of the bulk: with more, it is a spot in a corner
MAX_FEATURES = 30  # that are drawn, the most harmful ones among them
MAX_HARMFUL = 10
MAX_COUNTED = 20  # classes whose confusions are told in numbers
MAX_CLASS_NAME = 24  # letters
LETTER = 0.64  # the width of a digit, of its height


def _probability_of(recorded: RecordedPredictions, positive: Any) -> tuple[Any, np.ndarray]:
    """Return the positive class, the second one unless told, and its probability of each row."""
    assert recorded.probabilities is not None and recorded.classes_ is not None
    place = 1 if positive is None else list(recorded.classes_).index(positive)
    return recorded.classes_[place], recorded.probabilities[:, place]


def roc_and_precision_recall(recorded: RecordedPredictions, target: pd.Series, positive: Any) -> Picture:
    """Return both curves of a two-class model side by side."""
    positive, said = _probability_of(recorded, positive)
    false, true, _ = roc_curve(target, said, pos_label=positive)
    precision, recall, _ = precision_recall_curve(target, said, pos_label=positive)
    area = float(auc(false, true))
    average = float(average_precision_score(target, said, pos_label=positive))
    figure, left, right = pair_of_axes()
    left.plot([0, 1], [0, 1], "--", color=GREY)
    left.plot(*_thinned(false, true), color=BLUE)
    left.set(title=f"ROC: area {area:.3f}", xlabel="false positive rate", ylabel="true positive rate")
    right.axhline(float((target == positive).mean()), linestyle="--", color=GREY)
    right.plot(*_thinned(recall, precision), color=BLUE)
    right.set(title=f"average precision {average:.3f}", xlabel="recall", ylabel="precision", ylim=(0, 1.05))
    finding = f"ROC curve: area {area:.2f}. Precision and recall: average precision {average:.2f}."
    return Picture("ROC, precision and recall on the test rows; dashed: chance", finding, figure)


def calibration(recorded: RecordedPredictions, target: pd.Series, positive: Any) -> Picture:
    """Return how often the positive class happens, by how probable the model calls it."""
    positive, stated = _probability_of(recorded, positive)
    happened = (target == positive).to_numpy()
    often, said = calibration_curve(happened, stated, n_bins=CALIBRATION_BINS, strategy="quantile")
    figure, drawn = axes(xlabel=label(f"stated probability of {positive}"), ylabel="share that came true")
    low, high = min(said.min(), often.min()), max(said.max(), often.max())
    # Of rare events all points would be one spot in the corner.
    ends = (low, high) if 0 < high - low < 0.5 else (0.0, 1.0)
    drawn.plot(ends, ends, "--", color=GREY)
    drawn.plot(said, often, "o-", color=BLUE)
    worst = int(np.argmax(np.abs(often - said)))
    finding = f"Calibration: farthest off where {said[worst]:.2g} is stated and {often[worst]:.2g} came true."
    return Picture("Are its probabilities true? Bins of equal rows; dashed: perfect", finding, figure)


def confusion(recorded: RecordedPredictions, target: pd.Series) -> Picture:
    """Return the confusion matrix on the test rows."""
    classes = sorted(set(target) | set(recorded.predictions.tolist()))
    counts = confusion_matrix(target, recorded.predictions, labels=classes)
    figure, drawn = _matrix(told_apart([str(one) for one in classes], MAX_CLASS_NAME))
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    cell = 72 * figure.get_figwidth() * drawn.get_position().width / len(classes)  # points, as sizes of fonts
    size = min(9.5, 0.9 * cell / (LETTER * len(str(counts.max()))))
    for row, column in np.ndindex(*counts.shape) if len(classes) <= MAX_COUNTED else ():
        drawn.text(column + 0.5, row + 0.5, f"{counts[row, column]}", ha="center", va="center", fontsize=size)
    for row, column in np.ndindex(*counts.shape):
        drawn.bar(column + 0.5, 1, 0.96, row, color=BLUE, alpha=0.06 + 0.6 * shares[row, column])
    right = int(np.trace(counts))
    finding = f"Confusion matrix: {right} of {counts.sum()} test rows right; " + ", ".join(
        f"{label(one)} {counts[place, place]} of {counts[place].sum()}"
        for place, one in enumerate(classes[:10])
    )
    return Picture("Confusion matrix on the test rows", finding + ".", figure)


def _matrix(names: list[str]) -> tuple[Figure, Axes]:
    """Return axes with each name on both sides, as large as their number asks for."""
    count, longest = len(names), max(map(len, names))
    left = 0.62 + 0.065 * longest  # all in inches
    width = max(WIDTH, left + 0.3 * min(count, MAX_COUNTED) + 0.16)
    upright = longest * 0.085 * count > width - left
    bottom = 0.5 + 0.075 * longest if upright else 0.55
    height = min(max(2.45, 0.22 * count), 6.0) + bottom + 0.2
    figure = Figure(figsize=(width, height))
    drawn = figure.add_axes(
        (left / width, bottom / height, 0.97 - left / width, 1 - (bottom + 0.2) / height),
        xlabel="predicted",
        ylabel="true",
        xlim=(0, count),
        ylim=(count, 0),
    )
    ticks, every = np.arange(count) + 0.5, -(-count // 40)
    drawn.set_xticks(ticks[::every], names[::every], rotation=90 if upright else 0)
    drawn.set_yticks(ticks[::every], names[::every])
    drawn.tick_params(labelsize=9.5 if count <= 10 else 8 if count <= MAX_COUNTED else 7)
    return figure, drawn


def predicted_against_true(recorded: RecordedPredictions, target: pd.Series) -> Picture:
    """Return a regression's predictions against the truth, and the residuals."""
    true, said = target.to_numpy(dtype=float), recorded.predictions
    figure, left, right = pair_of_axes()
    ends = [min(true.min(), said.min()), max(true.max(), said.max())]
    left.plot(ends, ends, "--", color=GREY)
    left.plot(*_thinned(true, said), "o", markersize=2.5, color=BLUE, alpha=0.5)
    low, high = _bulk(true)
    stretched = ends[1] - ends[0] > STRETCHED * (high - low)
    if stretched:
        set_logarithmic(left, np.abs([true, said]))
    left.set(
        xlabel="true", ylabel="predicted", title="predictions, log scales" if stretched else "predictions"
    )
    residuals = said - true
    low, high = _bulk(residuals)
    beyond = int(((residuals < low) | (residuals > high)).sum())
    right.hist(residuals, bins=25, range=(low, high), color=BLUE)
    right.axvline(0, color=GREY, linestyle="--")
    title = f"residuals, {beyond} beyond" if beyond else "residuals"
    right.set(xlabel="predicted minus true", ylabel="test rows", title=title)
    half, most = (number(float(np.quantile(np.abs(residuals), share))) for share in (0.5, 0.95))
    rest = f"; {beyond} rows lie beyond the residuals that are drawn" if beyond else ""
    finding = f"Predictions: half of them are less than {half} off, 95 % less than {most}{rest}."
    return Picture("Predicted against true, and the residuals, on the test rows", finding, figure)


def _bulk(values: np.ndarray) -> tuple[float, float]:
    """Return the ends of the values but for those so far out that the others would be one bar."""
    low, high = np.quantile(values, (0.25, 0.75))
    reach = REACH * (high - low)
    near = values[(values >= low - reach) & (values <= high + reach)] if reach else values
    return float(near.min()), float(near.max())


def importance(found: dict[str, dict[str, float]], metric: str) -> Picture:
    """Return what is lost when a feature is shuffled."""
    order = sorted(found, key=lambda name: -found[name]["mean"])
    harmful = sum(found[name]["mean"] < 0 for name in order)
    last = min(harmful, MAX_HARMFUL) if len(order) > MAX_FEATURES else 0
    names = order[: MAX_FEATURES - last] + order[len(order) - last :]
    means = [found[name]["mean"] for name in names]
    figure, drawn = rows_of(names, xlabel=f"loss of {metric} when it is shuffled")
    colours = [BLUE if mean > 0 else GREY for mean in means]
    spreads = [found[name]["spread"] for name in names]
    drawn.barh(range(len(names)), means, 0.6, xerr=spreads, color=colours, ecolor=INK)
    finding = f"Importance: most is lost without {names[0]} ({number(means[0])} of {metric})."
    left_out = len(order) - len(names)
    rest = f"; {left_out} of {len(order)} features between them are left out" if left_out else ""
    return Picture(f"Features, by what they add: mean and deviation of 5 shuffles{rest}", finding, figure)


def slices(gates: list[Gate], found: dict[str, dict[str, float]], metric: str, overall: float) -> Picture:
    """Return the score of each slice with its 95 % interval, its threshold and the score of all rows."""
    names = [f"{gate.about} ({found[gate.about]['rows']})" for gate in gates]
    figure, drawn = rows_of(names, xlabel=f"{metric}; dashed: all rows; upright: threshold")
    drawn.axvline(overall, linestyle="--", color=GREY)
    _forest(drawn, gates)
    worst = min(gates, key=lambda gate: gate.value or 0.0)
    lowest = f"lowest is {worst.about} with {metric} {number(worst.value)}"
    finding = f"Slices: {lowest}; all rows {number(overall)}."
    return Picture("Slices of the test rows (their number), with 95 % intervals", finding, figure)


def against_champion(gates: list[Gate]) -> Picture:
    """Return the difference to the champion, overall and on every slice, with the intervals of the gates."""
    names = [gate.about.partition(" of ")[2] or gate.about.partition(",")[0] for gate in gates]
    figure, drawn = rows_of(names, xlabel="candidate minus champion; upright: threshold")
    drawn.axvline(0, linestyle="--", color=GREY)
    _forest(drawn, gates)
    better = sum((gate.value or 0.0) >= 0 for gate in gates)
    finding = f"Candidate minus champion: as good or better in {better} of {len(gates)} comparisons."
    return Picture("Candidate minus champion, with the intervals of the gates", finding, figure)


def _forest(drawn: Axes, gates: list[Gate]) -> None:
    for place, gate in enumerate(gates):
        colour = RED if gate.outcome == "refused" else BLUE
        if gate.interval:
            drawn.plot(gate.interval, [place, place], color=colour, alpha=0.6)
        for value, marker, size, ink in ((gate.value, "o", 4.5, colour), (gate.threshold, "|", 11, INK)):
            if value is not None:
                drawn.plot([value], [place], marker, markersize=size, color=ink)


def robustness(found: dict[str, dict[str, float]], metric: str) -> Picture:
    """Return the score against the strength of each damage."""
    figure, drawn = axes(xlabel="strength of the damage", ylabel=metric)
    for (name, curve), dashes in zip(found.items(), ("-", "--", "-.", ":", (0, (3, 1, 1, 1))), strict=False):
        strengths = [float(strength) for strength in curve]
        drawn.plot(strengths, list(curve.values()), marker="o", markersize=3, linestyle=dashes, label=name)
    drawn.legend()
    lost = {name: curve["0"] - min(curve.values()) for name, curve in found.items()}
    worst = max(lost, key=lambda name: lost[name])
    finding = f"Damaged rows: {worst} cost most, up to {number(lost[worst])} of {metric}."
    return Picture("Damaged test rows", finding, figure)


def training_curve(found: dict[str, list[float]]) -> Picture:
    """Return the error on training and test rows, step by step."""
    figure, drawn = axes(xlabel="steps of boosting", ylabel="error (log loss, or squared)")
    for name, colour in (("training", GREY), ("test", BLUE)):
        steps = np.arange(1, len(found[name]) + 1)
        drawn.plot(*_thinned(steps, np.array(found[name])), color=colour, label=name)
    best = int(np.argmin(found["test"]))
    drawn.plot(best + 1, found["test"][best], "o", color=BLUE)
    drawn.legend()
    finding = f"Training curve: the test error is least at step {best + 1} of {len(found['test'])}."
    return Picture("Does it still learn?", finding, figure)


def trials(found: list[dict[str, Any]], metric: str) -> Picture:
    """Return the cross-validated score of every trial, by estimator."""
    scores: dict[str, list[tuple[float, float]]] = {}
    for one in found:
        score = one["scores"][metric]
        scores.setdefault(one["estimator"], []).append((score["mean"], score["standard_deviation"]))
    order = sorted(scores, key=lambda name: -max(scores[name])[0])
    names = [name.removesuffix("Classifier").removesuffix("Regressor") for name in order]
    figure, drawn = rows_of(names, xlabel=f"{metric}: mean and deviation over the folds")
    for place, estimator in enumerate(order):
        means, spreads = np.array(sorted(scores[estimator])).T
        heights = place - np.linspace(-0.3, 0.3, len(means) + 2)[1:-1]
        drawn.errorbar(means, heights, xerr=spreads, fmt="o", markersize=3.5, color=BLUE, ecolor=GREY)
    best = max(scores[order[0]])[0]
    finding = f"Trials: the best of {len(found)} is {order[0]} with {metric} {best:.4f}."
    return Picture("All trials", finding, figure)


def _thinned(first: np.ndarray, second: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    rows = np.unique(np.linspace(0, len(first) - 1, min(len(first), MAX_POINTS)).astype(int))
    return first[rows], second[rows]


def refused(gates: list[Gate]) -> Picture:
    """Return the figures of refused gates, each beside the threshold that it missed, for the page of a build.

    Each row has a scale of its own, in which the threshold is in the middle and the farthest point at an end.
    """
    shown = gates[:8]
    figure, drawn = rows_of([gate.gate for gate in shown])
    for place, gate in enumerate(shown):
        value, bar = gate.value, gate.threshold
        if value is None or bar is None:
            drawn.text(0, place, label(gate.message), ha="center", va="center", color=RED)
            continue
        ends = gate.interval or (value, value)
        scale = max(abs(one - bar) for one in (value, *ends)) or 1.0
        drawn.plot([(one - bar) / scale for one in ends], [place, place], color=RED, linewidth=2)
        drawn.plot([(value - bar) / scale], [place], "o", color=RED)
        side = ">" if value > bar else "<"
        drawn.text(1.15, place, f"{value:.3g} {side} {bar:.3g}", va="center", fontweight="bold")
    drawn.axvline(0, color=INK, linestyle="--")
    drawn.set(xlim=(-1.1, 1.1), xticks=[])
    drawn.spines[["bottom", "left"]].set_visible(False)
    more = f", and {len(gates) - len(shown)} more" if len(gates) > len(shown) else ""
    drawn.set_xlabel(f"refused: value and interval; dashed: the threshold{more}")
    height = max(1.5, 0.3 * len(shown) + 0.8)
    figure.set_size_inches(6.4, height)
    left = drawn.get_position().x0 * WIDTH / 6.4  # as wide as it was, in inches
    drawn.set_position((left, 0.4 / height, 0.77 - left, 1 - 0.5 / height))
    return Picture("Refused gates", "; ".join(f"{gate.gate}: {gate.message}" for gate in gates), figure)
