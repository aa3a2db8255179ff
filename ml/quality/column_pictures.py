"""The picture of a table: how each column is distributed, here and in other rows."""

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from ml.quality.drawing import BLUE, GREY, WIDTH, Picture, label, taken_scale, told_apart

MAX_COLUMNS = 12  # that are drawn
MAX_TICKS = 5  # of the values of a column of texts
LETTERS = 27  # beside each other below a column, even if all are digits
BINS = 12


def columns(
    now: dict[str, dict[str, Any]], before: dict[str, dict[str, Any]], named: str, here: str = "this build"
) -> Picture | None:
    """Return how each column is distributed in these rows and in others, ``named``; none if none can be.

    Both are reference statistics of a data manifest: shares of values, or percentiles.
    """
    shared = {name: _shares(now[name], before[name]) for name in now if name in before}
    found = {name: shares for name, shares in shared.items() if shares is not None}
    if not found:
        return None
    moved = {name: float(np.abs(ours - theirs).sum() / 2) for name, (_, ours, theirs) in found.items()}
    chosen = sorted(found, key=lambda name: -moved[name])[:MAX_COLUMNS]
    lines = (len(chosen) + 1) // 2
    height = 1.25 * lines + 0.2
    figure = Figure(figsize=(WIDTH, height))
    for place, name in enumerate(chosen):
        ends, ours, theirs = found[name]
        left, bottom = 0.08 + 0.48 * (place % 2), 1 - (1.25 * (place // 2) + 1.0) / height
        drawn = figure.add_axes((left, bottom, 0.42, 0.7 / height))
        scale = _bars(drawn, ends, ours, theirs)
        drawn.set_title(f"{label(name)}{scale}: {moved[name]:.1%} moved", fontsize=9)
        drawn.set_yticks([])
        drawn.spines["left"].set_visible(False)
    left_out = f", the {len(chosen)} most moved of {len(found)} columns" if len(found) > len(chosen) else ""
    caption = f"Rows: {here} (blue), {named} (grey){left_out}"
    most = f"Distribution of {len(found)} columns beside {named}: {chosen[0]} moved most, "
    return Picture(caption, f"{most}{moved[chosen[0]]:.1%} of its rows.", figure)


def _bars(drawn: Axes, ends: list[Any], ours: np.ndarray, theirs: np.ndarray) -> str:
    """Draw both shares of each value, or of each bin between two ends; return what the ticks are times."""
    if len(ends) > len(ours):
        places, width = (np.array(ends[1:]) + ends[:-1]) / 2, ends[1] - ends[0]
    else:
        places, width = np.arange(len(ends)), 1.0
    drawn.bar(places, theirs, 0.9 * width, color=GREY, alpha=0.5)
    drawn.bar(places, ours, 0.45 * width, color=BLUE)
    drawn.tick_params(axis="x", labelsize=8)
    if len(ends) > len(ours):
        drawn.xaxis.set_major_locator(MaxNLocator(4))
        return f" {taken_scale(drawn.xaxis)}".rstrip()
    every = -(-len(ends) // MAX_TICKS)
    shown = ends[::every]
    drawn.set_xticks(places[::every], told_apart(shown, LETTERS // len(shown)))
    return ""


def _shares(now: dict[str, Any], before: dict[str, Any]) -> tuple[list[Any], np.ndarray, np.ndarray] | None:
    """Return the values, or the ends of bins, and the share of the rows in each, here and there."""
    if "shares" in now and "shares" in before:
        names = sorted({*now["shares"], *before["shares"]}, key=_in_order)
        ours, theirs = (np.array([one["shares"].get(name, 0.0) for name in names]) for one in (now, before))
        return names, ours, theirs
    if "percentiles" not in now or "percentiles" not in before:
        return None
    both = [np.asarray(one["percentiles"], dtype=float) for one in (now, before)]
    # One value far out would leave all others in one bin.
    edges = np.linspace(min(one[1] for one in both), max(one[-2] for one in both), BINS + 1)
    if edges[0] == edges[-1]:
        return None
    counts = [np.histogram(np.clip(one, edges[0], edges[-1]), edges)[0] / len(one) for one in both]
    return edges.tolist(), counts[0], counts[1]


def _in_order(name: str) -> tuple[float, str]:
    try:
        return float(name), name
    except ValueError:
        return float("inf"), name
