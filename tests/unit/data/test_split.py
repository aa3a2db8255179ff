"""Where each labelled row goes, by hash, group or time."""

import itertools
from typing import Any

import pandas as pd
import pytest

from ml.data.split import split
from ml.errors import MlError
from ml.project import Project, find_project
from ml.settings import Split


def declared(**settings: Any) -> Project:
    project = find_project("titanic")
    return project.model_copy(
        update={
            "split": Split(test_share=0.3, **settings),
            "id": "row",
            "target": "late",
            "task": "regression",
        }
    )


def rows(count: int = 1000) -> pd.DataFrame:
    day = pd.Timestamp("2013-01-01", tz="America/New_York") + pd.to_timedelta(range(count), unit="h")
    table = pd.DataFrame({"row": range(count), "when": day, "plane": [n % 37 for n in range(count)]})
    return table.assign(late=table["row"] % 7).sample(frac=1, random_state=1)


def test_sixty_twenty_twenty_and_no_row_twice() -> None:
    with_validation = declared(validation_share=0.2)
    assert with_validation.compared_in == "the validation rows"
    parts = split(rows(), with_validation)
    assert {name: len(part) for name, part in parts.items()} == {"train": 500, "validation": 200, "test": 300}
    assert sorted(pd.concat(parts.values())["row"]) == list(range(1000))


def test_the_test_rows_do_not_depend_on_a_validation_share() -> None:
    table = rows()
    assert split(table, declared())["test"].equals(split(table, declared(validation_share=0.2))["test"])


def test_a_group_is_on_one_side() -> None:
    parts = split(rows(), declared(kind="group", by="plane", validation_share=0.2))
    planes = [set(part["plane"]) for part in parts.values()]
    assert all(not one & other for one, other in itertools.combinations(planes, 2))
    assert len(parts["test"]) == pytest.approx(300, abs=30)


def test_in_time_the_latest_rows_are_the_test_and_the_gap_is_left_out() -> None:
    parts = split(rows(), declared(kind="time", by="when", gap_days=2, validation_share=0.2))
    train, validation, test = (parts[name]["when"] for name in ("train", "validation", "test"))
    assert len(test) == 300 and test.min() > validation.max() > train.max()
    assert validation.min() - train.max() > pd.Timedelta(days=2)
    assert test.min() - validation.max() > pd.Timedelta(days=2)
    assert str(test.dt.tz) == "America/New_York"


def test_in_time_the_test_is_no_longer_than_is_said() -> None:
    table = rows()
    parts = split(table, declared(kind="time", by="when", max_test_days=3, validation_share=0.2))
    newest = table["when"].max()
    assert parts["test"]["when"].min() >= newest - pd.Timedelta(days=3)
    assert parts["validation"]["when"].min() >= newest - pd.Timedelta(days=6)
    assert len(parts["train"]) + len(parts["validation"]) + len(parts["test"]) == len(table)
    alone = split(table, declared(kind="time", by="when", max_test_days=3))
    assert alone["test"].equals(parts["test"])


def test_rows_of_one_instant_stay_together() -> None:
    table = rows().assign(when=lambda one: one["when"].dt.strftime("%Y-%m-%d"))
    parts = split(table, declared(kind="time", by="when"))
    assert not set(parts["train"]["when"]) & set(parts["test"]["when"])


@pytest.mark.parametrize(
    ("settings", "change", "told"),
    [
        ({"kind": "time", "by": "when"}, {"when": None}, "no ISO 8601 time in row"),
        ({"kind": "time", "by": "when"}, {"when": "in May"}, "no ISO 8601 time in row"),
        ({"kind": "time", "by": "day"}, {}, "split.by: no column 'day' in the data"),
        ({"kind": "group", "by": "owner"}, {}, "split.by: no column 'owner' in the data"),
        ({"kind": "group", "by": "plane"}, {"plane": 1}, "leaves no row for train"),
        ({"kind": "time", "by": "when", "gap_days": 400}, {}, "leaves no row for train"),
        ({"kind": "time", "by": "when"}, {"when": "2013-01-01"}, "leaves no row for train"),
    ],
)
def test_what_cannot_be_divided_is_told(settings: dict[str, Any], change: dict[str, Any], told: str) -> None:
    with pytest.raises(MlError, match=told):
        split(rows().assign(**change), declared(**settings))


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"kind": "time"}, "name the column in by"),
        ({"by": "when"}, "name the column in by"),
        ({"kind": "group", "by": "when", "gap_days": 1}, "gap_days needs"),
        ({"kind": "group", "by": "when", "max_test_days": 1}, "max_test_days needs"),
        ({"validation_share": 0.7}, "nothing to learn from"),
    ],
)
def test_settings_that_contradict_are_refused(settings: dict[str, Any], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        Split(test_share=0.3, **settings)
