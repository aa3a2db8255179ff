"""Tables that queries give, from SQLite and from a real PostgreSQL."""

import sqlite3
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from sqlalchemy import create_engine

from ml.data.sources import sql
from ml.data.sources.interface import Asked, SourceAway
from ml.errors import MlError
from ml.project import find_project
from ml.source_settings import QueryCheck, SqlSource
from tests.load.servers import Postgres

ROWS = pd.DataFrame(
    {
        "id": range(1, 6),
        "name": ["Ann", "Bob", None, "Dan", "Eve'; DROP TABLE people; --"],
        "amount": [1.5, None, 2.0, 3.25, 4.0],
        "day": ["2024-01-01", "2024-01-02", "2024-01-03", "2024-01-04", "2024-01-05"],
    }
)


@pytest.fixture(scope="module")
def _server(postgres: Postgres) -> str:
    url = postgres.new_database()
    with create_engine(url).begin() as connection:
        ROWS.to_sql("people", connection, index=False)
    return url


@pytest.fixture(params=["sqlite", "postgres"])
def database(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> dict[str, str]:
    """Return the setting that names a database with the table ``people``."""
    if request.param == "sqlite":
        with sqlite3.connect(tmp_path / "people.sqlite") as connection:
            ROWS.to_sql("people", connection, index=False)
        return {"database": "people.sqlite"}
    monkeypatch.setenv("PEOPLE_DATABASE", request.getfixturevalue("_server"))
    return {"url_from": "PEOPLE_DATABASE"}


def read(folder: Path, query: str, **settings: Any) -> pd.DataFrame:
    (folder / "people.sql").write_text(query)
    source = SqlSource(kind="sql", labelled="people.sql", **settings)
    return pd.concat(list(sql.read(source, Asked("p", folder, folder, "people.sql"))), ignore_index=True)


def test_a_query_with_bound_parameters_gives_its_rows(database: dict[str, str], tmp_path: Path) -> None:
    query = "SELECT id, name, amount FROM people WHERE day >= :since AND name <> :name ORDER BY id"
    given = {"since": "2024-01-02", "name": ROWS["name"].iloc[4]}
    found = read(tmp_path, query, **database, parameters=given)
    assert found["id"].tolist() == [2, 4] and found["amount"].isna().tolist() == [True, False]
    assert found["amount"].dtype == float
    assert len(read(tmp_path, "SELECT * FROM people", **database)) == 5, "the table is still there"


def test_days_ago_are_counted_from_today(database: dict[str, str], tmp_path: Path) -> None:
    query = "SELECT id FROM people WHERE day >= :since"
    assert len(read(tmp_path, query, **database, days_ago={"since": 36500})) == 5
    none = read(tmp_path, query, **database, days_ago={"since": 1})
    assert len(none) == 0 and list(none) == ["id"]


@pytest.mark.parametrize("given", [{"days_ago": {"since": 1}}, {"parameters": {"since": "2024-01-02"}}])
def test_a_parameter_that_no_query_asks_for_is_told(
    database: dict[str, str], tmp_path: Path, given: dict[str, Any]
) -> None:
    with pytest.raises(MlError, match="no query asks for the parameter 'since': write :since"):
        read(tmp_path, "SELECT id FROM people", **database, **given)


def test_rows_come_in_batches(
    database: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sql, "BATCH_ROWS", 2)
    assert read(tmp_path, "SELECT id FROM people ORDER BY id", **database)["id"].tolist() == [1, 2, 3, 4, 5]


def test_checks_are_asked_before_the_rows(database: dict[str, str], tmp_path: Path) -> None:
    query = "SELECT id FROM people"
    good = [
        QueryCheck(sql="SELECT count(*) FROM people", between=[5, 10]),
        QueryCheck(sql="SELECT name FROM people WHERE id = 1", equals="Ann"),
        QueryCheck(sql="SELECT count(*) - count(DISTINCT id) FROM people", equals=0, name="ids are unique"),
    ]
    assert len(read(tmp_path, query, **database, checks=good)) == 5
    bad = QueryCheck(sql="SELECT sum(amount) FROM people", between=[100, 200], name="sum of amounts")
    with pytest.raises(
        MlError, match=r"check of the source 'sum of amounts': expected 100 to 200, came 10.75"
    ):
        read(tmp_path, "no query at all", **database, checks=[bad])
    none = QueryCheck(sql="SELECT id FROM people WHERE id > 99", equals=1)
    with pytest.raises(MlError, match="expected 1, came None"):
        read(tmp_path, query, **database, checks=[none])


@pytest.mark.parametrize(
    ("query", "told"),
    [
        ("SELECT nothing FROM people", "nothing"),
        ("SELECT * FROM nowhere", "nowhere"),
        ("SELECT id FROM people WHERE day > :since", "since"),
        ("SELECT id, name AS id FROM people", "gives the column 'id' twice"),
        ("DELETE FROM people", "readonly|syntax error"),
        ("INSERT INTO people (id) VALUES (9) RETURNING id", "readonly|syntax error"),
    ],
)
def test_what_the_database_says_is_told_on_one_line(
    database: dict[str, str], tmp_path: Path, query: str, told: str
) -> None:
    with pytest.raises(MlError, match=told) as caught:
        read(tmp_path, query, **database)
    assert "\n" not in str(caught.value)
    assert len(read(tmp_path, "SELECT * FROM people", **database)) == 5


def test_a_query_that_takes_too_long_is_given_up(database: dict[str, str], tmp_path: Path) -> None:
    endless = (
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 100000000) "
        "SELECT max(i) AS i FROM n"
    )
    with pytest.raises(MlError, match="took longer than max_seconds"):
        read(tmp_path, endless, **database, max_seconds=0.3)


def test_a_database_that_cannot_be_reached_is_away_and_no_password_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(SourceAway, match=r"people.sqlite is missing"):
        read(tmp_path, "SELECT 1", database="people.sqlite")
    monkeypatch.setenv("PEOPLE_DATABASE", "postgresql+psycopg://someone:open-sesame@127.0.0.1:9/x")
    with pytest.raises(SourceAway, match="people.sql of PEOPLE_DATABASE: .*refused") as caught:
        read(tmp_path, "SELECT 1", url_from="PEOPLE_DATABASE")
    assert "open-sesame" not in str(caught.value)
    for url in ("open-sesame", "oracle://someone:open-sesame@x/y"):
        monkeypatch.setenv("PEOPLE_DATABASE", url)
        with pytest.raises(MlError, match="PEOPLE_DATABASE") as told:
            read(tmp_path, "SELECT 1", url_from="PEOPLE_DATABASE")
        assert "open-sesame" not in str(told.value)
    monkeypatch.delenv("PEOPLE_DATABASE")
    with pytest.raises(MlError, match="PEOPLE_DATABASE, which project.toml names"):
        read(tmp_path, "SELECT 1", url_from="PEOPLE_DATABASE")


def test_the_size_is_asked_without_the_rows(database: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "people.sql").write_text("SELECT * FROM people;\n")
    source = SqlSource(
        kind="sql",
        labelled="people.sql",
        checks=[QueryCheck(sql="SELECT 1", equals=1)],
        **database,
    )
    assert sql.size(source, Asked("p", tmp_path, tmp_path, "people.sql")) == "5 rows, 1 checks hold"


def test_a_file_that_is_no_database_is_told(tmp_path: Path) -> None:
    (tmp_path / "people.sqlite").write_text("<html>" * 100)
    with pytest.raises(MlError, match="not a database"):
        read(tmp_path, "SELECT * FROM people", database="people.sqlite")


def test_a_missing_query_is_told(tmp_path: Path) -> None:
    sqlite3.connect(tmp_path / "people.sqlite").close()
    source = SqlSource(kind="sql", labelled="people.sql", database="people.sqlite")
    with pytest.raises(MlError, match=r"people.sql is missing: it must hold the query"):
        list(sql.read(source, Asked("p", tmp_path, tmp_path, "people.sql")))


def test_the_passengers_titled_mrs_are_asked_of_the_titanic_in_sqlite(tmp_path: Path) -> None:
    table = pd.read_csv(find_project("titanic").folder / "data" / "train.csv")
    with sqlite3.connect(tmp_path / "titanic.sqlite") as connection:
        table.to_sql("passengers", connection, index=False)
    query = "SELECT * FROM passengers WHERE Name LIKE :title"
    found = read(tmp_path, query, database="titanic.sqlite", parameters={"title": "%, Mrs.%"})
    assert len(found) == table["Name"].str.contains(", Mrs.", regex=False).sum() == 125
    assert set(found["Sex"]) == {"female"}


def test_the_path_of_a_file_may_hold_any_sign(tmp_path: Path) -> None:
    folder = tmp_path / "50 % #1?"
    folder.mkdir()
    with sqlite3.connect(folder / "people.sqlite") as connection:
        connection.execute("CREATE TABLE people AS SELECT 7 AS id")
    found = read(folder, "SELECT id FROM people", database="people.sqlite")
    assert found["id"].tolist() == [7]
