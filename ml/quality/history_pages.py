"""The page of a project's history: scores and seconds of its builds, its versions, its channels' moves."""

import shutil
from collections.abc import Iterator
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ml.errors import MlError
from ml.files import swap
from ml.project import Project
from ml.quality.drawing import BLUE, GREY, INK, RED, Picture, label, number
from ml.quality.history import BuildFigures
from ml.quality.markup import LINK, STYLE, Markup, element, linked, page, table
from ml.records import ModelManifest
from ml.registry.channel import Move
from ml.registry.versions import Registry

MAX_VERSIONS = 50  # of which each file is verified before it is shown
MAX_DRAWN = 40  # builds in a picture
WIDE, TREND = (10.0, 3.2), (6.67, 2.5)  # inches, of 96 pixels
STAGE_COLOURS = {"data": "#8a94a6", "train": "#3182ce", "quality": "#38a169"}


def write_history(folder: Path, project: Project, entries: list[BuildFigures], registry: Registry) -> None:
    """Write ``index.html`` with style sheet and pictures into ``folder``, which appears whole.

    ``trend.svg`` is for the page of the job: small, on white. Raises ``OSError`` if the disk refuses.
    """
    metric = project.training.metric
    aside = folder.with_name(f".{folder.name}.partial")
    shutil.rmtree(aside, ignore_errors=True)
    aside.mkdir(parents=True)
    try:
        shutil.copy(STYLE, aside / "style.css")
        recent = [one for one in entries if one.metric == metric][-MAX_DRAWN:]
        pictures = {"score": _scores(recent, metric, WIDE), "seconds": _seconds(recent)}
        for name, picture in pictures.items():
            (aside / f"{name}.svg").write_bytes(picture.svg())
        (aside / "trend.svg").write_bytes(_scores(recent, metric, TREND).svg("#ffffff"))
        parts = [
            element("h1", f"{project.title}: history"),
            *(_shown(name, picture) for name, picture in pictures.items()),
            element("h2", "Builds"),
            table(_BUILDS, map(_build, reversed(entries)), class_="builds"),
            element("h2", "Versions"),
            _versions(registry),
            *_channels(registry),
        ]
        text = page(f"{project.title}: history", LINK, *parts)
        (aside / "index.html").write_text(text, encoding="utf-8")
        swap(aside, folder)
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def _shown(name: str, picture: Picture) -> Markup:
    image = Markup(element("img", src=f"{name}.svg", alt=picture.finding).removesuffix("</img>"))
    heading = element("h2", picture.caption)
    return element("section", heading, element("figure", image, class_="wide"))


def _axes(entries: list[BuildFigures], size: tuple[float, float]) -> tuple[Figure, Axes]:
    figure = Figure(figsize=size)
    left, bottom = 0.6 / size[0], 0.45 / size[1]
    drawn = figure.add_axes((left, bottom, 0.98 - left, 0.88 - bottom))
    every = max(1, -(-len(entries) // int(size[0])))
    places = range(len(entries))[::-1][::every]  # the newest one is named
    drawn.set_xticks(list(places), [entries[place].name for place in places])
    drawn.set_xlim(-0.6, max(len(entries) - 0.4, 4.4))
    return figure, drawn


def _scores(entries: list[BuildFigures], metric: str, size: tuple[float, float]) -> Picture:
    """Return the score of each build with its interval, refused builds as crosses, and the champion's."""
    figure, drawn = _axes(entries, size)
    scored = [(place, one) for place, one in enumerate(entries) if one.score is not None]
    for place, one in scored:
        if one.low is not None and one.high is not None:
            drawn.plot([place, place], [one.low, one.high], color=GREY, linewidth=1)
    kinds = (
        ("blessed", "o", BLUE, [(place, one.score) for place, one in scored if one.blessed]),
        ("refused", "x", RED, [(place, one.score) for place, one in scored if not one.blessed]),
        (
            "champion, on rows new to it",
            "_",
            INK,
            [(place, one.champion_score) for place, one in scored if one.champion_score is not None],
        ),
    )
    for name, marker, colour, points in kinds:
        if points:
            places, scores = zip(*points, strict=True)
            drawn.plot(places, scores, marker, color=colour, markersize=7, markeredgewidth=2, label=name)
    drawn.set_ylabel(label(metric))
    if scored:
        drawn.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=3, borderaxespad=0)
    refused = sum(not one.blessed for one in entries)
    newest = f", {number(scored[-1][1].score)} in the newest" if scored else ""
    ends = [one.score for _, one in scored if one.score is not None]
    between = f", between {number(min(ends))} and {number(max(ends))}" if ends else ""
    finding = f"{metric} of {len(entries)} builds{newest}{between}; {refused} were refused."
    return Picture("Score of each build, with its 95 % interval", finding, figure)


def _seconds(entries: list[BuildFigures]) -> Picture:
    """Return the seconds of each stage, one on the other, build by build."""
    figure, drawn = _axes(entries, WIDE)
    bottom = [0.0] * len(entries)
    for stage in dict.fromkeys(stage for one in entries for stage in one.seconds):
        took = [one.seconds.get(stage, 0.0) for one in entries]
        drawn.bar(range(len(entries)), took, 0.7, bottom, color=STAGE_COLOURS.get(stage), label=stage)
        bottom = [below + more for below, more in zip(bottom, took, strict=True)]
    drawn.set_ylabel("seconds")
    if any(bottom):
        drawn.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=4, borderaxespad=0)
    newest = f"{bottom[-1]:.0f} seconds in the newest build, {max(bottom):.0f} at most" if bottom else "none"
    return Picture("Seconds of each stage", f"Seconds of the stages: {newest}.", figure)


_BUILDS = ("build", "finished", "commit", "outcome", "score", "95 % interval", "champion", "rows")


def _build(one: BuildFigures) -> list[str]:
    outcome = (
        element("span", "blessed", class_="passed")
        if one.blessed
        else element("span", f"refused: {one.refused}", class_="refused")
    )
    interval = " to ".join(number(end) for end in (one.low, one.high) if end is not None)
    beside = f"{number(one.champion_score)} (version {one.champion})" if one.champion is not None else ""
    rows = f"{one.train_rows} train, {one.test_rows} test"
    number_or_none = f"#{one.number}" if one.number is not None else "by hand"
    return [
        linked(number_or_none, one.url),
        one.finished,
        element("code", (one.commit or "")[:10]),
        outcome,
        f"{one.metric} {number(one.score)}",
        interval,
        beside,
        rows,
    ]


def _versions(registry: Registry) -> Markup:
    found = registry.versions()[-MAX_VERSIONS:][::-1]
    if not found:
        return element("p", "No version is registered yet: a blessed model becomes one when it is deployed.")
    return table(
        ("version", "registered", "by", "model", "sha256"), map(_version, [registry] * len(found), found)
    )


def _version(registry: Registry, version: int) -> list[str]:
    try:
        record, model = registry.read(version), registry.record(ModelManifest, version)
    except (OSError, MlError) as error:
        return [str(version), "cannot be read", "", str(error), ""]
    source = record.provenance
    build = f"build {source.build_number}" if source.build_number else "by hand"
    sha256 = element("code", record.identity.get("model_sha256", "")[:12])
    return [str(version), record.registered, linked(build, source.build_url), model.estimator, sha256]


def _channels(registry: Registry) -> Iterator[Markup]:
    """Yield what moved each channel, the newest move first."""
    try:
        channels = registry.channels()
    except (OSError, MlError) as error:
        yield element("p", f"The channels cannot be read: {error}")
        return
    for channel in channels:
        serves = f"serves version {channel.version}" if channel.version is not None else "serves none"
        yield element("h2", f"Channel {channel.name}: {serves}")
        yield table(("when", "what", "version", "by", "why"), map(_move, reversed(channel.history)))


def _move(move: Move) -> list[str]:
    tried = f", {move.candidate} on trial" if move.candidate is not None else ""
    versions = f"{move.left or 'none'} → {move.version or 'none'}{tried}"
    by = linked(move.by, move.by.rpartition(", ")[2])  # a person, a build, or both
    return [move.at, move.action, versions, by, move.why]
