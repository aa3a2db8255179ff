"""The picture of a replay: what a row costs, week by week, under each policy."""

from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from ml.quality.drawing import BLUE, GREY, RED, Picture
from tests.replay.play import Played
from tests.replay.stage import DAY

GREEN = "#38a169"
STYLES = {"never": (GREY, "--"), "monthly": (GREEN, "-"), "loop": (BLUE, "-"), "oracle": (GREY, ":")}
CAUSES = {"drift": GREY, "broken feed": RED, "labels": RED, "service": RED}


def by_week(played: Played) -> tuple[list[datetime], list[float]]:
    """Return the middle of each week that has rows, and what a row cost then."""
    at, loss = np.array(played.at), np.array(played.loss)
    weeks = ((at - at.min()) // (7 * DAY)).astype(int)
    numbers = [int(week) for week in np.unique(weeks)]
    middles = [datetime.fromtimestamp(float(at.min() + (week + 0.5) * 7 * DAY), UTC) for week in numbers]
    return middles, [float(loss[weeks == week].mean()) for week in numbers]


def draw(folder: Path, project: str, played: dict[str, Played]) -> None:
    """Write ``replay.svg`` and ``replay.png``."""
    figure = Figure(figsize=(10.0, 4.4))
    axes = figure.add_axes((0.07, 0.2, 0.91, 0.68))
    for meaning, one in played.items():
        colour, style = STYLES[one.policy]
        axes.plot(*by_week(one), style, color=colour, label=meaning)
    bottom, top = axes.get_ylim()
    loop = next((one for one in played.values() if one.policy == "loop"), None)
    if loop:
        for training in loop.trainings:
            deployed = training["outcome"].startswith("version")
            at = datetime.fromtimestamp(training["at"], UTC)
            axes.axvline(at, color=BLUE, linewidth=0.8, linestyle="-" if deployed else ":")
        ends = [*(one["at"] for one in loop.found[1:]), max(loop.at)] if loop.found else []
        for found, end in zip(loop.found, ends, strict=True):
            if found["cause"] != "nothing":
                span = [datetime.fromtimestamp(at, UTC) for at in (found["at"], end)]
                colour = CAUSES.get(found["cause"], BLUE)
                axes.plot(span, [bottom, bottom], color=colour, linewidth=6, alpha=0.6, solid_capstyle="butt")
    axes.set_ylim(bottom, top)
    axes.set_ylabel("cost of a row")
    axes.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=4, borderaxespad=0)
    told = (
        "vertical: a training by the loop (dotted: not deployed); below: grey drift, red broken, blue concept"
    )
    figure.text(0.07, 0.03, told, fontsize=8.5)
    picture = Picture(f"{project}: what a row costs, week by week", told, figure)
    picture.png(folder / "replay.png")
    (folder / "replay.svg").write_bytes(picture.svg())
