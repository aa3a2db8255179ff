"""Texts and plain numbers come from a file with types, a spreadsheet and a database alike."""

import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow
import pyarrow.parquet
import pytest

from ml.cli import main
from ml.data.as_text import as_text
from ml.data.contract import check as check_contract
from ml.data.contract import load_contract, text_columns
from ml.data.formats import read_file
from ml.data.request import row_reader
from ml.data.sources.discover import discover
from ml.data.sources.table_files import read_batches
from ml.files import read_json
from ml.project import find_project
from ml.source_settings import Format
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


def texts(column: pd.Series) -> list[Any]:
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
        "'f81d4fae-7dec-11d0-a765-00a0c91e6bf6'::uuid AS key, '10.0.0.1'::inet AS client, '::/8'::cidr AS net"
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
        "client": "10.0.0.1",
        "net": "::/8",
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


def of_parquet(folder: Path, column: pyarrow.Array) -> pd.Series:
    pyarrow.parquet.write_table(pyarrow.table({"one": column}), folder / "rows.parquet")
    return discover(str(folder / "rows.parquet")).table["one"]


SECONDS = [datetime.timedelta(minutes=1, milliseconds=500), None, datetime.timedelta(days=1)]
PRICES = [Decimal("1.25"), None, Decimal("-3.00")]


def test_decimals_durations_and_dictionaries_of_parquet_are_plain_numbers_and_texts(tmp_path: Path) -> None:
    for column, values in [
        (pyarrow.array(PRICES, pyarrow.decimal128(9, 2)), [1.25, None, -3]),
        (pyarrow.array(SECONDS, pyarrow.duration("us")), [60.5, None, 86400]),
        (pyarrow.array([2, None, 7]).dictionary_encode(), [2, None, 7]),
        (pyarrow.array(PRICES, pyarrow.decimal128(9, 2)).dictionary_encode(), [1.25, None, -3]),
    ]:
        found = of_parquet(tmp_path, column)
        assert found.dtype == np.float64 and texts(found) == values
    words = of_parquet(tmp_path, pyarrow.array(["b", None, "007"]).dictionary_encode())
    assert words.dtype == "str" and texts(words) == ["b", None, "007"]
    assert of_parquet(tmp_path, pyarrow.array([2, 2, 7]).dictionary_encode()).dtype == np.int64
    days = of_parquet(tmp_path, pyarrow.array([datetime.date(2024, 3, 1)] * 2).dictionary_encode())
    assert texts(days) == ["2024-03-01"] * 2


@pytest.mark.parametrize(
    ("kind", "values", "wanted"),
    [
        ("Int64", [1, 2], "int64"),
        ("Int64", [1, None], "float64"),
        ("UInt64", [1, 2], "int64"),
        ("Float32", [1.5, None], "float64"),
        ("int32[pyarrow]", [1, 2], "int64"),
        ("int32[pyarrow]", [1, None], "float64"),
        ("int8", [1, 2], "int64"),
        ("float32", [1.5, None], "float64"),
    ],
)
def test_numbers_have_64_bits_and_no_gaps_of_their_own(
    tmp_path: Path, kind: str, values: list[Any], wanted: str
) -> None:
    pd.DataFrame({"n": pd.array(values, dtype=kind)}).to_parquet(tmp_path / "rows.parquet")
    found = discover(str(tmp_path / "rows.parquet")).table["n"]
    assert found.dtype == wanted and texts(found) == values


def test_a_number_that_is_too_large_for_64_bits_with_a_sign_is_a_float() -> None:
    found = as_text(pd.DataFrame({"n": np.array([1, 2**64 - 1], dtype="uint64")}), [])
    assert found["n"].tolist() == [1.0, float(2**64 - 1)]


def test_whole_numbers_that_no_float_holds_are_digits_where_text_is_asked_for() -> None:
    long = pd.Series([2**53 + 1, 7, 2**64 - 1], dtype="uint64")
    rows = pd.DataFrame({"code": long, "gap": long.astype("UInt64").mask([False, True, False]), "n": long})
    found = as_text(rows.assign(short=7), ["code", "gap", "short"])
    assert found["code"].tolist() == ["9007199254740993", "7", "18446744073709551615"]
    assert found["gap"].isna().tolist() == [False, True, False] and found["gap"].iloc[0] == "9007199254740993"
    assert found["n"].dtype == float and found["short"].dtype == int


def test_decimals_and_durations_of_objects_are_numbers_whatever_the_column_is_called() -> None:
    rows = as_text(pd.DataFrame({2024: PRICES, "took": SECONDS}, index=[7, 8, 9], dtype=object), [])
    assert list(rows) == [2024, "took"] and list(rows.index) == [7, 8, 9]
    assert texts(rows[2024]) == [1.25, None, -3] and texts(rows["took"]) == [60.5, None, 86400]


def test_a_duration_of_a_database_is_seconds(
    tmp_path: Path, postgres: Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PLACE", postgres.new_database())
    (tmp_path / "query.sql").write_text("SELECT * FROM (VALUES (interval '90 s'), (NULL)) AS told (took)")
    table = discover(f"sql:PLACE:{tmp_path / 'query.sql'}").table
    assert texts(table["took"]) == [90, None]


def test_a_build_and_predictions_read_the_same_numbers(site: Site, tmp_path: Path) -> None:
    rows = pd.read_csv(site.project / "data" / "train.csv").head(40)
    age = [None if pd.isna(one) else Decimal(str(one)) for one in rows["Age"]]
    rows = rows.assign(Age=pd.Series(age, dtype=object), Embarked=rows["Embarked"].astype("category"))
    rows.to_parquet(tmp_path / "rows.parquet")
    contract = load_contract(find_project("small"))
    [batch] = read_batches(tmp_path / "rows.parquet", Format(), text_columns(contract))
    check_contract(as_text(batch, text_columns(contract)), contract, "build")
    reader = row_reader(contract.remove_columns(["Survived"]), find_project("small"))
    found = read_file(tmp_path / "rows.parquet", reader, {"Survived"})
    assert found["Age"].dtype == np.float64 and found["Embarked"].dtype == "str"


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
