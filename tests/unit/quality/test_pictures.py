"""The pictures are readable whatever the numbers, the names and the number of classes are."""

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from ml.quality import plots
from ml.quality.column_pictures import columns
from ml.quality.drawing import Picture, fit, told_apart
from ml.quality.metrics import RecordedPredictions
from tests.quality.test_training import MAX_LISTED, listed


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


CLASSES = [2, 10, 12, pytest.param(20, marks=pytest.mark.slow), pytest.param(40, marks=pytest.mark.slow)]


@pytest.mark.parametrize("count", CLASSES)
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


def test_a_heavy_tail_flattens_neither_the_predictions_nor_the_residuals() -> None:
    random = np.random.default_rng(0)
    true = random.lognormal(10, 2, 800)
    picture = plots.predicted_against_true(
        RecordedPredictions(true * random.lognormal(0, 0.5, 800), None, None), pd.Series(true)
    )
    left, right = picture.figure.axes
    assert left.get_xscale() == left.get_yscale() == "symlog"
    drawn = sum(bar.get_height() for bar in right.patches)  # type: ignore[attr-defined]
    assert max(bar.get_height() for bar in right.patches) < 0.5 * drawn  # type: ignore[attr-defined]
    assert f"residuals, {800 - drawn:.0f} beyond" == right.get_title()
    assert f"{800 - drawn:.0f} rows lie beyond" in picture.finding


@pytest.mark.parametrize("scale", [1e-12, 1.0, 1e12])
def test_errors_of_a_usual_spread_are_drawn_whole(scale: float) -> None:
    true = scale * np.random.default_rng(0).normal(3, 1, 500)
    picture = plots.predicted_against_true(RecordedPredictions(true[::-1], None, None), pd.Series(true))
    left, right = picture.figure.axes
    assert left.get_xscale() == "linear" and right.get_title() == "residuals"
    assert sum(bar.get_height() for bar in right.patches) == 500  # type: ignore[attr-defined]
    assert "beyond" not in picture.finding


@pytest.mark.parametrize("value", [0.0, 7.0])
def test_a_constant_truth_can_be_drawn(value: float) -> None:
    said = np.array([value] * 9 + [1e6])
    assert plots.predicted_against_true(RecordedPredictions(said, None, None), pd.Series([value] * 10)).svg()


def test_of_many_features_the_most_important_and_the_most_harmful_ones_are_drawn() -> None:
    found = {f"feature {place:03}": {"mean": (150 - place) / 1e4, "spread": 0.0} for place in range(300)}
    picture = plots.importance(found, "accuracy")
    names = [tick.label1.get_text() for tick in picture.figure.axes[0].yaxis.get_major_ticks()]
    assert len(names) == 30 and names[0] == "feature 000" and names[-1] == "feature 299"
    assert "270 of 300 features between them are left out" in picture.caption
    few = plots.importance(dict(list(found.items())[:30]), "accuracy")
    assert "left out" not in few.caption


@pytest.mark.parametrize(("share", "whole"), [(0.005, False), (0.5, True)])
def test_the_calibration_of_rare_events_is_more_than_a_spot(share: float, whole: bool) -> None:
    random = np.random.default_rng(0)
    stated = random.beta(2 * share, 2 - 2 * share, 20000)
    happened = pd.Series((random.random(20000) < stated).astype(int))
    said = RecordedPredictions((stated > 0.5).astype(int), np.c_[1 - stated, stated], np.array([0, 1]))
    [drawn] = plots.calibration(said, happened, 1).figure.axes
    assert (drawn.get_xlim()[1] > 1) == whole and drawn.get_xlim() == pytest.approx(drawn.get_ylim())


def test_a_long_list_of_features_ends_at_a_whole_name() -> None:
    names = [f"noise_{place:03}" for place in range(200)]
    told, _, more = listed(names).rpartition(" and ")
    shown = told.split(", ")
    assert shown == names[: len(shown)] and more == f"{200 - len(shown)} more" and len(told) < MAX_LISTED
    assert listed(names[:3]) == "noise_000, noise_001, noise_002" and listed(["n" * 400]) == "n" * 400


def test_the_last_tick_s_label_stays_within_the_figure() -> None:
    figure = Figure(figsize=(2.5, 2))
    drawn = figure.add_axes((0.2, 0.3, 0.78, 0.6), xlim=(0, 40000))
    fit(figure)
    place = drawn.get_position().x1
    fit(figure)
    assert drawn.get_position().x1 == place < 0.95
    last = [tick.label1 for tick in drawn.xaxis.get_major_ticks()][-1]
    assert last.get_text() == "40000" and last.get_window_extent().x1 <= figure.bbox.width
