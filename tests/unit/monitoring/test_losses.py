"""What a row costs: of labels as JSON tells them, weighted where labels are missing for a reason."""

from typing import Any

import numpy as np
import pandas as pd
import pytest

from ml.monitoring.estimate import estimate
from ml.monitoring.losses import as_text, losses, mean, surely_more, weights_of_labelled
from tests.world import World, project, project_of_numbers


def said(**columns: list[Any]) -> pd.DataFrame:
    return pd.DataFrame(columns)


def test_a_row_costs_the_log_of_what_was_said_of_the_truth() -> None:
    stated = said(prediction=[1, 0, 1], probability_0=[0.25, 1.0, 0.0], probability_1=[0.75, 0.0, 1.0])
    found = losses(project(), stated, pd.Series([1, 1, 7]))
    assert found == pytest.approx([-np.log(0.75), -np.log(1e-3), -np.log(1e-3)])


def test_without_probabilities_a_row_costs_whether_it_is_wrong_and_of_numbers_how_far() -> None:
    assert list(losses(project(), said(prediction=["yes", "no"]), pd.Series(["yes", "yes"]))) == [0, 1]
    assert list(losses(project_of_numbers(), said(prediction=[1.0, 5.0]), pd.Series([2, 3]))) == [1, 2]


def test_labels_compare_as_texts_whatever_json_made_of_them() -> None:
    assert list(as_text(pd.Series([1.0, 0.0, 2.5]))) == ["1", "0", "2.5"]
    assert list(as_text(pd.Series([1, "a", True], dtype=object))) == ["1", "a", "True"]


def test_a_loss_must_be_larger_than_the_margin_and_than_chance() -> None:
    random = np.random.default_rng(1)
    before, alike, worse = (mean(random.exponential(size, 5000)) for size in (1.0, 1.02, 1.3))
    assert not surely_more(before, alike, 0.1, 1e-6)
    assert surely_more(before, worse, 0.1, 1e-6)
    assert not surely_more(before, worse, 0.5, 1e-6)
    assert not surely_more(before, mean(random.exponential(1.3, 30)), 0.1, 1e-6)


def test_rows_of_one_day_go_together() -> None:
    random = np.random.default_rng(0)
    days = np.repeat(np.arange(7), 100)
    values = random.normal(0, 1, 7)[days] + random.normal(0, 0.1, 700)
    assert mean(values, groups=days).error > 5 * mean(values).error
    alone = random.normal(0, 1, 700)
    assert mean(alone).error <= mean(alone, groups=days).error < 2 * mean(alone).error
    changed = alone + np.where(days > 3, 3.0, 0.0)
    assert mean(changed, groups=days).error < 2 * mean(changed).error


def test_labels_that_are_missing_for_a_reason_are_weighted() -> None:
    random = np.random.default_rng(2)
    size = random.normal(0, 1, 20_000)
    inputs = pd.DataFrame({"size": size, "kind": random.choice(["a", "b"], len(size))})
    cost = np.exp(size)
    labelled = random.random(len(size)) < 1 / (
        1 + np.exp(size)
    )  # large ones, which cost, have one more seldom
    weights = weights_of_labelled(inputs, labelled)
    assert weights is not None
    plain, weighted = mean(cost[labelled]), mean(cost[labelled], weights)
    assert abs(weighted.value - cost.mean()) < 0.25 * abs(plain.value - cost.mean())
    assert weighted.error > plain.error
    assert weights_of_labelled(inputs, random.random(len(size)) < 0.5) is None


def test_the_estimate_holds_where_only_the_inputs_move() -> None:
    world = World(4)
    past, days = np.sort(world.random.uniform(0, 60, 4000)), np.sort(world.random.uniform(60, 67, 3000))
    before, inputs = world.answers(past, world.inputs(past)), world.inputs(days)
    inputs["age"] = np.clip(inputs["age"] + 25, 18, 99)
    now = world.answers(days, inputs)
    table = pd.concat([before.inputs, before.said], axis=1).assign(answer=before.told["label"].astype(int))
    found = estimate(project(), table, now.inputs, now.said)
    assert found is not None
    true = mean(losses(project(), now.said, now.told["label"]))
    low, high = found.interval
    assert low < true.value < high
    right = (now.said["prediction"].astype(str) == now.told["label"].astype(str)).mean()
    assert found.metrics["accuracy"] == pytest.approx(right, abs=0.03)


@pytest.mark.slow
def test_the_estimate_of_numbers_learns_where_the_model_is_far_off() -> None:
    random = np.random.default_rng(5)
    size = random.uniform(0, 10, 3000)
    table = pd.DataFrame({"size": size, "kind": random.choice(["a", "b"], 3000), "prediction": size})
    table["answer"] = size + random.normal(0, 0.1 + size / 5)
    large = pd.DataFrame({"size": random.uniform(8, 10, 1000), "kind": "a"})
    found = estimate(project_of_numbers(), table, large, said(prediction=list(large["size"])))
    assert found is not None
    true = np.abs(random.normal(0, 0.1 + large["size"] / 5)).mean()
    low, high = found.interval
    assert low < true < high
    assert found.loss.value > 1.5 * np.abs(table["answer"] - table["prediction"]).mean()
