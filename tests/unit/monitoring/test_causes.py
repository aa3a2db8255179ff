"""Each cause that is injected into a small world is named, and nothing is named where nothing happened."""

import numpy as np
import pandas as pd
import pytest

from ml.monitoring.checks import Quality, Seen
from ml.monitoring.columns import ColumnLook, is_time, look, onset, seen_elsewhere
from ml.monitoring.diagnosis import diagnose, not_sure
from ml.monitoring.losses import Mean
from ml.monitoring_settings import Monitoring
from tests.world import INJECTED, look_at, produce

SEEDS = range(2)


@pytest.mark.slow
@pytest.mark.parametrize("name", INJECTED)
def test_what_was_injected_is_named(name: str) -> None:
    found = [look_at(INJECTED[name], seed)[0] for seed in SEEDS]
    assert [one.cause for one in found] == [INJECTED[name].cause] * len(SEEDS), found


@pytest.mark.parametrize(
    ("name", "column", "day"),
    [("a constant", "size", 8), ("another unit", "warmth", 8), ("a column missing", "kind", 8)],
)
def test_a_broken_column_is_named_with_the_hour_it_broke(name: str, column: str, day: float) -> None:
    _, seen = look_at(INJECTED[name], 3)
    (broken,) = seen.broken
    assert broken.column == column
    assert abs(broken.begins - seen.begins - day * 86400) < 3 * 3600


def test_one_place_alone_is_named() -> None:
    diagnosis, seen = look_at(INJECTED["a column missing in one place"], 1)
    assert {one.column for one in seen.broken} == {"kind"}
    assert "kind" in diagnosis.why[0]


@pytest.mark.slow
def test_what_one_client_poisons_trains_nothing_before_it_is_named() -> None:
    made = produce(INJECTED["labels of one client poisoned"], 1, days=13)
    causes = [made.look(made.changes + hour / 24)[0].cause for hour in range(72, 103, 6)]
    assert set(causes) == {"nothing", "labels"} and causes == sorted(causes, reverse=True)


def test_a_week_of_few_rows_says_nothing() -> None:
    diagnosis, seen = look_at(INJECTED["another world"], 1, rows_a_day=20)
    assert diagnosis.cause == "nothing"
    assert any("of at least 200 rows" in one for one in seen.not_seen)


def test_what_comes_in_spells_is_no_fault() -> None:
    days = np.repeat(np.random.default_rng(0).random(60), 50)
    before = pd.Series(np.where(days < 0.3, np.nan, np.where(days < 0.9, 10.0, days)), name="sight")
    for spell in (np.nan, 10.0):
        now = pd.Series([5.0] * 600 + [spell] * 100)
        assert look(before, now, Monitoring(min_rows=100), 1e-9).broken == ""
    longer = look(before, pd.Series([np.nan] * 700), Monitoring(min_rows=500), 1e-9)
    assert longer.broken.startswith("missing in 100% of the rows, before in ")


def test_a_season_goes_where_the_reference_never_was_and_a_unit_does_so_at_once() -> None:
    random = np.random.default_rng(0)
    winter = pd.Series(random.normal(5, 3, 2000), name="warmth")
    spring, summer = pd.Series(random.normal(20, 3, 500)), pd.Series(random.normal(32, 3, 500))
    settings = Monitoring(min_rows=100)
    assert look(winter, summer, settings, 1e-9).broken.startswith("100% beyond")
    assert look(winter, summer, settings, 1e-9, elsewhere=seen_elsewhere(spring)).broken == ""
    assert look(
        winter, winter * 1.8 + 32, settings, 1e-9, elsewhere=seen_elsewhere(winter)
    ).broken.startswith("100% beyond")


def test_days_that_were_never_seen_before_are_no_fault() -> None:
    days = pd.Series(["2026-01-01", None, "2026-02-01T10:00:00Z"])
    assert is_time(days) and is_time(pd.to_datetime(pd.Series(["2026-01-01"])))
    assert not is_time(pd.Series(["2026-01-01", "round"])) and not is_time(pd.Series([None, None]))


@pytest.mark.parametrize(
    ("strange", "row"),
    [([0, 0, 1, 1, 1], 2), ([1, 1, 1], 0), ([0, 0, 0], 0), ([0, 1, 0, 0, 1, 1, 1], 4), ([1, 0], 0)],
)
def test_the_onset_is_where_strange_rows_become_frequent(strange: list[int], row: int) -> None:
    assert onset(np.array(strange, bool)) == row


@pytest.mark.parametrize(
    ("now", "told"), [(0.51, "quality holds"), (0.7, "not surely more, with 400 labels")]
)
def test_that_quality_holds_is_said_only_where_it_does(now: float, told: str) -> None:
    moved = ColumnLook("age", "", 1000, 0.0, 0.0, (), True)
    quality = Quality("", Mean(0.5, 0.01, 1000), Mean(now, 0.06, 400), False)
    found = diagnose(Seen(columns=(moved,), quality=(quality,)))
    assert found.cause == "drift" and told in found.why[1]


@pytest.mark.parametrize(("now", "error", "told"), [(0.51, 0.001, 0), (0.7, 0.06, 1), (0.7, 0.2, 0)])
def test_what_seems_to_be_lost_and_is_not_sure_is_told(now: float, error: float, told: int) -> None:
    quality = Quality("", Mean(0.5, 0.01, 1000), Mean(now, error, 400), False)
    doubts = not_sure(Seen(quality=(quality,)), 0.1)
    assert len(doubts) == told and all("not sure yet with 400 labels" in one for one in doubts)
