"""The pictures are readable whatever the numbers, the names and the number of classes are."""

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from ml.quality import plots
from ml.quality.column_pictures import columns
from ml.quality.drawing import Picture, fit, told_apart
from ml.quality.metrics import RecordedPredictions


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


@pytest.mark.parametrize(
    ("names", "told"),
    [
        (["female", "male"], ["female", "male"]),
        (["9007199254740991", "9007199254740993"], ["…4740991", "…4740993"]),
        (["Tea green", "Tea green, loose", "Coffee beans"], ["…en", "…en, lo…", "Coffee …"]),
        (["same name twice"] * 2, ["same na…"] * 2),
        (["a" * 20 + "b" * 20, "a" * 20 + "b" * 20 + "c", "a" * 20 + "d"], ["…bbbbb", "…bbbbbc", "…aad"]),
    ],
)
def test_names_that_are_cut_can_be_told_apart(names: list[str], told: list[str]) -> None:
    assert told_apart(names, 8) == told


@pytest.mark.parametrize(("scale", "count"), [(1e-13, 2), (1.0, 3), (1e14, 5)])
def test_the_ticks_of_a_column_do_not_run_together(scale: float, count: int) -> None:
    rows = {"percentiles": (scale * np.linspace(1, 7, 101)).tolist()}
    firmware = {"shares": {f"900719925474099{end}": 1 / count for end in range(count)}}
    found = columns({"x": rows, "firmware": firmware}, {"x": rows, "firmware": firmware}, "version 1")
    assert found is not None
    for drawn in found.figure.axes:
        found.svg()
        boxes = [tick.label1.get_window_extent() for tick in drawn.xaxis.get_major_ticks()]
        assert all(left.x1 < right.x0 for left, right in zip(boxes, boxes[1:], strict=False))
        texts = [tick.label1.get_text() for tick in drawn.xaxis.get_major_ticks()]
        assert len(set(texts)) == len(texts)


@pytest.mark.parametrize("count", [2, 10, 12, 20, 40])
def test_the_classes_of_a_confusion_matrix_are_named_and_counted(count: int) -> None:
    classes = np.array([f"Kaffee, gemahlen, Sorte {number}" for number in range(count)])
    said = RecordedPredictions(classes, None, None)
    figure = (picture := plots.confusion(said, pd.Series(classes[::-1]))).figure
    picture.svg()
    [drawn] = figure.axes
    assert len(drawn.texts) == (count**2 if count <= 20 else 0)
    names = [tick.label1 for tick in drawn.xaxis.get_major_ticks()]
    assert len({name.get_text() for name in names}) == count
    boxes = [name.get_window_extent() for name in names]
    assert all(left.x1 <= right.x0 for left, right in zip(boxes, boxes[1:], strict=False))
    assert min(box.y0 for box in boxes) > 0
