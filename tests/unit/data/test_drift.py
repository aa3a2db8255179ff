"""Drift: a measure for how far, a p-value for how sure."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from ml.data.drift import bins_of_rows, measure, population_stability, statistics

RANDOM = np.random.default_rng(1)


def reference(values: object) -> dict:
    return statistics(pd.DataFrame({"x": values}))["x"]


def measures(now: object, before: object) -> dict[str, tuple[float, float]]:
    return {one.measure: (one.value, one.p_value) for one in measure(pd.Series(now), reference(before))}


def test_the_same_distribution_has_not_drifted() -> None:
    for found in (
        measures(RANDOM.normal(size=500), RANDOM.normal(size=700)),
        measures(RANDOM.choice(["a", "b"], 500), RANDOM.choice(["a", "b"], 700)),
    ):
        for value, p_value in found.values():
            assert value < 0.1 and p_value > 0.01


def test_a_shift_of_numbers_is_large_and_sure() -> None:
    found = measures(RANDOM.normal(1, size=500), RANDOM.normal(size=700))
    assert found["psi"][0] > 0.25 and found["psi"][1] < 1e-6
    assert found["ks"][0] == pytest.approx(0.38, abs=0.08) and found["ks"][1] < 1e-6


def test_the_distance_is_that_of_scipy_but_for_the_percent_to_which_the_reference_is_known() -> None:
    before, now = RANDOM.normal(size=700), RANDOM.normal(0.2, size=500)
    assert measures(now, before)["ks"][0] == pytest.approx(stats.ks_2samp(before, now).statistic, abs=0.015)


@pytest.mark.parametrize("decimals", [0, 1, 6])
def test_the_distance_to_the_percentiles_is_that_of_scipy(decimals: int) -> None:
    before, now = (RANDOM.normal(mean, size=900).round(decimals) for mean in (0.0, 0.3))
    points = reference(before)["percentiles"]
    known = {"rows": 900, "missing": 0, "percentiles": points}
    found = {one.measure: one.value for one in measure(pd.Series(now), known)}
    assert found["ks"] == pytest.approx(stats.ks_2samp(points, now).statistic, abs=1e-12)


@pytest.mark.parametrize(
    "values",
    [RANDOM.normal(size=400), RANDOM.integers(0, 5, 400).astype(float), RANDOM.choice(["a", "b", "c"], 400)],
    ids=["numbers", "few numbers", "texts"],
)
def test_the_bins_of_rows_are_those_that_are_measured(values: np.ndarray) -> None:
    rows = pd.Series(values).mask(RANDOM.random(400) < 0.1)
    found = bins_of_rows(rows, reference(values))
    assert found
    before, bins = found
    assert (bins == -1).tolist() == rows.isna().tolist()
    counts = np.bincount(bins[bins >= 0], minlength=len(before))
    [psi] = [one for one in measure(rows, reference(values)) if one.measure == "psi"]
    assert population_stability(before, counts).value == pytest.approx(psi.value)


def test_psi_of_two_categories_is_what_its_formula_gives() -> None:
    found = measures(["a"] * 80 + ["b"] * 20, ["a"] * 50 + ["b"] * 50)
    assert found["psi"][0] == pytest.approx(0.3 * np.log(0.8 / 0.5) + -0.3 * np.log(0.2 / 0.5))
    assert found["cramers_v"][0] == pytest.approx(
        np.sqrt(stats.chi2_contingency([[50, 50], [80, 20]], False)[0] / 200)
    )


def test_a_large_measure_of_few_rows_is_not_sure() -> None:
    value, p_value = measures(["a", "a", "b"], ["a"] * 2 + ["b"] * 4)["cramers_v"]
    assert value > 0.3 and p_value > 0.05


def test_a_column_without_values_or_of_many_texts_has_no_measure() -> None:
    assert measures([None, None], ["a", "b"]) == {}
    assert measures(["x", "y"], [f"name {number}" for number in range(50)]) == {}


def test_statistics_tell_numbers_and_categories_apart_and_keep_names_out() -> None:
    names = [f"name {number}" for number in range(30)]
    found = statistics(pd.DataFrame({"n": [1.0, None] * 15, "c": ["a", "b", "b"] * 10, "name": names}))
    assert found["n"]["missing"] == 15 and found["n"]["mean"] == 1.0
    assert found["c"]["shares"] == pytest.approx({"a": 1 / 3, "b": 2 / 3})
    assert found["name"] == {"rows": 30, "missing": 0}


@pytest.mark.parametrize("kind", ["bool", "boolean"])
def test_true_and_false_are_two_values_and_no_scale(kind: str) -> None:
    before = pd.Series([True, False, True, True] * 50, dtype=kind)
    assert reference(before)["shares"] == {"False": 0.25, "True": 0.75}
    found = measures(~before, before)
    assert set(found) == {"psi", "cramers_v"} and found["psi"][1] < 1e-6
