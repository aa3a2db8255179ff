"""The pictures are readable whatever the numbers, the names and the number of classes are."""

import pytest
from matplotlib.figure import Figure

from ml.quality.drawing import Picture, fit


def texts_of(picture: Picture) -> str:
    return picture.svg().decode()


@pytest.mark.parametrize(
    ("scale", "told"), [(1e-9, "(× 1e−9)"), (1e13, "(× 1e13)"), (0.01, ""), (1.0, ""), (100.0, "")]
)
def test_the_power_of_ten_of_the_ticks_is_told_once_beside_the_name_of_the_axis(
    scale: float, told: str
) -> None:
    figure = Figure()
    drawn = figure.add_subplot(xlabel="cost", ylabel="rows")
    drawn.plot([0, 5 * scale], [0, 1])
    once = texts_of(Picture("", "", figure))
    assert once == texts_of(Picture("", "", figure)) and drawn.get_xlabel() == f"cost {told}".strip()
    assert drawn.get_ylabel() == "rows" and once.count("1e") == (1 if told else 0)


@pytest.mark.parametrize("metric", ["neg_root_mean_squared_error", "long_name_of_a_metric" * 3])
def test_names_of_axes_and_of_ticks_stay_within_the_figure(metric: str) -> None:
    figure = Figure(figsize=(5, 2))
    drawn = figure.add_axes((0.5, 0.3, 0.48, 0.3), xlabel=metric, ylabel=metric)
    drawn.plot([0, 1], [0, 1])
    drawn.set_yticks([0.5], ["the long name of a column of this table, which is wide"])
    fit(figure)
    for axis in (drawn.xaxis, drawn.yaxis):
        box = axis.get_tightbbox()
        assert box is not None and box.x0 >= 0 and box.x1 <= figure.bbox.width
        assert box.y1 <= figure.bbox.height
    assert drawn.yaxis.label.get_window_extent().y0 >= 0
