"""The prediction log: nothing personal in it, nothing waits for it, and what it loses it counts."""

import math
import time
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, event, insert
from sqlalchemy.exc import OperationalError

from ml import locations
from ml.errors import MlError
from ml.serving.prediction_log import MAX_WAITING, AnsweredRows, Compared, Label, PredictionLog
from ml.store.database import open_store
from ml.store.lookup import Answered, look_up
from ml.store.tables import labels
from tests.load.servers import Postgres
from tests.support import wait_for

REQUEST = "0" * 32


def entry(request: str = REQUEST, row: int = 0, **inputs: Any) -> AnsweredRows:
    return AnsweredRows.of(request, row, time.time(), 3, False, [inputs], [{"prediction": 1}], 1.5)


def test_what_was_asked_answered_and_came_true_is_found_again(store_url: str) -> None:
    labelled: list[Any] = []
    log = PredictionLog(store_url, labelled=lambda *told: labelled.append(told))
    assert log.put([Label(REQUEST, 1, 0, time.time())]), "a label may come before its row"
    assert log.put([entry(Age=3.5, Sex="ünï\u0000"), entry(row=1, Age=None)])
    assert log.put([Label("f" * 32, 0, 1, time.time() - 60)])
    wait_for(lambda: len(labelled) == 2)
    log.close()
    assert sorted(labelled, key=str) == [(Answered({3: 1}), 0), (None, 1)]
    rows, labels = look_up(store_url, REQUEST)
    assert [row.row for row in rows] == [0, 1] and '"Age":3.5' in rows[0].inputs
    assert [label.label for label in labels] == ["0"]
    with pytest.raises(MlError, match="no request 'unknown'"):
        look_up(store_url, "unknown")


def test_a_label_finds_what_both_versions_of_a_trial_said(store_url: str) -> None:
    labelled: list[Any] = []
    log = PredictionLog(store_url, labelled=lambda *told: labelled.append(told))
    log.put([entry(), Compared(REQUEST, 0, 4, 4, 0), Label(REQUEST, 0, 0, time.time())])
    wait_for(lambda: labelled)
    log.close()
    assert labelled == [(Answered({3: 1, 4: 0}, candidate=4), 0)]


@pytest.mark.slow
def test_a_label_for_what_another_project_answered_is_none_here(store_url: str) -> None:
    labelled: list[Any] = []
    other = PredictionLog(store_url, of=("temperature", "production"))
    other.put([entry()])
    other.close()
    log = PredictionLog(store_url, of=("iris", "production"), labelled=lambda *told: labelled.append(told))
    log.put([Label(REQUEST, 0, "setosa", time.time() - 60)])
    wait_for(lambda: labelled)
    log.close()
    assert labelled == [(None, "setosa")]
    assert look_up(store_url, REQUEST)[1] == []


@pytest.mark.slow
def test_an_error_of_our_own_costs_one_count_and_not_the_log(store_url: str) -> None:
    written: list[int] = []

    def stumble(*_: Any) -> None:
        raise TypeError("a bug")

    log = PredictionLog(store_url, written=written.append, labelled=stumble)
    log.put([entry(), Label(REQUEST, 0, 1, time.time())])
    wait_for(lambda: sum(written) == 1)
    log.put([entry(row=1)])
    wait_for(lambda: sum(written) == 2)
    log.close()


def test_what_is_no_number_is_kept_as_nothing_and_takes_no_other_row_along(store_url: str) -> None:
    labelled: list[Any] = []
    log = PredictionLog(store_url, labelled=lambda *told: labelled.append(told))
    said = [{"prediction": math.nan, "probability_1": math.inf}, {"prediction": 0.1}]
    log.put([AnsweredRows.of(REQUEST, 7, 1764459912.1234567, 3, False, [{}, {"Age": 1e300}], said, 0.25)])
    log.put([Label(REQUEST, 7, 0, time.time()), Label(REQUEST, 8, 0, time.time())])
    wait_for(lambda: len(labelled) == 2)
    log.close()
    assert sorted(labelled, key=lambda told: len(told[0].said)) == [
        (Answered({}), 0),
        (Answered({3: 0.1}), 0),
    ]
    (none, one), _ = look_up(store_url, REQUEST)
    assert (none.output, one.output) == ('{"prediction":null,"probability_1":null}', '{"prediction":0.1}')
    assert (one.row, one.inputs, one.at, one.milliseconds, one.replay) == (
        *(8, '{"Age":1e+300}', 1764459912.1234567),
        *(0.25, False),
    )


@pytest.mark.parametrize("found", ["nothing", "a log that all may read"])
def test_the_log_is_its_owners_alone(found: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("ML_HOME", str(tmp_path))
    url = locations.store("small", "production")
    assert url
    folder = tmp_path / "predictions"
    if found != "nothing":
        folder.mkdir(mode=0o755)
        (folder / "small-production.sqlite").touch(mode=0o644)
    log = PredictionLog(url)
    log.put([entry()])
    wait_for(lambda: list(folder.glob("*-wal")))
    log.close()
    look_up(url, REQUEST)
    assert folder.stat().st_mode & 0o077 == 0
    assert [file.name for file in folder.iterdir() if file.stat().st_mode & 0o077] == []


@pytest.mark.slow
def test_a_dead_database_costs_nothing_and_gets_all_when_it_is_back() -> None:
    if not Postgres.available():
        pytest.skip("the PostgreSQL server is not installed")
    server, written, lost = Postgres(), [0], [0]
    server.start()
    log = PredictionLog(
        server.url,
        written=lambda rows: written.append(rows),
        lost=lambda rows: lost.append(rows),
    )
    log.put([entry()])
    wait_for(lambda: sum(written) == 1)
    server.stop()
    assert log.put(entry(row=row) for row in range(1, 501))
    server.start()
    wait_for(lambda: sum(written) == 501)
    log.close()
    server.stop()
    assert sum(lost) == 0


@pytest.mark.slow
def test_a_full_disk_costs_nothing_and_gets_all_when_there_is_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pages, written, lost, said = 16, [0], [0], ""

    def open_limited(url: str) -> Engine:
        engine = open_store(url)
        engine.dispose()
        event.listen(
            engine, "connect", lambda connection, _: connection.execute(f"PRAGMA max_page_count={pages}")
        )
        return engine

    monkeypatch.setattr("ml.serving.prediction_log.open_store", open_limited)
    log = PredictionLog(f"sqlite:///{tmp_path / 'log.sqlite'}", written=written.append, lost=lost.append)
    assert log.put(entry(row=row, Name="x" * 200) for row in range(1000))

    def full() -> bool:
        nonlocal said
        said += capsys.readouterr().err
        return "trying again: database or disk is full" in said

    wait_for(full)
    assert log.put([entry(row=1000)]), "it still takes what comes"
    assert sum(written) == 0
    pages = 10_000
    wait_for(lambda: sum(written) == 1001)
    log.close()
    assert sum(lost) == 0


@pytest.mark.slow
def test_a_file_that_is_deleted_under_the_log_is_begun_anew(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file, written = tmp_path / "log.sqlite", [0]
    log = PredictionLog(f"sqlite:///{file}", written=written.append)
    log.put([entry()])
    wait_for(lambda: sum(written) == 1)
    for one in tmp_path.glob("log.sqlite*"):
        one.unlink()
    log.put([entry(row=1)])
    wait_for(lambda: sum(written) == 2)
    log.close()
    assert [one.row for one in look_up(f"sqlite:///{file}", REQUEST)[0]] == [1]
    assert "its file is gone or another one: opened anew" in capsys.readouterr().err


@pytest.mark.slow
def test_an_entry_that_cannot_be_stored_takes_no_other_along(store_url: str) -> None:
    written, lost = [0], [0]
    log = PredictionLog(store_url, written=written.append, lost=lost.append)
    log.put([entry(), entry(), entry(row=1)])  # the same row of the same request, twice
    wait_for(lambda: sum(written) == 2)
    log.close()
    assert sum(lost) == 1
    assert [one.row for one in look_up(store_url, REQUEST)[0]] == [0, 1]


@pytest.mark.slow
def test_a_batch_is_written_whole_or_not_at_all(store_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    written, lost, left = [0], [0], [1]

    def fail_once(*_: Any) -> Any:
        if left and left.pop():
            raise OperationalError("", {}, Exception("database is locked"))
        return insert(labels)

    monkeypatch.setattr("ml.serving.prediction_log.RETRY_SECONDS", 0.01)
    monkeypatch.setattr(
        "ml.serving.prediction_log.insert", lambda table: (fail_once if table is labels else insert)(table)
    )
    log = PredictionLog(store_url, written=written.append, lost=lost.append)
    log.put([*(entry(row=row) for row in range(100)), Label(REQUEST, 0, 1, time.time())])
    wait_for(lambda: sum(written) >= 100)
    log.close()
    assert (sum(written), sum(lost)) == (100, 0)


@pytest.mark.slow
def test_a_label_that_cannot_be_stored_takes_no_row_along(
    store_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    written, lost = [0], [0]
    log = PredictionLog(store_url, written=written.append, lost=lost.append)
    log.put([*(entry(row=row) for row in range(100)), Label(REQUEST, 2**70, 1, time.time())])
    log.put([Label(REQUEST, 1, "\udcff", time.time()), entry(row=100)])
    wait_for(lambda: sum(written) == 101 and sum(lost) == 2)
    log.close()
    said = capsys.readouterr().err
    assert "entries cannot be stored: " in said and said.count("\n") <= 2, "a line for each time it writes"


def test_what_cannot_be_kept_is_counted() -> None:
    lost: list[int] = []
    log = PredictionLog("sqlite:////proc/no/log.sqlite", lost=lost.append)
    assert not log.put(entry(row=row) for row in range(MAX_WAITING + 1))
    assert log.put(entry(row=row) for row in range(5000))
    log.close()
    assert sum(lost) == MAX_WAITING + 1 + 5000


def test_a_url_that_names_no_database_is_an_error_without_the_password() -> None:
    for wrong in ("nonsense", "postgresql+unknown://me:secret@host/x", "postgresql://me:secret@host:port/x"):
        with pytest.raises(MlError, match="ML_STORE: not a database URL") as told:
            look_up(wrong, REQUEST)
        assert "secret" not in str(told.value)


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("sqlite://", "a database in memory keeps nothing"),
        ("sqlite:///:memory:", "a database in memory keeps nothing"),
        ("postgresql+psycopg://me@host/x?password=secret", "write it before the host"),
    ],
)
def test_a_store_that_keeps_nothing_or_shows_a_password_is_refused(url: str, told: str) -> None:
    with pytest.raises(MlError, match=told) as refused:
        look_up(url, REQUEST)
    assert "secret" not in str(refused.value)


def test_a_file_is_the_same_one_wherever_a_command_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for url in ("sqlite:///some/log.sqlite", f"sqlite:///{tmp_path}/some/log.sqlite"):
        monkeypatch.setenv("ML_STORE", url)
        assert locations.store("small", "production") == f"sqlite:///{tmp_path}/some/log.sqlite"
    monkeypatch.setenv("ML_STORE", "postgresql+psycopg://me@host/x")
    assert locations.store("small", "production") == "postgresql+psycopg://me@host/x"
