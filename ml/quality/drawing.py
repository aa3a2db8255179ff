"""How pictures are drawn: figures without pyplot, and SVG that shows on light and dark pages alike.

What matplotlib writes is changed in one respect: styles become attributes. A content security policy that
forbids inlined styles, as Jenkins has for what builds publish, then takes no colour away.
"""

import re
import warnings
from dataclasses import dataclass
from io import BytesIO, StringIO
from os.path import commonprefix
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis, XAxis
from matplotlib.figure import Figure
from matplotlib.ticker import ScalarFormatter, SymmetricalLogLocator

BLUE, GREY, RED = "#3182ce", "#8a94a6", "#e05252"  # seen on white and on black
INK = "#4a5568"  # of texts and axes
INK_IN_THE_DARK = "#cbd5e0"
INK_ON_ANY = "#767c86"  # where styles are forbidden in pictures too
WIDTH = 5.2  # inches, of 96 pixels
MAX_LABEL = 32  # characters
FACTS = {"Date": None, "Creator": None, "Format": None, "Type": None}  # would differ from build to build
SETTINGS: dict[Any, Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "report",
    "text.parse_math": False,  # a dollar in the name of a column is a dollar
    "font.size": 9.5,
    "axes.formatter.limits": (-4, 5),  # beyond them tick labels share a power of ten, else they run together
    "axes.spines.top": False,
    "axes.spines.right": False,
    "figure.facecolor": "none",
    "axes.facecolor": "none",
    "legend.frameon": False,
    "legend.fontsize": 8.5,
    **dict.fromkeys(("text.color", "axes.labelcolor", "axes.edgecolor", "xtick.color", "ytick.color"), INK),
}
matplotlib.rcParams.update(SETTINGS)


@dataclass(frozen=True)
class Picture:
    """A figure, what it shows, and what one sees in it, for who cannot."""

    caption: str
    finding: str
    figure: Figure

    def svg(self, background: str = "") -> bytes:
        """Return the picture as SVG: the same bytes for the same figure; see-through without a background."""
        fit(self.figure)
        buffer = StringIO()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a letter that the font for measuring lacks
            self.figure.savefig(buffer, format="svg", metadata=FACTS)
        text = re.sub(r' style="([^"]*)"', _attributes, buffer.getvalue().partition("<svg")[2])
        text = re.sub(r"\s*<style.*?</style>", "", text, flags=re.DOTALL)
        ink = f"<style>svg{{color:{INK}}}@media (prefers-color-scheme:dark){{svg{{color:{INK_IN_THE_DARK}}}}}"
        start = f'<rect width="100%" height="100%" fill="{background}"/>' if background else ink + "</style>"
        head, _, body = text.partition(">")
        root = f'<svg color="{INK if background else INK_ON_ANY}" font-family="system-ui, sans-serif" '
        drawn = body.replace(f'"{INK}"', '"currentColor"')
        return f'{root}stroke-linejoin="round"{head}>{start}{drawn}'.encode()

    def png(self, file: Path) -> None:
        """Write the picture on white, 100 pixels an inch."""
        fit(self.figure)
        buffer = BytesIO()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            self.figure.savefig(buffer, format="png", dpi=100, facecolor="white", metadata={"Software": None})
        file.write_bytes(buffer.getvalue())


def _attributes(style: re.Match[str]) -> str:
    declared = (one.split(":", 1) for one in style[1].split(";") if ":" in one)
    kept = {key.strip(): value.strip() for key, value in declared}
    kept.pop("font-family", None)
    return "".join(f' {key}="{value}"' for key, value in kept.items())


def fit(figure: Figure) -> None:
    """Tell the power of ten of tick labels beside the name of their axis, and let all of it fit.

    Matplotlib writes it at the end of the axis, over names and legends.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for drawn in figure.axes:
            for axis in (drawn.xaxis, drawn.yaxis):
                if scale := taken_scale(axis):
                    axis.set_label_text(f"{axis.get_label_text()} {scale}".strip())
            _move_in(figure, drawn)
            for axis, end in ((drawn.xaxis, figure.bbox.width), (drawn.yaxis, figure.bbox.height)):
                _name_within(axis, end)


def taken_scale(axis: Axis) -> str:
    """Return what tick labels are to be multiplied with or added to, then not drawn; nothing twice."""
    formatter = axis.get_major_formatter()
    if not isinstance(formatter, ScalarFormatter) or not axis.offsetText.get_visible():
        return ""
    formatter.format_ticks(axis.get_majorticklocs().tolist())
    scale = formatter.get_offset()
    axis.offsetText.set_visible(False)
    return f"({scale if scale.startswith('+') else '× ' + scale})" if scale else ""


def _move_in(figure: Figure, drawn: Axes) -> None:
    """Move the ends of axes so that long tick labels do not leave the figure."""
    left, right = 0.0, figure.bbox.width
    if (beside := drawn.yaxis.get_tightbbox()) is not None:
        left = min(left, beside.x0)
    if (below := drawn.xaxis.get_tightbbox(for_layout_only=True)) is not None:  # without its name
        right = max(right, below.x1)
    place = drawn.get_position()
    begin = place.x0 + (0.005 - left / figure.bbox.width if left else 0)
    end = place.x1 - (0.005 + right / figure.bbox.width - 1 if right > figure.bbox.width else 0)
    drawn.set_position((begin, place.y0, end - begin, place.height))


def _name_within(axis: Axis, end: float) -> None:
    """Shrink and move the name of an axis until it fits in a figure that ends there."""
    name, box, sideways = axis.label, axis.axes.bbox, isinstance(axis, XAxis)
    extent, room = name.get_window_extent(), 0.94 * end  # the font of who looks may be wider
    size = 1.04 * (extent.width if sideways else extent.height)
    if size > room:
        name.set_fontsize(float(name.get_fontsize()) * room / size)
    start, length = (box.x0, box.width) if sideways else (box.y0, box.height)
    half = min(size, room) / 2
    place = (min(max(start + length / 2, half), end - half) - start) / length
    if sideways:
        name.set_x(place)
    else:
        name.set_y(place)


def axes(height: float = 3.5, left: float = 0.13, **told: Any) -> tuple[Figure, Axes]:
    """Return a figure of the usual width with one pair of axes; the height is in inches."""
    figure = Figure(figsize=(WIDTH, height))
    made = figure.add_axes((left, 0.55 / height, 0.97 - left, 1 - 0.75 / height))
    made.set(**told)
    return figure, made


def pair_of_axes(height: float = 2.9) -> tuple[Figure, Axes, Axes]:
    """Return a figure with two pairs of axes side by side."""
    figure = Figure(figsize=(WIDTH, height))
    bottom, size = 0.55 / height, 1 - 0.9 / height
    return figure, figure.add_axes((0.11, bottom, 0.37, size)), figure.add_axes((0.61, bottom, 0.37, size))


def rows_of(names: list[str], **told: Any) -> tuple[Figure, Axes]:
    """Return a figure with a named row for each name, the first one on top, at heights 0, 1, …."""
    texts = [label(name) for name in names]
    left = min(0.06 + 0.0125 * max(map(len, texts), default=0), 0.5)
    figure, made = axes(max(1.6, 0.24 * len(names) + 0.9), left, **told)
    made.set_yticks(range(len(names)), texts)
    made.set_ylim(len(names) - 0.5, -0.5)
    made.tick_params(axis="y", length=0)
    return figure, made


def set_logarithmic(drawn: Axes, sizes: np.ndarray) -> None:
    """Give both axes one logarithmic scale, linear around zero, for values of these sizes."""
    begin = float(np.quantile(sizes[sizes > 0], 0.1))

    def told(value: float, _: object) -> str:
        beside_zero = 0 < abs(value) < 3 * begin  # the two would touch
        return "" if beside_zero else re.sub(r"e\+?(-?)0*", r"e\1", f"{value:.4g}")

    for set_scale, axis in ((drawn.set_xscale, drawn.xaxis), (drawn.set_yscale, drawn.yaxis)):
        set_scale("symlog", linthresh=begin)
        places = SymmetricalLogLocator(base=10, linthresh=begin)
        places.set_params(numticks=5)
        axis.set_major_locator(places)
        axis.set_major_formatter(told)


def label(text: object) -> str:
    """Return a text that fits beside an axis and holds nothing that XML forbids."""
    told = printable(text)
    return told if len(told) <= MAX_LABEL else told[: MAX_LABEL - 1] + "…"


def printable(text: object) -> str:
    """Return a text without what XML forbids."""
    return "".join(letter if letter.isprintable() else " " for letter in str(text))


def told_apart(names: list[str], letters: int) -> list[str]:
    """Return names cut to so many letters; where two would read the same, from where they differ on."""
    cut = [name if len(name) <= letters else name[: letters - 1] + "…" for name in map(printable, names)]
    for text in {one for one in cut if cut.count(one) > 1}:
        places = [place for place, one in enumerate(cut) if one == text]
        same = [names[place] for place in places]
        if len(set(same)) > 1:
            begin = min(len(commonprefix(same)) - letters // 3, max(map(len, same)) - letters + 1)
            ends = told_apart([name[begin:] for name in same], max(letters - 1, 3))
            for place, end in zip(places, ends, strict=True):
                cut[place] = "…" + end.removeprefix("…")
    return cut


def number(value: float | None) -> str:
    """Return a figure for people: four digits, thousands apart; nothing for none."""
    return "" if value is None else f"{value:.4g}" if abs(value) < 1e4 else f"{value:,.0f}"
