"""The page of a look: what was found, column by column, and true and estimated quality over time."""

import shutil
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from ml.project import Project
from ml.quality.drawing import BLUE, GREY, INK, RED, Picture, number
from ml.quality.markup import LINK, STYLE, Markup, element, facts, page, table
from ml.records import CalibrationFigures, ColumnFigures, Look

REPORT = "report"
COLOURS = {"nothing": GREY, "drift": BLUE}  # of a look's mark below the curves; any other cause is red
WIDE = (10.0, 3.2)  # inches, of 96 pixels


def write_page(
    folder: Path,
    project: Project,
    look: Look,
    past: list[Look],
    builds: Sequence[Any] = (),
    left_out: Sequence[Any] = (),
) -> None:
    """Write ``report/index.html`` with style sheet and picture.

    ``builds`` and ``left_out`` are rows of the store: what was built, and what is in quarantine.
    """
    report = folder / REPORT
    report.mkdir()
    shutil.copy(STYLE, report / "style.css")
    picture = _over_time([*past, look])
    (report / "quality.svg").write_bytes(picture.svg())
    image = Markup(element("img", src="quality.svg", alt=picture.finding).removesuffix("</img>"))
    parts = [
        element("h1", f"{project.title}: what production answers"),
        _verdict(look),
        facts(_facts(look)),
        element("section", element("h2", picture.caption), element("figure", image, class_="wide")),
        *_columns("Columns", look.columns),
        *_columns("Answers", look.said),
        *_quality(look),
        *_calibration(look.calibration),
        *_left_out(look, left_out),
        element("h2", "Looks before"),
        table(("when", "cause", "why", "what followed"), map(_row, reversed(past[-50:])))
        if past
        else element("p", "This is the first look."),
        *_builds(builds),
    ]
    (report / "index.html").write_text(page(f"{project.title}: monitor", LINK, *parts), encoding="utf-8")


def _verdict(look: Look) -> Markup:
    kind = {"nothing": "passed", "drift": "warning"}.get(look.cause, "refused")
    return element("p", element("span", look.cause, class_=kind), f" {'; '.join(look.why)}")


def _facts(look: Look) -> dict[str, str]:
    found = {
        "channel": f"{look.channel}, version {look.version}",
        "window": f"{_time(look.begins)} to {_time(look.ends)}",
        "answers": f"{look.answers:,}",
        "labels that came true": f"{look.labels:,}"
        + (", weighted by how likely each was" if look.weighted else ""),
        "what follows": _follows(look),
    }
    if look.not_seen:
        found["not judged"] = "; ".join(look.not_seen)
    if look.estimated:
        value, low, high = look.estimated
        found["estimated cost of a row"] = f"{number(value)} ({number(low)} to {number(high)})"
    found |= {f"estimated {name}": number(value) for name, value in look.estimated_metrics.items()}
    return found | {name: number(value) for name, value in look.figures.items()}


def _follows(look: Look) -> str:
    if look.asks:
        return f"a training: {look.because}"
    return f"no training: {look.because}" if look.because else "nothing"


def _columns(title: str, columns: list[ColumnFigures]) -> list[Markup]:
    if not columns:
        return []
    header = ("column", "missing", "before", "stability index", "found")
    return [element("h2", title), table(header, map(_column, columns))]


def _column(one: ColumnFigures) -> list[str]:
    told = Markup("")
    if one.broken:
        told = element("span", one.broken, class_="refused")
    elif one.moved:
        told = element("span", "moved", class_="warning")
    psi = "" if one.psi is None else f"{one.psi:.3f}"
    return [one.column, f"{one.missing:.1%}", f"{one.missing_before:.1%}", psi, told]


def _quality(look: Look) -> list[Markup]:
    if not look.quality:
        return []
    header = ("rows", "labels", "cost before", "cost now", "found")
    rows = (
        [
            one.part or "all",
            f"{one.labels:,}",
            number(one.before),
            f"{number(one.now)} ± {number(1.96 * one.error)}",
            element("span", "lost", class_="refused") if one.lost else Markup(""),
        ]
        for one in look.quality
    )
    return [element("h2", "What a row costs"), table(header, rows)]


def _calibration(found: CalibrationFigures | None) -> list[Markup]:
    """Return what was stated beside what came true, from the least stated to the most."""
    if found is None:
        return []
    told = f"Answers put right by this would save {number(found.saved)} ± {number(1.96 * found.error)} a row"
    before = f" (on the test rows {number(found.saved_before)})."
    rows = ([number(one.stated), number(one.true), f"{one.labels:,}"] for one in found.bins)
    return [
        element("h2", "What was stated, and what came true"),
        element("p", told, before, element("span", " Surely more.", class_="refused") if found.off else ""),
        table(("stated", "came true", "labels"), rows),
    ]


def _left_out(look: Look, quarantines: Sequence[Any]) -> list[Markup]:
    """Return which rows nobody learns from, and how a person who looked lets models learn from them again."""
    if not quarantines:
        return []
    command = f"python -m ml monitor --project {look.project} --channel {look.channel} --lift N"
    header = ("N", "from", "to", "column", "sender", "why")
    rows = (
        [str(one.number), _time(one.begins), _time(one.ends), one.column_name, one.sender or "", one.why]
        for one in quarantines
    )
    told = ("These rows are left out of ", element("code", "feedback"), ". If they are good after all: ")
    return [
        element("h2", "Rows that nothing learns from"),
        element("p", *told, element("code", command)),
        table(header, rows),
    ]


def _builds(builds: Sequence[Any]) -> list[Markup]:
    """Return what was judged and deployed, and what for."""
    if not builds:
        return []
    header = ("when", "stage", "outcome", "version", "why it was built", "build")
    rows = (
        [_time(one.at), one.stage, one.outcome, str(one.version or ""), one.why or "", one.build]
        for one in builds
    )
    return [element("h2", "Builds"), table(header, rows)]


def _row(look: Look) -> list[str]:
    return [_time(look.ends), look.cause, "; ".join(look.why), _follows(look)]


def _time(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M")


def _over_time(looks: list[Look]) -> Picture:
    """Return the cost of a row as it came true and as it was estimated, look by look, with each cause."""
    figure = Figure(figsize=WIDE)
    drawn = figure.add_axes((0.07, 0.16, 0.91, 0.7))
    times = [datetime.fromtimestamp(one.ends, UTC) for one in looks]
    whole = [next((part for part in one.quality if not part.part), None) for one in looks]
    true = [(at, one.now, one.error) for at, one in zip(times, whole, strict=True) if one]
    guessed = [(at, one.estimated) for at, one in zip(times, looks, strict=True) if one.estimated]
    if guessed:
        at, values = zip(*guessed, strict=True)
        drawn.plot(at, [value[0] for value in values], "-", color=GREY, label="estimated")
        drawn.fill_between(
            at, [v[1] for v in values], [v[2] for v in values], color=GREY, alpha=0.2, linewidth=0
        )
    if true:
        at, costs, errors = zip(*true, strict=True)
        bars = [1.96 * error for error in errors]
        drawn.errorbar(at, costs, bars, fmt=".-", color=BLUE, ecolor=BLUE, elinewidth=0.8, label="came true")
    before = next((one.loss_before for one in reversed(looks) if one.loss_before is not None), None)
    if before is not None:
        drawn.axhline(before, color=INK, linewidth=0.8, linestyle=":", label="on the test rows")
    bottom = drawn.get_ylim()[0]
    named = [(at, one) for at, one in zip(times, looks, strict=True) if one.cause not in COLOURS]
    if named:
        at, _ = zip(*named, strict=True)
        drawn.plot(at, [bottom] * len(at), "x", color=RED, label="a cause", clip_on=False)
    drawn.set_ylabel("cost of a row")
    drawn.tick_params(axis="x", labelrotation=0)
    figure.autofmt_xdate(rotation=0, ha="center")
    if drawn.get_legend_handles_labels()[0]:
        drawn.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=4, borderaxespad=0)
    newest = f"{number(true[-1][1])} in the newest look" if true else "no label came true yet"
    finding = f"What a row costs, in {len(looks)} looks: {newest}; {len(named)} found a cause."
    return Picture("Cost of a row: as it came true, and as it was estimated", finding, figure)
