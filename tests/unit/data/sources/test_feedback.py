"""What production answered comes back as rows to learn from."""

import json
import time
from pathlib import Path
from typing import Any

import pandas as pd
import pandera.pandas as pa
import pytest
from sqlalchemy import insert, update

from ml import locations
from ml.data.sources import feedback
from ml.data.sources.interface import Asked
from ml.errors import MlError
from ml.source_settings import FeedbackSource
from ml.store.database import open_store
from ml.store.tables import labels, predictions, quarantines

DAY = 86400.0


@pytest.fixture(autouse=True)
def _home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ML_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("ML_STORE", raising=False)


def answered(request: str, days_ago: float = 0, replay: bool = False, **inputs: Any) -> dict[str, Any]:
    return {
        "request": request,
        "row": 0,
        "at": time.time() - days_ago * DAY,
        "project": "p",
        "channel": "production",
        "version": 1,
        "replay": replay,
        "inputs": json.dumps(inputs),
        "output": '{"prediction": 1}',
        "milliseconds": 1.0,
    }


def label(request: str, said: Any, row: int = 0) -> dict[str, Any]:
    return {"request": request, "row": row, "at": time.time(), "label": json.dumps(said)}


def stored(rows: list[dict[str, Any]], told: list[dict[str, Any]]) -> None:
    url = locations.store("p", "production")
    assert url
    with open_store(url).begin() as connection:
        connection.execute(insert(predictions), rows)
        if told:
            connection.execute(insert(labels), told)


def asked(folder: Path, **more: Any) -> Asked:
    return Asked("p", folder, folder, "production", target="late", id="id", **more)


def read(folder: Path, **settings: Any) -> pd.DataFrame:
    source = FeedbackSource(kind="feedback", labelled="production", **settings)
    batches = list(feedback.read(source, asked(folder)))
    return pd.concat(batches) if batches else pd.DataFrame()


def test_rows_with_a_label_come_back_with_the_last_one(tmp_path: Path) -> None:
    stored(
        [answered("a", id=1, size=2.5), answered("b", id=2, size=None), answered("c", id=3, size=1.0)],
        [label("a", 0), label("b", 1), label("a", 1), label("unknown", 1), label("c", 0, row=7)],
    )
    found = read(tmp_path)
    assert found[["id", "late"]].to_dict("list") == {"id": [1, 2], "late": [1, 1]}
    assert found["size"].isna().tolist() == [False, True]


def test_what_the_contract_of_today_refuses_is_left_out_and_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    columns = {"id": pa.Column(int), "size": pa.Column(float, pa.Check.le(9)), "late": pa.Column(int)}
    rows = [{"size": 2.5, "gone": "x"}, {"size": 99.0}, {}, {"size": 3.0}]
    stored(
        [
            answered(name, id=number, **row)
            for number, (name, row) in enumerate(zip("abcd", rows, strict=True))
        ],
        [label("a", 0), label("b", 1), label("c", 1), label("d", "none")],
    )
    source = FeedbackSource(kind="feedback", labelled="production")
    today = asked(tmp_path, contract=pa.DataFrameSchema(columns))
    found = pd.concat(feedback.read(source, today))
    assert found.to_dict("records") == [{"size": 2.5, "id": 0, "late": 0}]
    told = capsys.readouterr().err
    assert (
        "3 of 4 rows are left out, which the contract refuses by now, the first for size: Input should be"
        in told
    )


def test_a_deploy_s_own_questions_and_what_is_young_are_left_out(tmp_path: Path) -> None:
    stored(
        [answered("a", id=1, replay=True), answered("b", id=2, days_ago=1), answered("c", id=3, days_ago=9)],
        [label("a", 1), label("b", 1), label("c", 1)],
    )
    assert read(tmp_path)["id"].tolist() == [3, 2]
    assert read(tmp_path, matured_days=7)["id"].tolist() == [3]


@pytest.mark.parametrize(
    ("column", "sender", "left"),
    [("size", None, [1]), ("label", None, [1]), ("label", "a client", [1, 3, 4]), ("label", "", [1, 2, 3])],
)
def test_what_is_in_quarantine_is_left_out(
    tmp_path: Path, column: str, sender: str | None, left: list[int]
) -> None:
    stored(
        [answered("a", id=1, days_ago=9), answered("b", id=2), answered("c", id=3), answered("d", id=4)],
        [
            label("a", 1) | {"sender": "a client"},
            label("b", 1) | {"sender": "a client"},
            label("c", 1) | {"sender": "another"},
            label("d", 1) | {"sender": None},
        ],
    )
    url = locations.store("p", "production")
    assert url
    about = {
        "project": "p",
        "channel": "production",
        "begins": time.time() - 5 * DAY,
        "ends": time.time() + 1,
    }
    with open_store(url).begin() as connection:
        connection.execute(insert(quarantines), about | {"column_name": column, "sender": sender})
    assert sorted(read(tmp_path)["id"]) == left
    with open_store(url).begin() as connection:
        connection.execute(update(quarantines).values(lifted=time.time()))
    assert sorted(read(tmp_path)["id"]) == [1, 2, 3, 4]


def test_what_personal_columns_leave_out_is_told_before_anything_is_read(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = FeedbackSource(kind="feedback", labelled="production")
    assert list(feedback.read(source, asked(tmp_path, personal=("name", "ticket")))) == []
    said = capsys.readouterr().err
    assert "personal columns are not kept with answers: name, ticket and the features made of them" in said


def test_the_size_counts_answers_and_labels(tmp_path: Path) -> None:
    stored([answered("a", id=1), answered("b", id=2)], [label("a", 0), label("a", 1)])
    source = FeedbackSource(kind="feedback", labelled="production")
    assert feedback.size(source, asked(tmp_path)) == "2 answers, 1 of them with a matured label"
    newest = feedback.delivered(source, asked(tmp_path))
    assert newest and abs(newest.timestamp() - time.time()) < 60


def test_answers_that_are_not_kept_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ML_STORE", "off")
    with pytest.raises(MlError, match="no answers of channel production are kept"):
        read(tmp_path)
