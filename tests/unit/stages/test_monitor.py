"""The monitor stage: it looks at the store, names the cause, keeps the look, and asks for what follows."""

import signal
import time
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import delete

from ml import locations
from ml.records import ALREADY_DEPLOYED
from ml.registry.versions import Registry
from ml.serving.service import free_port
from ml.store.database import open_store
from ml.store.history import note_build
from ml.store.tables import builds, curves, looks, quarantines, trainings, troubles
from tests.conftest import Site
from tests.production import (
    DAY,
    ROWS,
    TwoWeeks,
    another_world,
    answer,
    keep,
    kept,
    newest_look,
    one_label,
    stopped,
    watch,
)
from tests.support import ErrorOf, page_policy_breaches, register

pytestmark = pytest.mark.slow


@pytest.fixture
def watched(built: Site) -> Site:
    """Return a site whose production serves version 1, and whose project trains again by itself."""
    return watch(built)


def look(site: Site, *more: str) -> dict[str, Any]:
    assert site.ml("monitor", *more) == 0
    return newest_look(site)


def test_a_quiet_window_is_one_line_and_a_page(watched: Site, capsys: pytest.CaptureFixture[str]) -> None:
    answer(watched)
    note_build("small", "production", "deploy", "deployed", 1)
    found = look(watched)
    assert (found["cause"], found["asks"], found["because"]) == ("nothing", "", "")
    assert found["answers"] > 600 and found["labels"] > 500
    assert "monitor: small: nothing (" in capsys.readouterr().err
    page = (watched.build / "monitor" / "report" / "index.html").read_text()
    assert page_policy_breaches(page) == []
    assert "What a row costs" in page and "Columns" in page
    assert "Builds" in page and ">blessed</td>" in page
    assert len(kept(looks)) == 1 and kept(trainings) == [] and kept(quarantines) == []


def test_another_world_asks_for_one_training_and_no_second_one(
    watched: Site, capsys: pytest.CaptureFixture[str]
) -> None:
    answer(watched, another_world)
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


def test_a_flood_of_labels_that_say_the_same_teaches_nothing(watched: Site) -> None:
    answer(watched, one_label)
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
    answer(watched, another_world)
    (watched.project / "data" / "test.csv").unlink()
    found = look(watched, "--train")
    assert (found["cause"], found["asks"]) == ("concept", "")
    assert "the source does not deliver" in found["because"] and "test.csv" in found["because"]


def test_labels_that_wait_until_their_answers_are_old_enough_are_told(watched: Site) -> None:
    answer(watched)
    settings = watched.project / "project.toml"
    settings.write_text(settings.read_text() + "matured_days = 40\nkeep_days = 100\n")
    told = look(watched)["not_seen"][-1]
    assert told.startswith("quality: 0 of at least 100 labels of what version 1 said; ")
    assert told.endswith("more wait until the answers are 40 days old (matured_days)")


def unlabelled(weeks: TwoWeeks) -> None:
    weeks.labelled[:] = False


def test_labels_come_from_the_source_where_the_project_says_so(
    watched: Site, capsys: pytest.CaptureFixture[str]
) -> None:
    answer(watched, unlabelled)
    assert look(watched)["labels"] == 0
    settings = watched.project / "project.toml"
    settings.write_text(settings.read_text() + "labels_from_source = true\n")
    found = look(watched)
    assert found["labels"] > 500 and found["cause"] == "nothing"
    assert f"{ROWS:,} labels came from the source" in capsys.readouterr().err


def trouble(kind: str, count: int, column: str = "", rule: str = "") -> None:
    own = {"project": "small", "channel": "production", "at": time.time() - 60, "kind": kind}
    keep(troubles, [own | {"column_name": column, "rule": rule, "count": count}])


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


def test_a_service_that_was_killed_is_told_and_one_that_was_stopped_is_not(watched: Site) -> None:
    answer(watched)
    services = watched.root / "home" / "services"
    services.mkdir(exist_ok=True)
    (services / "small-production.lock").touch()
    (services / "small-production.json").write_text('{"pid": 1, "url": "http://127.0.0.1:8000"}')
    found = look(watched)
    assert found["cause"] == "service"
    assert "the service at http://127.0.0.1:8000 ended, and nobody stopped it" in found["why"][0]
    (services / "small-production.json").unlink()
    assert look(watched)["cause"] == "nothing"


def test_a_training_that_finds_the_same_rows_is_over_at_once(
    watched: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer(watched, another_world)
    assert look(watched, "--all")["asks"] == "train"
    with monkeypatch.context() as asked:
        asked.setenv("WHY", "concept: a row costs more")
        note_build("small", "production", "deploy", ALREADY_DEPLOYED, 1)
    assert "found no row that is new" in look(watched, "--all")["because"]
    assert [one.outcome for one in kept(trainings)] == ["nothing new"]


def test_a_broken_column_is_named_and_its_rows_are_quarantined_until_it_heals(watched: Site) -> None:
    def constant(weeks: TwoWeeks) -> None:
        weeks.inputs.loc[weeks.since, "Sex"] = "female"

    answer(watched, constant)
    found = look(watched)
    assert (found["cause"], found["asks"]) == ("broken feed", "")
    assert "Sex: female in 100% of the rows" in found["why"][0]
    look(watched)
    (broken,) = kept(quarantines)
    assert broken.column_name == "Sex"
    assert abs(broken.begins - (time.time() - 6 * DAY)) < DAY / 2
    assert time.time() - broken.ends < 60


def test_what_a_person_finds_good_is_learned_from_again(
    watched: Site, capsys: pytest.CaptureFixture[str], error_of: ErrorOf
) -> None:
    answer(watched, one_label)
    look(watched)
    page = watched.build / "monitor" / "report" / "index.html"
    assert "--channel production --lift N" in page.read_text()
    assert page_policy_breaches(page.read_text()) == []
    (row,) = kept(quarantines)
    assert watched.ml("monitor", "--lift", str(row.number)) == 0
    assert "of the labels say '1'" in capsys.readouterr().out
    look(watched)
    (row,) = kept(quarantines)
    assert row.lifted is not None, "as long as it goes on, it is what that person looked at"
    assert "--lift" not in page.read_text()
    capsys.readouterr()
    assert watched.ml("monitor", "--lift", str(row.number)) == 1
    assert f"has no quarantine {row.number} that holds" in error_of()


def test_a_build_that_was_killed_while_it_trained_is_told(
    watched: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    def train_and_die(build: str, days_ago: float) -> None:
        at = time.time() - days_ago * DAY
        own = {"project": "small", "build": build, "began": at, "at": at, "iteration": 1}
        keep(curves, [own | {"what": "", "metric": "", "percent_complete": 50.0}])

    answer(watched)
    with open_store(str(locations.store("small", "production"))).begin() as connection:
        connection.execute(delete(curves))
        connection.execute(delete(builds))
    train_and_die("jenkins-small-7", 1.5)
    found = look(watched)
    assert found["died"].startswith("jenkins-small-7 trained from ") and found["cause"] == "nothing"
    train_and_die("jenkins-small-8", 0.5)
    assert look(watched)["died"] == "", "it may go on"
    train_and_die("by hand", 0.4)
    assert look(watched)["died"] == "", "who sits there knows"


def test_a_build_that_ends_is_no_build_that_died(watched: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    watched.grid({"NoSuchEstimator": {}})
    monkeypatch.setenv("BUILD_TAG", "jenkins-small-8")
    assert watched.ml("train") == 1
    assert (kept(builds)[-1].stage, kept(builds)[-1].outcome) == ("train", "failed")
    monkeypatch.setattr("ml.training.grid.read_grid", lambda _: signal.raise_signal(signal.SIGTERM))
    assert watched.ml("train") == 143
    assert (kept(builds)[-1].stage, kept(builds)[-1].outcome) == ("train", "stopped")


def test_labels_that_stop_are_told(watched: Site) -> None:
    answer(watched, stopped)
    found = look(watched)
    assert (found["cause"], found["asks"]) == ("labels", "")
    assert "labels came for" in found["why"][0]


def test_a_channel_without_a_version_and_an_empty_store_are_told(
    built: Site, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "channel production serves no version" in look(built)["not_seen"]
    Registry("small").move("production", register(built), "deploy")
    told = look(built)["not_seen"]
    assert told == [
        "inputs: 0 of at least 200 rows",
        "quality: 0 of at least 100 labels of what version 1 said",
    ]
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
