"""Rules that hold tomorrow: guessed on some rows, weakened by what the others show."""

import numpy as np
import pandas as pd
import pytest

from ml.data.infer.rules import number_rules, pattern_of, rules_of


def halves(values: pd.Series) -> tuple[pd.Series, pd.Series]:
    return values[::2], values[1::2]


def test_a_range_has_slack_and_ends_at_zero_where_nothing_is_below() -> None:
    prices = pd.Series(np.random.default_rng(1).lognormal(3, 1, 1000))
    rules, notes = number_rules(*halves(prices))
    assert rules["ge"] == 0 and rules["le"] > 1.5 * prices.max() and notes == ()


def test_a_range_that_the_other_rows_leave_is_wider_and_told() -> None:
    rules, [note] = number_rules(pd.Series(np.linspace(1, 2, 500)), pd.Series([1.5, 4.2]))
    assert rules["le"] >= 4.2 and "left by 1 of 2 others" in note


def test_a_range_reaches_below_zero_where_another_row_does() -> None:
    prices = pd.Series(np.random.default_rng(0).normal(50, 15, 1000)).clip(lower=0)
    rules, notes = number_rules(prices, pd.Series([-4.31, 98.09]))
    assert rules["ge"] <= -4.31 and rules["le"] >= 98.09 and notes == ()


@pytest.mark.parametrize(
    ("others", "kept", "lacks"),
    [([50, 1e9], {"ge"}, "upper limit"), ([50, -1e9], {"le"}, "lower limit"), ([-1e9, 1e9], set(), "range")],
)
def test_a_range_keeps_the_end_that_holds_and_tells_what_it_lacks(
    others: list[float], kept: set[str], lacks: str
) -> None:
    rules, [note] = number_rules(pd.Series(np.linspace(10, 90.5, 500)), pd.Series(others))
    assert set(rules) == kept and note.startswith(f"no {lacks}: ")


@pytest.mark.parametrize("size", [1e-15, 1e-9, 1.0, 1e15, 1e-310])
def test_a_range_is_as_wide_as_its_values_are_large(size: float) -> None:
    values = pd.Series(np.linspace(1.1, 9.1, 500) * size)
    [low, high] = [number_rules(*halves(values))[0][end] for end in ("ge", "le")]
    assert low <= values.min() and values.max() <= high and (high <= 3 * values.max() or size < 1e-300)


@pytest.mark.parametrize(("marker", "told"), [(-999, 1), (9999, 1), (0, 0)])
def test_a_frequent_number_far_from_all_others_may_stand_for_a_gap(marker: float, told: int) -> None:
    values = pd.Series(np.random.default_rng(1).normal(20, 8, 1000).round(1))
    values = values.mask(np.arange(1000) % 4 == 0, marker)
    rules, notes = rules_of("number", *halves(values.sample(frac=1, random_state=1)))
    assert rules["ge"] <= values.min() and len(notes) == told
    assert all(note.startswith(f"25% are exactly {marker}, far from all others (") for note in notes)


def test_a_scale_ends_where_it_ends_and_amounts_do_not() -> None:
    stars = pd.Series(np.tile([1, 2, 3, 4, 5], 100))
    assert number_rules(stars, stars)[0] == {"ge": 0, "le": 5}
    days = pd.Series(np.tile([3, 7, 14, 28, 90], 100))
    assert number_rules(days, days)[0]["ge"] == 0


def test_a_list_of_values_is_no_rule_if_one_is_rare_or_another_comes() -> None:
    plans = pd.Series(["basic", "plus"] * 50)
    assert rules_of("category", plans, plans)[0] == {"isin": ["basic", "plus"]}
    rare = pd.concat([plans, pd.Series(["gold"])])
    assert "isin" not in rules_of("category", rare, plans)[0]
    rules, [note] = rules_of("category", plans, rare)
    assert "isin" not in rules and "'gold'" in note


@pytest.mark.parametrize(
    ("texts", "pattern"),
    [
        (["7590-VHVEG", "5575-GNVDE"], r"\d{4}-[A-Z]{5}"),
        (["DE-7", "DE-123"], r"DE-\d+"),
        (["2024-01-31", "2025-12-01"], r"\d{4}-\d{2}-\d{2}"),
        (["a1b2c3d4-0a1b", "00ff11ee-ffff"], r"[0-9a-f]{8}-[0-9a-f]{4}"),
        (["some words", "x"], None),
    ],
)
def test_codes_that_look_alike_have_a_pattern(texts: list[str], pattern: str | None) -> None:
    assert pattern_of(pd.Series(texts)) == pattern


def test_a_pattern_that_the_other_rows_refute_is_given_up_and_told() -> None:
    codes = pd.Series([f"A{number:03d}" for number in range(200)])
    rules, [note] = rules_of("code", codes, pd.Series(["A001", "odd one"]))
    assert "str_matches" not in rules and "1 of 2 other rows look otherwise" in note


def test_dates_that_do_not_look_alike_are_dates_all_the_same() -> None:
    times = pd.Series(["2025-03-05T05:00:00+01:00", "2025-03-05 05:00", "2025-03-05T05:00:00.25Z"] * 50)
    rules, notes = rules_of("date", *halves(times), "ISO8601")
    assert list(rules) == ["str_matches"] and notes == ()
    assert times.str.match(rules["str_matches"]).all()
    odd = ["now", "2025-03", "2025/03/05 05:00", " 2025-03-05", "2025-03-05T5:00", "2025-03-05T24:00"]
    assert not pd.Series(odd).str.match(rules["str_matches"]).any()


@pytest.mark.parametrize("shape", ["{}", "{}T05:30:00Z", "{} 05:30"])
def test_no_rule_of_dates_lets_an_impossible_one_pass(shape: str) -> None:
    dates = pd.Series([shape.format(f"2025-{1 + day % 12:02d}-{1 + day % 28:02d}") for day in range(100)])
    rules, notes = rules_of("date", *halves(dates), "ISO8601")
    assert notes == () and dates.str.match(rules["str_matches"]).all()
    odd = [shape.format(one) for one in ("2025-13-01", "2025-00-10", "2025-01-32", "2025-01-00")]
    assert not pd.Series([*odd, "2025-01-01T25:00:00Z"]).str.match(rules["str_matches"]).any()


def test_a_date_rule_takes_every_value_that_was_seen() -> None:
    odd = pd.Series(["2025-03-05T05:00Z", "2025-03-05 05:00:00.0000000000Z"])
    assert list(rules_of("date", odd, odd, "ISO8601")[0]) == ["str_length"]
