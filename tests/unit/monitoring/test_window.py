"""The rows of a look, out of either database: which are asked, matured, labelled, and whose they are."""

import json

from sqlalchemy import Engine, func, insert, select

from ml.monitoring.window import DAY, _label, new_labels, prune, read_window
from ml.project import find_project
from ml.store.database import open_store
from ml.store.tables import labels, predictions
from tests.world import project

NOW = 1_800_000_000.0


def fill(engine: Engine, **told: object) -> None:
    """Add an answer a day for sixty days, each labelled half a day later but the newest."""
    own = {"row": 0, "project": "world", "channel": "production", "version": 1, "replay": False}
    with engine.begin() as connection:
        connection.execute(
            insert(predictions),
            [
                own
                | {
                    "request": f"{day} {'-'.join(map(str, told.values()))}",
                    "at": NOW - (day + 0.5) * DAY,
                    "inputs": json.dumps({"number": day, "size": None if day % 2 else 1.5, "kind": "é"}),
                    "output": json.dumps({"number": day, "prediction": 1}),
                    "milliseconds": 2.0,
                }
                | told
                for day in range(60)
            ],
        )
        if not told:
            given = [
                {
                    "request": f"{day} {'-'.join(map(str, told.values()))}",
                    "row": 0,
                    "at": NOW - day * DAY,
                    "label": "0",
                }
                for day in range(1, 60)
            ]
            again = [
                given[2] | {"label": "1", "at": NOW - DAY / 2},
                given[0] | {"request": "nobody", "at": NOW - 1},
            ]
            connection.execute(insert(labels), given)
            connection.execute(insert(labels), again)


def test_a_window_holds_the_rows_of_its_channel_and_what_came_true(store_url: str) -> None:
    engine = open_store(store_url)
    fill(engine)
    fill(engine, version=2, channel="staging")
    fill(engine, replay=True)
    with engine.connect() as connection:
        window = read_window(connection, project(), "production", 1, NOW)
        other = read_window(connection, project(), "production", 2, NOW)
        alike = read_window(connection, project(), "production", 2, NOW, {1, 2})
        came = new_labels(connection, project(), "production", NOW - 10.5 * DAY)
    engine.dispose()
    assert list(window.recent.inputs) == ["size", "kind"], "the id is none"
    assert [len(one) for one in (window.earlier, window.recent, window.matured)] == [7, 7, 7]
    assert list(window.recent.told["at"]) == sorted(window.recent.told["at"])
    assert window.matured.told["at"].max() < NOW - DAY
    assert (len(window.judged), int(window.judged.told["labelled"].sum())) == (7, 7)
    assert sorted(window.matured.told["label"]) == [0, 0, 0, 0, 0, 0, 1], "the later label holds"
    assert window.before == (28, 28)
    assert (window.labels_unknown, window.labels_twice) == (1, 1)
    assert (len(other.recent), len(other.said), len(other.judged)) == (7, 0, 0)
    assert (len(alike.said), len(alike.judged)) == (7, 7), "version 1 has the same model"
    assert came == 10


def test_what_is_old_is_deleted_and_nothing_else(store_url: str) -> None:
    engine = open_store(store_url)
    fill(engine)
    fill(engine, channel="staging")
    with engine.begin() as connection:
        prune(connection, project(), "production", NOW - 30 * DAY)
        counted = select(predictions.c.channel, func.count()).group_by(predictions.c.channel)
        kept = {channel: count for channel, count in connection.execute(counted)}
        assert connection.execute(select(func.count()).select_from(labels)).scalar() == 29 + 2
    engine.dispose()
    assert kept == {"production": 30, "staging": 60}


def test_the_oldest_of_too_many_answers_are_deleted(store_url: str) -> None:
    engine = open_store(store_url)
    fill(engine)
    made = project()
    few = made.model_copy(update={"monitoring": made.monitoring.model_copy(update={"keep_rows": 20})})
    few._folder, few._name = made.folder, made.name
    with engine.begin() as connection:
        prune(connection, few, "production", 0.0)
        assert connection.execute(select(func.count()).select_from(predictions)).scalar_one() == 20
        assert connection.execute(select(func.min(predictions.c.at))).scalar_one() == NOW - 19.5 * DAY
    engine.dispose()


def test_an_empty_store_is_a_window_of_nothing(store_url: str) -> None:
    engine = open_store(store_url)
    with engine.connect() as connection:
        window = read_window(connection, project(), "production", 1, NOW)
    engine.dispose()
    assert [len(one) for one in (window.recent, window.said, window.judged)] == [0, 0, 0]


def test_a_text_is_no_label_of_a_target_that_is_a_number_by_now() -> None:
    numbers, classes = find_project("temperature"), find_project("iris")
    assert [_label(told, numbers) for told in ('"setosa"', "3.5", None)] == [None, 3.5, None]
    assert _label('"setosa"', classes) == "setosa"
