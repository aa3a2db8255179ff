"""Times, days and identities come as texts from a file with types, a spreadsheet and a database alike."""

import datetime
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from ml.cli import main
from ml.data.as_text import as_text
from ml.data.sources.discover import discover
from ml.files import read_json
from ml.project import find_project
from ml.training.row_features import rows_made_otherwise
from tests.conftest import Site
from tests.load.servers import Postgres

AT = ["2024-03-01T08:15:00", "2024-03-01T23:59:59.500000", None, "2024-03-02T00:00:00"]
ROWS = pd.DataFrame(
    {
        "id": [1, 2, 3, 4],
        "at": pd.to_datetime(pd.Series(AT), format="ISO8601"),
        "day": [datetime.date(2024, 3, 1), None, datetime.date(2024, 3, 2), datetime.date(2024, 3, 3)],
        "word": ["a", "b", None, "d"],
    }
)


def texts(column: pd.Series) -> list[str | None]:
    return [None if pd.isna(one) else one for one in column]


def check(found: pd.DataFrame) -> None:
    assert texts(found["at"]) == AT
    assert texts(found["day"]) == ["2024-03-01", None, "2024-03-02", "2024-03-03"]
    assert texts(found["word"]) == ["a", "b", None, "d"] and found["id"].tolist() == [1, 2, 3, 4]


def test_of_a_parquet_file(tmp_path: Path) -> None:
    ROWS.to_parquet(tmp_path / "rows.parquet")
    check(discover(str(tmp_path / "rows.parquet")).table)


def test_of_a_spreadsheet_a_day_is_a_time(tmp_path: Path) -> None:
    ROWS.assign(at=ROWS["at"].dt.floor("s")).to_excel(tmp_path / "rows.xlsx", index=False)
    found = discover(str(tmp_path / "rows.xlsx")).table
    assert texts(found["at"])[:2] == ["2024-03-01T08:15:00", "2024-03-01T23:59:59"]
    assert texts(found["day"])[0] == "2024-03-01T00:00:00"


def test_of_a_database(tmp_path: Path, postgres: Postgres, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PLACE", postgres.new_database())
    query = (
        "SELECT 1 AS id, timestamp '2024-03-01 08:15' AS at, timestamptz '2024-03-01 08:15+02' AS there, "
        "date '2024-03-01' AS day, time '08:15' AS clock, 1.50::numeric AS price, "
        "'f81d4fae-7dec-11d0-a765-00a0c91e6bf6'::uuid AS key"
    )
    (tmp_path / "query.sql").write_text(query)
    [found] = discover(f"sql:PLACE:{tmp_path / 'query.sql'}").table.to_dict("records")
    there = datetime.datetime.fromisoformat(found.pop("there"))
    assert there == datetime.datetime(2024, 3, 1, 6, 15, tzinfo=datetime.UTC)
    assert found == {
        "id": 1,
        "at": "2024-03-01T08:15:00",
        "day": "2024-03-01",
        "clock": "08:15:00",
        "price": 1.5,
        "key": "f81d4fae-7dec-11d0-a765-00a0c91e6bf6",
    }


@pytest.mark.parametrize("gap", [False, None])
def test_true_and_false_are_the_texts_that_a_csv_file_has(tmp_path: Path, gap: bool | None) -> None:
    rows = pd.DataFrame({"flag": pd.array([True, False, gap], dtype="boolean"), "n": [1, 2, 3]})
    files = {
        name: tmp_path / f"rows.{name}" for name in ("csv", "parquet", "plain.parquet", "ndjson", "json")
    }
    rows.to_csv(files["csv"], index=False)
    rows.to_parquet(files["parquet"])
    rows.astype({"flag": object}).to_parquet(files["plain.parquet"])
    rows.to_json(files["ndjson"], orient="records", lines=True)
    rows.to_json(files["json"], orient="records")
    for file in files.values():
        table = discover(str(file)).table
        assert texts(table["flag"]) == ["True", "False", None if gap is None else "False"], file
        assert pd.api.types.is_string_dtype(table["flag"]) and table["n"].tolist() == [1, 2, 3]


@pytest.mark.parametrize("gap", ["false", "NULL"])
def test_true_and_false_of_a_database(
    tmp_path: Path, postgres: Postgres, monkeypatch: pytest.MonkeyPatch, gap: str
) -> None:
    monkeypatch.setenv("PLACE", postgres.new_database())
    (tmp_path / "query.sql").write_text(f"SELECT * FROM (VALUES (true), (false), ({gap})) AS told (flag)")
    table = discover(f"sql:PLACE:{tmp_path / 'query.sql'}").table
    assert texts(table["flag"]) == ["True", "False", "False" if gap == "false" else None]


def test_what_is_text_already_is_the_very_same_table() -> None:
    rows = pd.DataFrame({"a": ["2024-03-01"], "b": [1.0]})
    assert as_text(rows, list(rows)) is rows


@pytest.mark.slow
def test_a_project_is_begun_and_built_from_a_table_with_times(site: Site, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    at = pd.Timestamp("2024-01-01") + pd.to_timedelta(np.arange(600) * 3, unit="h")
    rows = pd.DataFrame({"order_id": range(600), "ordered_at": at, "weight": rng.normal(5, 1, 600)})
    late = (at.day_of_week >= 5) ^ (rng.random(600) < 0.1)
    rows["late"] = np.where(late, "yes", "no")
    rows.to_parquet(tmp_path / "orders.parquet", index=False)
    source = ["--from", str(tmp_path / "orders.parquet"), "--target", "late"]
    assert site.ml("new", "orders", *source) == 0
    project = find_project("orders")
    assert project.split.kind == "time" and project.split.by == "ordered_at"
    assert any("weekday" in name for name in project.features.columns)
    built = site.root / "build"
    for stage in ("data", "train"):
        assert main([stage, "--project", "orders", "--build", str(built)]) == 0
    row = read_json(built / "orders" / "model" / "golden.json")["rows"][0]
    assert str(row["ordered_at"]).startswith("2024-")
    learned = pd.read_parquet(built / "orders" / "data" / "train.parquet")
    assert rows_made_otherwise(project, learned) == {"calendar": []}, "the service needs no table for it"
