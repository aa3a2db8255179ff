"""The tables of a project: joined, appended, agreed on, with a snapshot when the source is away."""

import sqlite3
from pathlib import Path

import pandas as pd
import pytest

from ml.data import sources
from ml.errors import MlError
from ml.project import find_project
from tests.conftest import Site
from tests.support import ErrorOf

SOURCE = '[source]\nkind = "csv"\nlabelled = "data/train.csv"\nunlabelled = "data/test.csv"\n\n'
FILES = 'kind = "files"\nlabelled = "data/train.csv"\n'


def declare(site: Site, text: str) -> None:
    site.edit("project.toml", SOURCE, f"[source]\n{text}\n")


def fetched(site: Site) -> pd.DataFrame:
    assert site.project.exists()
    return sources.fetch(find_project("small"), sources.whole).labelled


@pytest.fixture
def ports(site: Site) -> Path:
    """Take the fare out of the first table, and put it into another one by port and class."""
    table = pd.read_csv(site.project / "data" / "train.csv")
    fares = table.groupby(["Embarked", "Pclass"], as_index=False)["Fare"].median()
    fares.to_csv(site.project / "data" / "fares.csv", index=False)
    table.drop(columns="Fare").to_csv(site.project / "data" / "train.csv", index=False)
    return site.project / "data" / "fares.csv"


JOIN = """
[[source.join]]
from = {kind = "files", table = "data/fares.csv"}
on = ["Embarked", "Pclass"]
"""


def test_columns_of_another_table_are_joined_by_declared_keys(site: Site, ports: Path) -> None:
    declare(site, FILES + JOIN + "max_without_partner = 0.01\n")
    table = fetched(site)
    assert len(table) == 891 and table["Fare"].isna().sum() == 2, "of two the port is not known"


CODES = """
[[source.join]]
from = {kind = "files", table = "data/halls.%s"}
on = ["hall"]
max_without_partner = 1.0
"""


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_a_key_that_the_contract_does_not_know_is_no_number(site: Site, kind: str) -> None:
    """012 is another hall than 12, and 1E2 another than 100, whatever the other table holds."""
    file = site.project / "data" / "train.csv"
    table = pd.read_csv(file, dtype=str).assign(hall=["012", "12", "1E2"] * 297).drop(columns="Fare")
    table.to_csv(file, index=False)
    halls = pd.DataFrame({"hall": [12, 100], "Fare": [11.0, 77.0]})
    if kind == "csv":
        halls.to_csv(site.project / "data" / "halls.csv", index=False)
    else:
        halls.to_parquet(site.project / "data" / "halls.parquet")
    declare(site, FILES + CODES % kind)
    found = fetched(site).groupby("hall")["Fare"].agg(["min", "max", "count"])
    assert found["count"].to_dict() == {"012": 0, "12": 297, "1E2": 0}
    assert found.loc["12", ["min", "max"]].tolist() == [11.0, 11.0]


def test_more_rows_without_a_partner_than_agreed_stop_the_stage(
    site: Site, ports: Path, error_of: ErrorOf
) -> None:
    declare(site, FILES + JOIN)
    assert site.ml("data") == 1
    told = "files: data/fares.csv: 0.22% of the rows have no partner in it, and max_without_partner allows"
    assert told in (error := error_of()) and "the first has Embarked, Pclass = nan, 1" in error


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda t: pd.concat([t, t.head(1)]), "the key (C, 1) of Embarked, Pclass stands there twice"),
        (lambda t: t.rename(columns={"Pclass": "Class"}), "has no column 'Pclass', by which it is joined"),
        (lambda t: t.assign(Age=1), "the column 'Age' is in both tables"),
        (lambda t: t.assign(Pclass=t["Pclass"].map(str) + "x"), "the keys cannot be compared"),
    ],
)
def test_a_table_that_cannot_be_joined_is_told(
    site: Site, ports: Path, error_of: ErrorOf, change: object, told: str
) -> None:
    assert callable(change)
    change(pd.read_csv(ports)).to_csv(ports, index=False)
    declare(site, FILES + JOIN + "max_without_partner = 1.0\n")
    assert site.ml("data") == 1
    assert told in error_of()


def test_other_rows_are_appended_and_none_twice(site: Site, capsys: pytest.CaptureFixture[str]) -> None:
    file = site.project / "data" / "train.csv"
    table = pd.read_csv(file)
    table.head(700).to_csv(file, index=False)
    table.tail(200).drop(columns="Cabin").to_csv(site.project / "data" / "later.csv", index=False)
    declare(site, FILES + '[[source.append]]\nkind = "files"\ntable = "data/later.csv"\n')
    found = fetched(site)
    assert found["PassengerId"].tolist() == table["PassengerId"].tolist()
    assert found["Cabin"].iloc[700:].isna().all()
    said = capsys.readouterr().err
    assert "files: data/later.csv: 191 rows appended, 9 left out whose PassengerId is there already" in said
    assert "without Cabin" in said
    table.assign(Deck=1).to_csv(site.project / "data" / "later.csv", index=False)
    with pytest.raises(MlError, match="its column 'Deck' is not in the table to which it is appended"):
        fetched(site)


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ("rows = {labelled = 890}", "labelled table: 891 rows, and project.toml agrees on 890"),
        ("min_rows = {labelled = 900}", "891 rows, and project.toml agrees on 900 at least"),
        ("max_seconds = 1e-9", "and then the time was over (max_seconds)"),
        ('sha256 = {labelled = "' + "0" * 64 + '"}', "train.csv was changed: its sha256 is"),
    ],
)
def test_what_was_agreed_on_must_hold(site: Site, error_of: ErrorOf, settings: str, told: str) -> None:
    declare(site, FILES + settings)
    assert site.ml("data") == 1
    assert told in error_of()


def test_an_old_delivery_stops_the_stage(site: Site, error_of: ErrorOf) -> None:
    import os

    declare(site, FILES + "max_age_days = 2")
    os.utime(site.project / "data" / "train.csv", (1e9, 1e9))
    assert site.ml("data") == 1
    assert "max_age_days allows 2: did the source deliver?" in error_of()


def test_a_snapshot_stands_in_for_a_database_that_is_away(
    site: Site, capsys: pytest.CaptureFixture[str], error_of: ErrorOf
) -> None:
    (site.project / "rows.sql").write_text("SELECT * FROM passengers")
    source = 'kind = "sql"\nlabelled = "rows.sql"\ndatabase = "data/ship.sqlite"\n'
    declare(site, source + 'snapshot = {kind = "files", table = "data/train.csv"}\n')
    assert site.ml("data") == 0
    said = capsys.readouterr().err
    assert "sql: rows.sql of data/ship.sqlite cannot be reached" in said
    assert "using the committed snapshot" in said
    with sqlite3.connect(site.project / "data" / "ship.sqlite") as connection:
        pd.read_csv(site.project / "data" / "train.csv").to_sql("passengers", connection, index=False)
    assert sources.fetch(find_project("small"), sources.whole).origin == "sql: rows.sql of data/ship.sqlite"
    with sqlite3.connect(site.project / "data" / "ship.sqlite") as connection:
        connection.execute("DROP TABLE passengers")
    assert site.ml("data") == 1, "a database that is there and wrong is no case for a snapshot"
    assert "no such table: passengers" in error_of()


def test_every_table_is_asked_and_nothing_is_built(
    site: Site, ports: Path, capsys: pytest.CaptureFixture[str], error_of: ErrorOf
) -> None:
    declare(site, FILES + 'unlabelled = "data/test.csv"\nmax_age_days = 100000\n' + JOIN)
    assert site.ml("data", "--check") == 0
    said = capsys.readouterr().out
    assert said.count("891 rows") == 1 and said.count("418 rows") == 1 and "fares.csv" in said
    ports.unlink()
    assert site.ml("data", "--check") == 1
    assert "fares.csv is missing" in error_of()
    assert not site.build.exists()
