"""A rule a column: what is dropped, hashed or made coarse is so in tables, models, requests and reports."""

from pathlib import Path

import numpy as np
import pandas as pd
import pandera.pandas as pa
import pytest

from ml import locations
from ml.data.contract import load_contract
from ml.data.formats import read_json, read_rows
from ml.data.personal_rules import obey, obey_in_request, obeyed_contract, rule_of
from ml.data.request import row_reader
from ml.errors import MlError
from ml.project import Project, find_project
from ml.training.bundle import load_bundle
from tests.conftest import Site
from tests.support import ErrorOf

RULES = 'personal = { Name = "hide", Ticket = "hash", Cabin = "drop", Fare = 4, PassengerId = "hash" }'


@pytest.fixture(name="ruled")
def _ruled(site: Site) -> Site:
    site.edit("project.toml", 'personal = ["Name", "Ticket", "Cabin"]', RULES)
    site.edit("project.toml", "Cabin = 0.9, ", "")
    site.edit("project.toml", "Fare = 0.1 }", "Fare = 0.5 }")  # many pay alike, to four pounds
    key = locations.personal_key()  # by which the rows are divided, too
    key.parent.mkdir(parents=True, exist_ok=True)
    key.write_text("1" * 64, encoding="ascii")
    return site


def with_rules(**rules: str | float) -> Project:
    return find_project("titanic").model_copy(update={"personal_rules": rules, "id": "id"})


@pytest.mark.parametrize(
    ("rule", "value", "left"),
    [
        ("year", "1980-05-02", 1980),
        ("year", "1980-05-02T10:00:00+02:00", 1980),
        ("year", pd.Timestamp("1980-05-02"), 1980),
        ("year", 1980, 1980),
        ("year", "2 May 1980", "2 May 1980"),
        (10.0, 37, 30),
        (10.0, 30, 30),
        (10.0, -3, -10),
        (0.5, 1.7, 1.5),
        (1000.0, 1e300, 1e300),
        (10.0, "old", "old"),
        (10.0, float("inf"), float("inf")),
    ],
)
def test_what_a_rule_leaves_stays_when_it_goes_through_again(
    rule: str | float, value: object, left: object
) -> None:
    once = rule_of(rule)(value)
    assert once == left and type(once) is type(left) and rule_of(rule)(once) == left


def test_hashes_are_those_of_one_key_which_nobody_else_may_read(
    site: Site, capsys: pytest.CaptureFixture[str]
) -> None:
    first = rule_of("hash")("ann@example.org")
    assert first == rule_of("hash")("ann@example.org") == rule_of("hash")(first)
    assert first != rule_of("hash")("bob@example.org") and len(first) == 32
    key = next(Path(site.root).rglob("personal.key"))
    assert key.stat().st_mode & 0o077 == 0
    assert capsys.readouterr().err.count("made the key of hashed personal columns") == 1
    key.unlink()
    assert rule_of("hash")("ann@example.org") != first
    assert "by another the same value is another text" in capsys.readouterr().err, "never without a word"


def test_a_named_key_that_is_missing_is_an_error(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ML_PERSONAL_KEY", str(site.root / "none.key"))
    with pytest.raises(MlError, match="none.key is missing: ML_PERSONAL_KEY names it"):
        rule_of("hash")


def test_a_table_keeps_its_gaps_and_what_cannot_be_read(site: Site) -> None:
    table = pd.DataFrame(
        {
            "id": [1, 2, 3],
            "born": ["1980-01-01", None, "1999-12-31"],
            "pay": [1234.0, np.nan, 99.0],
            "mail": ["a", None, "a"],
        }
    )
    left = obey(table, with_rules(born="year", pay=500.0, mail="hash"))
    assert left["born"].tolist()[::2] == [1980, 1999] and np.isnan(left["born"][1])
    assert left["pay"].tolist()[::2] == [1000.0, 0.0]
    assert left["mail"][0] == left["mail"][2] != "a" and pd.isna(left["mail"][1])
    unreadable = table.assign(born=["in May", None, "1999-01-01"])
    assert obey(unreadable, with_rules(born="year"))["born"].equals(unreadable["born"])


def test_the_contract_says_what_the_rules_leave() -> None:
    contract = pa.DataFrameSchema(
        {
            "born": pa.Column(str, pa.Check.str_matches(r"^\d{4}-")),
            "age": pa.Column(int, [pa.Check.ge(18), pa.Check.le(99)], unique=True),
            "mail": pa.Column(str, pa.Check.str_matches("@"), unique=True),
            "name": pa.Column(str),
        }
    )
    left = obeyed_contract(contract, with_rules(born="year", age=10.0, mail="hash", name="drop"))
    assert list(left.columns) == ["born", "age", "mail"]
    rows = pd.DataFrame({"born": [1980, 1999], "age": [10, 90], "mail": ["0" * 32, "1" * 32]})
    left.validate(rows)
    with pytest.raises(pa.errors.SchemaError):
        left.validate(rows.assign(born=99))
    for rules, told in (({"mail": 5.0}, "holds no numbers"), ({"nobody": "drop"}, "no column 'nobody'")):
        with pytest.raises(MlError, match=told):
            obeyed_contract(contract, with_rules(**rules))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("setting", "told"),
    [
        ('personal = { Survived = "year" }', "the target 'Survived' must stay as it is"),
        ('personal = { Sex = "hash" }', "'Sex' is a feature, and of a hash a model learns nothing"),
        ('personal = { PassengerId = "drop" }', "has no column 'PassengerId', the id of project.toml"),
        ('personal = { Age = "drop" }', "no column 'Age' in contract.py"),
        ('personal = { Age = "month" }', "personal_rules.Age"),
        ("personal = { Age = 0 }", "personal_rules.Age"),
    ],
)
def test_a_rule_that_means_nothing_is_told(site: Site, error_of: ErrorOf, setting: str, told: str) -> None:
    site.edit("project.toml", 'personal = ["Name", "Ticket", "Cabin"]', setting)
    assert site.ml("data") == 1
    assert told in error_of().replace("\n", " ")


def test_of_a_request_only_what_the_rules_leave_is_read(ruled: Site) -> None:
    project = find_project("small")
    passenger = {"PassengerId": 7, "Ticket": "A/5 21171", "Cabin": "C85", "Fare": 7.5, "Sex": "male"}
    left = obey_in_request(passenger, project)
    assert left == {"PassengerId": "7", "Fare": 4.0, "Sex": "male"}
    assert obey_in_request(left, project) == left


@pytest.mark.slow
def test_no_build_and_no_answer_knows_more_than_the_rules_leave(ruled: Site) -> None:
    raw = pd.read_csv(ruled.project / "data" / "train.csv")
    assert ruled.ml("data") == 0 and ruled.ml("train") == 0
    assert ruled.ml("quality") == 0
    train = pd.read_parquet(ruled.build / "data" / "train.parquet")
    assert "Cabin" not in train and train["Ticket"].str.fullmatch("[0-9a-f]{32}").all()
    assert train["PassengerId"].is_unique and set(train["Fare"].dropna() % 4) == {0}
    written = b"".join(file.read_bytes() for file in ruled.build.rglob("*") if file.is_file())
    for told in (*raw["Ticket"].unique()[:200], *raw["Cabin"].dropna().unique()):
        # Of a few digits alone some stand in a signature or in a hash by chance.
        assert len(told) < 5 or told.isdigit() or told.encode() not in written
    bundle = load_bundle(ruled.build / "model")
    reader = row_reader(bundle.request_contract, bundle.project)
    rows = raw.drop(columns="Survived").head(20)
    as_json = read_json(rows.head(1).to_json(orient="records").encode(), reader)
    assert not {"Cabin"} & set(as_json[0])
    as_table = read_rows(rows.to_csv(index=False).encode(), "csv", reader, "rows.csv")
    answers = bundle.predict(as_table)
    assert answers["PassengerId"].tolist() == rows["PassengerId"].astype(str).tolist()
    coarse = obey(rows, find_project("small"))
    again = bundle.predict(read_rows(coarse.to_csv(index=False).encode(), "csv", reader, "rows.csv"))
    assert again["prediction"].equals(answers["prediction"])
    assert set(load_contract(bundle.project).columns) == set(train)
