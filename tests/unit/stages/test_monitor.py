"""The monitor stage: it looks at the store, names the cause, keeps the look, and asks for what follows."""

import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sqlalchemy import insert, select

from ml import locations
from ml.data.rows import records
from ml.project import find_project
from ml.registry.versions import Registry
from ml.serving.service import free_port
from ml.store.database import open_store
from ml.store.history import note_build
from ml.store.tables import labels, looks, predictions, quarantines, trainings, troubles
from ml.training.bundle import load_version
from tests.conftest import Site, environment
from tests.support import ErrorOf, page_policy_breaches, register

pytestmark = pytest.mark.slow
ROWS, DAY = 1500, 86400.0
MONITORING = """
[monitoring]
min_new_labels = 100
train_on = ["concept", "drift and concept"]
"""


@pytest.fixture
def watched(built: Site) -> Site:
    """Return a site whose production serves version 1, and whose project trains again by itself."""
    Registry("small").move("production", register(built), "deploy")
    settings = built.project / "project.toml"
    settings.write_text(settings.read_text() + MONITORING)
    return built


def answer(
    site: Site, spoil: Callable[[pd.DataFrame, np.ndarray], Any] = lambda rows, since: None, **told: Any
) -> None:
    """Fill the store with answers and labels of two weeks; ``spoil`` changes those of the last six days."""
    random = np.random.default_rng(5)
    project, registry = find_project("small"), Registry("small")
    parts = [pd.read_parquet(site.build / "data" / f"{part}.parquet") for part in ("test",)]
    rows = pd.concat(parts).sample(ROWS, replace=True, random_state=3).reset_index(drop=True)
    times = np.sort(time.time() - random.uniform(0, 14 * DAY, ROWS))
    truth = rows.pop(project.target).to_numpy()
    since = times > time.time() - 6 * DAY
    if told.get("concept"):
        truth = np.where(since, 1 - truth, truth)
    if told.get("poisoned"):
        truth = np.where(since & (np.arange(ROWS) % 3 == 0), 1 - truth, truth)
    if told.get("one_label") is not None:
        truth = np.where(since, told["one_label"], truth)
    said = load_version(registry, 1).predict(rows)
    spoil(rows, since)
    url = locations.store("small", "production")
    assert url
    given, answers = records(rows), records(said)
    with open_store(url).begin() as connection:
        connection.execute(
            insert(predictions),
            [
                {
                    "request": f"{number:032x}",
                    "row": 0,
                    "at": times[number],
                    "project": "small",
                    "channel": "production",
                    "version": 1,
                    "replay": False,
                    "inputs": json.dumps({k: v for k, v in given[number].items() if k != "Name"}),
                    "output": json.dumps(answers[number]),
                    "milliseconds": 3.0,
                }
                for number in range(ROWS)
            ],
        )
        connection.execute(
            insert(labels),
            [
                {
                    "request": f"{n:032x}",
                    "row": 0,
                    "at": time.time(),
                    "label": json.dumps(int(truth[n])),
                    "sender": "few" if n % 3 == 0 else "many",
                }
                for n in range(ROWS)
                if not (told.get("stopped") and since[n]) and told.get("labels", True)
            ]
            or [{"request": "none", "row": 0}],
        )


def look(site: Site, *more: str) -> dict[str, Any]:
    assert site.ml("monitor", *more) == 0
    found: dict[str, Any] = json.loads((site.build / "monitor" / "look.json").read_text())
    return found


def kept(table: Any) -> list[Any]:
    url = locations.store("small", "production")
    assert url
    with open_store(url).connect() as connection:
        return list(connection.execute(select(table)))


def test_a_quiet_window_is_one_line_and_a_page(watched: Site, capsys: pytest.CaptureFixture[str]) -> None:
    answer(watched)
    note_build("small", "production", "deploy", "deployed", 1)
    found = look(watched)
    assert (found["cause"], found["asks"], found["because"]) == ("nothing", "", "")
    assert found["answers"] > 600 and found["labels"] > 500
    assert "monitor: nothing (" in capsys.readouterr().err
    page = (watched.build / "monitor" / "report" / "index.html").read_text()
    assert page_policy_breaches(page) == []
    assert "What a row costs" in page and "Columns" in page
    assert "Builds" in page and ">blessed</td>" in page
    assert len(kept(looks)) == 1 and kept(trainings) == [] and kept(quarantines) == []


def test_another_world_asks_for_one_training_and_no_second_one(
    watched: Site, capsys: pytest.CaptureFixture[str]
) -> None:
    answer(watched, concept=True)
    alone = look(watched)
    assert (alone["cause"], alone["asks"]) == ("concept", "") and "a look alone" in alone["because"]
    assert kept(trainings) == [], "nobody would have started it"
    first, second = look(watched, "--all"), look(watched, "--all")
    lines = [line.split("\t")[:2] for line in capsys.readouterr().out.splitlines()]
    assert lines == [["small", "train"], ["small", "told"]]
    assert (first["cause"], first["asks"]) == ("concept", "train")
    assert "a row costs" in first["why"][0]
    assert (second["cause"], second["asks"]) == ("concept", "")
    assert "a training is on since" in second["because"]
    assert [one.cause for one in kept(trainings)] == ["concept"]


def test_labels_that_one_client_poisoned_are_told_and_teach_nothing(watched: Site) -> None:
    answer(watched, poisoned=True)
    found = look(watched, "--train")
    assert (found["cause"], found["asks"]) == ("labels", "")
    assert "labels of sender few cost" in found["why"][0]
    (row,) = kept(quarantines)
    assert (row.column_name, row.sender) == ("label", "few")
    look(watched)
    assert len(kept(quarantines)) == 1, "the same one, longer"


def test_a_flood_of_labels_that_say_the_same_teaches_nothing(watched: Site) -> None:
    answer(watched, one_label=1)
    found = look(watched)
    assert found["cause"] == "labels" and "of the labels say '1'" in found["why"][0]
    (row,) = kept(quarantines)
    assert row.sender is None
    begins = time.time() - 6 * DAY
    assert abs(row.begins - begins) < DAY / 2


def test_a_source_that_does_not_deliver_is_told(watched: Site) -> None:
    answer(watched)
    (watched.project / "data" / "test.csv").unlink()
    found = look(watched)
    assert (found["cause"], found["asks"]) == ("source", "")
    assert "test.csv" in found["why"][0]


def test_nothing_is_trained_while_the_source_does_not_deliver(watched: Site) -> None:
    answer(watched, concept=True)
    (watched.project / "data" / "test.csv").unlink()
    found = look(watched, "--train")
    assert (found["cause"], found["asks"]) == ("concept", "")
    assert "the source does not deliver" in found["because"] and "test.csv" in found["because"]


def test_labels_come_from_the_source_where_the_project_says_so(
    watched: Site, capsys: pytest.CaptureFixture[str]
) -> None:
    answer(watched, labels=False)
    assert look(watched)["labels"] == 0
    settings = watched.project / "project.toml"
    settings.write_text(settings.read_text() + "labels_from_source = true\n")
    found = look(watched)
    assert found["labels"] > 500 and found["cause"] == "nothing"
    assert f"{ROWS:,} labels came from the source" in capsys.readouterr().err


def test_two_looks_at_once_ask_for_one_training(watched: Site) -> None:
    answer(watched, concept=True)
    command = [sys.executable, "-m", "ml", "monitor", "--all", "--build"]
    running = [
        subprocess.Popen([*command, str(place)], env=environment(), stdout=subprocess.PIPE, text=True)
        for place in (watched.root / "one agent", watched.root / "another agent")
    ]
    asked = [one.communicate()[0].split("\t")[1] for one in running]
    assert sorted(asked) == ["told", "train"]
    assert len(kept(trainings)) == 1 and len(kept(looks)) == 2


def trouble(kind: str, count: int, column: str = "", rule: str = "") -> None:
    url = locations.store("small", "production")
    assert url
    own = {"project": "small", "channel": "production", "at": time.time() - 60, "kind": kind}
    with open_store(url).begin() as connection:
        connection.execute(insert(troubles), own | {"column_name": column, "rule": rule, "count": count})


def test_requests_that_are_refused_by_a_column_are_a_broken_feed(watched: Site) -> None:
    answer(watched)
    trouble("refused", 5, "Age", "Input should be less than or equal to 120")
    assert look(watched)["cause"] == "nothing"
    trouble("refused", 300, "Fare", "Input should be a valid number")
    found = look(watched)
    assert found["cause"] == "broken feed" and found["asks"] == ""
    assert found["why"] == ["Fare: 300 requests refused: Input should be a valid number"]
    assert found["figures"]["refused: Age"] == 5
    assert kept(quarantines) == [], "those rows never came, and the others are sound"


def test_a_service_that_fails_is_told_with_the_last_deploy_and_the_way_back(watched: Site) -> None:
    answer(watched)
    trouble("failed", 60, rule="status 500")
    found = look(watched)
    assert found["cause"] == "service" and "60 requests failed" in found["why"][0]
    assert len(found["why"]) == 1, "there is no version to go back to"
    Registry("small").move("production", 1, "deploy")
    Registry("small").move("production", 1, "deploy")
    why = look(watched)["why"]
    assert "python -m ml rollback --project small --channel production" in why[-1]


def test_a_service_that_does_not_answer_is_told(watched: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    answer(watched)
    monkeypatch.setenv("ML_SERVICES", f"small/production=http://127.0.0.1:{free_port()}")
    found = look(watched)
    assert found["cause"] == "service" and "does not answer /health" in found["why"][0]


def test_what_a_person_took_back_is_not_trained_back(watched: Site) -> None:
    registry = Registry("small")
    registry.move("production", register(watched, "b"), "deploy")
    registry.move("production", 1, "rollback", "customers complain")
    answer(watched, concept=True)
    found = look(watched)
    assert (found["cause"], found["asks"]) == ("concept", "")
    assert "a person took the channel back" in found["because"]


def test_a_broken_column_is_named_and_its_rows_are_quarantined_until_it_heals(watched: Site) -> None:
    def constant(rows: pd.DataFrame, since: np.ndarray) -> None:
        rows.loc[since, "Sex"] = "female"

    answer(watched, constant)
    found = look(watched)
    assert (found["cause"], found["asks"]) == ("broken feed", "")
    assert "Sex: female in 100% of the rows" in found["why"][0]
    look(watched)
    (broken,) = kept(quarantines)
    assert broken.column_name == "Sex"
    assert abs(broken.begins - (time.time() - 6 * DAY)) < DAY / 2
    assert time.time() - broken.ends < 60


@pytest.mark.parametrize(
    ("told", "why"), [({"stopped": True}, "labels came for"), ({"one_label": 1}, "of the labels say '1'")]
)
def test_labels_that_stop_or_say_all_the_same_are_told(watched: Site, told: dict[str, Any], why: str) -> None:
    answer(watched, **told)
    found = look(watched)
    assert (found["cause"], found["asks"]) == ("labels", "")
    assert why in found["why"][0]


def test_a_channel_without_a_version_and_an_empty_store_are_told(
    built: Site, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "channel production serves no version" in look(built)["not_seen"]
    Registry("small").move("production", register(built), "deploy")
    told = look(built)["not_seen"]
    assert any("inputs: 0 of at least 200 rows" in one for one in told)
    assert "Traceback" not in capsys.readouterr().err


def test_what_cannot_be_looked_at_is_an_error(
    built: Site, monkeypatch: pytest.MonkeyPatch, error_of: ErrorOf, tmp_path: Path
) -> None:
    monkeypatch.setenv("ML_STORE", "off")
    assert built.ml("monitor") == 1
    assert "no answers are kept here to look at" in error_of()
    monkeypatch.setenv("ML_STORE", "postgresql+psycopg://nobody:secret@127.0.0.1:9/none")
    assert built.ml("monitor") == 1
    assert "the store cannot be looked into" in (told := error_of()) and "secret" not in told
    monkeypatch.setenv("ML_STORE", f"sqlite:///{tmp_path}")
    assert built.ml("monitor") == 1
    assert f"{tmp_path}: Is a directory" in error_of()


def test_a_reference_that_was_altered_is_not_believed(watched: Site, error_of: ErrorOf) -> None:
    file = Registry("small").folder(1) / "quality" / "reference.parquet"
    file.write_bytes(file.read_bytes()[:-1])
    assert watched.ml("monitor") == 1
    assert "reference.parquet" in error_of()
