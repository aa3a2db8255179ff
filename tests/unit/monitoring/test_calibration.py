"""Answers that come true less often than they say: what a row would save, were they put right."""

import numpy as np
import pandas as pd
import pytest

from ml.monitoring.calibration import Calibration, calibration
from ml.monitoring.checks import Seen
from ml.monitoring.diagnosis import diagnose
from ml.project import Project
from tests.world import Rows, World, project, project_of_numbers, rows_of_classes, rows_of_numbers

ALPHA = 1e-6
ROWS = 2000


def of_week(made: Project, before: Rows, now: Rows) -> Calibration:
    """Return what is found of rows of a week, as many each day."""
    days = np.arange(len(now.truth)) * 7 // len(now.truth)
    found = calibration(made, before.reference, now.said, now.truth, days, ALPHA)
    assert found
    return found


def test_what_comes_true_as_stated_saves_nothing() -> None:
    world = World(1)
    found = of_week(project(), rows_of_classes(world, 0, 60, ROWS), rows_of_classes(world, 60, 67, ROWS))
    assert not found.off and found.saved.value < 0.003
    assert [one.labels for one in found.bins] == [ROWS // 8] * 8
    assert all(abs(one.stated - one.true) < 0.15 for one in found.bins)


def test_other_inputs_alone_save_nothing() -> None:
    world = World(2)
    before, now = rows_of_classes(world, 0, 60, ROWS), rows_of_classes(world, 60, 67, ROWS, drift=True)
    assert not of_week(project(), before, now).off


def test_a_model_that_was_too_sure_from_the_start_did_not_change() -> None:
    world = World(3)
    before, now = (rows_of_classes(world, *span, ROWS, sharper=3.0) for span in ((0, 60), (60, 67)))
    found = of_week(project(), before, now)
    assert found.saved.value > 0.05 and found.saved_before.value > 0.05 and not found.off


def test_what_comes_true_less_often_is_found_though_a_row_costs_no_more() -> None:
    world = World(4)
    before, now = rows_of_classes(world, 0, 60, ROWS), rows_of_classes(world, 60, 67, ROWS)
    fewer = Rows(now.inputs, now.said, now.truth.where(world.random.random(ROWS) < 0.6, 0))
    found = of_week(project(), before, fewer)
    assert found.off
    cause = diagnose(Seen(calibration=found))
    assert cause.cause == "concept"
    assert "answers put right would save" in cause.why[0] and "came true" in cause.why[0]


def test_numbers_that_are_too_low_are_found() -> None:
    world, made = World(5), project_of_numbers()
    before, now = rows_of_numbers(world, 0, 60, ROWS), rows_of_numbers(world, 60, 67, ROWS)
    assert not of_week(made, before, now).off
    assert of_week(made, before, Rows(now.inputs, now.said, now.truth + 2)).off


def test_of_three_classes_one_that_nobody_knew_is_no_failure() -> None:
    random = np.random.default_rng(6)
    chances = random.dirichlet([2, 2, 2], ROWS)
    said = pd.DataFrame(chances, columns=["probability_a", "probability_b", "probability_c"])
    said["prediction"] = np.array(list("abc"))[chances.argmax(axis=1)]
    truth = pd.Series(np.array(list("abc"))[(random.random((ROWS, 1)) > chances.cumsum(axis=1)).sum(axis=1)])
    rows = Rows(pd.DataFrame(index=range(ROWS)), said, truth)
    assert not of_week(project(), rows, rows).off
    found = of_week(project(), rows, Rows(rows.inputs, said, truth.replace("c", "new")))
    assert found.off and np.isfinite(found.saved.value)


@pytest.mark.parametrize("label", [0, 1])
def test_labels_that_say_all_the_same_are_no_failure(label: int) -> None:
    world = World(7)
    before, now = rows_of_classes(world, 0, 60, ROWS), rows_of_classes(world, 60, 67, ROWS)
    found = of_week(project(), before, Rows(now.inputs, now.said, now.truth * 0 + label))
    assert np.isfinite(found.saved.value)


def test_two_days_or_no_probabilities_say_nothing() -> None:
    world = World(8)
    rows = rows_of_classes(world, 0, 60, ROWS)
    days = np.arange(ROWS) * 2 // ROWS
    assert calibration(project(), rows.reference, rows.said, rows.truth, days, ALPHA) is None
    plain = Rows(rows.inputs, rows.said[["prediction"]], rows.truth)
    days = np.arange(ROWS) * 7 // ROWS
    assert calibration(project(), plain.reference, plain.said, plain.truth, days, ALPHA) is None
