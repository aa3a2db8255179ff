"""Rows and columns of two versions of the data, side by side."""

import numpy as np
import pandas as pd
import pytest

from ml.data.difference import column_changes, psi, row_changes
from ml.data.drift import measure, statistics


def prints(rows: dict[int, int]) -> pd.DataFrame:
    return pd.DataFrame({"id": list(rows), "content": list(rows.values())})


def test_rows_are_told_apart_by_id_and_content() -> None:
    changes = row_changes(prints({1: 10, 2: 20, 3: 30}), prints({2: 20, 3: 31, 4: 40, 5: 50}))
    assert (changes.added, changes.removed, changes.changed, changes.same) == (2, 1, 1, 1)
    assert str(changes) == "2 added, 1 removed, 1 changed, 1 the same"


def test_of_rows_that_are_read_otherwise_it_is_not_said_that_they_changed() -> None:
    before, now = prints({1: 10, 2: 20, 3: 30}), prints({2: 21, 3: 31, 4: 40})
    assert row_changes(before, now.assign(reading=7)).changed == 2, "of old ones nobody noted it"
    assert row_changes(before.assign(reading=7), now.assign(reading=7)).changed == 2
    changes = row_changes(before.assign(reading=6), now.assign(reading=7))
    assert str(changes) == "1 added, 1 removed, 2 with an id of before, whose columns are others by now"


def test_columns_that_moved_most_come_first_and_those_that_went_before_them() -> None:
    random = np.random.default_rng(1)
    table = pd.DataFrame({"size": random.normal(size=500), "kind": random.choice(["a", "b"], 500), "old": 1})
    table = table.assign(name=[f"n{n}" for n in range(500)])
    later = table.assign(size=table["size"] + 2).drop(columns="old").assign(new=2.0)
    found = column_changes(statistics(table), statistics(later), {"size": ("float64", "float64")})
    assert [one.name for one in found] == ["old", "new", "size", "kind", "name"]
    assert (found[0].now, found[1].before) == ("not there", "not there")
    assert found[2].before.startswith("float64, 0.0% missing, mean ")
    assert found[2].moved and found[2].moved.value > 0.25 and found[3].moved and found[3].moved.value == 0


@pytest.mark.parametrize("name", ["size", "kind"])
def test_the_index_of_statistics_is_near_that_of_the_rows(name: str) -> None:
    random = np.random.default_rng(1)
    table = pd.DataFrame({"size": random.normal(size=900), "kind": random.choice(["a", "b", "c"], 900)})
    later = table.sample(600, random_state=1).assign(
        size=lambda rows: rows["size"] * 1.4, kind=lambda rows: rows["kind"].where(rows["size"] < 0.5, "a")
    )
    rough = psi(statistics(table)[name], statistics(later)[name])
    exact = next(one for one in measure(later[name], statistics(table)[name]) if one.measure == "psi")
    assert rough and rough.value == pytest.approx(exact.value, rel=0.2)


def test_columns_without_values_have_no_index() -> None:
    empty = statistics(pd.DataFrame({"x": [None, None]}))
    assert psi(empty["x"], statistics(pd.DataFrame({"x": [1.0, 2.0]}))["x"]) is None
