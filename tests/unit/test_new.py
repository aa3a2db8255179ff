"""A project from a table; a table of which nothing can be made ends in one clear line."""

import json
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from ml.cli import main
from ml.data.contract import examine, load_contract
from ml.project import find_project
from tests.conftest import VARIABLES
from tests.support import ErrorOf

ROWS = 400


@pytest.fixture
def projects(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for variable in VARIABLES:
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("ML_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("ML_PROJECTS", str(tmp_path / "projects"))
    return tmp_path / "projects"


def customers(seed: int = 1, rows: int = ROWS) -> pd.DataFrame:
    random = np.random.default_rng(seed)
    age = random.integers(18, 90, rows)
    joined = pd.Timestamp("2020-01-01") + pd.to_timedelta(random.integers(0, 1500, rows), unit="D")
    plan = random.choice(["basic", "plus", "pro"], rows)
    leaves = (random.normal(size=rows) + (plan == "basic") - age / 60 > -0.4).astype(int)
    return pd.DataFrame(
        {
            "customer_id": range(1, rows + 1),
            "email": [f"person{n}@example.org" for n in range(rows)],
            "age": age,
            "plan": plan,
            "shop": [f"DE-{n:03d}" for n in random.integers(0, 90, rows)],
            "joined": joined.strftime("%Y-%m-%d"),
            "share": random.random(rows).round(3),
            "spent": np.where(random.random(rows) < 0.1, np.nan, random.gamma(2, 50, rows).round(2)),
            "start_price": (low := random.random(rows).round(2) * 10),
            "end_price": low + random.random(rows).round(2),
            "country": "Germany",
            "left": np.where(leaves, "yes", "no"),
            "refund": leaves * 7 + 1,
        }
    )


def new(tmp_path: Path, table: pd.DataFrame | bytes, *more: str, target: str = "left") -> int:
    file = tmp_path / "given.csv"
    if isinstance(table, bytes):
        file.write_bytes(table)
    else:
        table.to_csv(file, index=False)
    return main(["new", "mine", "--from", str(file), "--target", target, *more])


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["parquet", "ndjson"])
def test_lists_and_objects_are_left_out_all_the_way_to_a_build(
    projects: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], kind: str
) -> None:
    rows = customers()
    rows["tags"] = [["a", "b"][: number % 3] for number in range(ROWS)]
    rows["place"] = [{"town": number % 4} for number in range(ROWS)]
    file = tmp_path / f"given.{kind}"
    if kind == "parquet":
        rows.assign(photo=b"0").to_parquet(file)
    else:
        rows.to_json(file, orient="records", lines=True)
    assert main(["new", "mine", "--from", str(file), "--target", "left"]) == 0
    said = capsys.readouterr().out
    assert said.count("holds lists or objects") == 2 and ("holds bytes" in said) == (kind == "parquet")
    assert main(["data", "--project", "mine", "--build", str(tmp_path / "build")]) == 0
    assert "tags" not in pd.read_parquet(tmp_path / "build" / "mine" / "data" / "train.parquet")


@pytest.mark.slow
def test_true_and_false_are_the_texts_that_the_table_has(projects: Path, tmp_path: Path) -> None:
    words = {"paid": ["true", "false"], "known": ["TRUE", "FALSE"], "trusted": ["True", "False"]}
    random = np.random.default_rng(0)
    rows = customers().assign(**{name: random.choice([*pair, ""], ROWS) for name, pair in words.items()})
    assert new(tmp_path, rows) == 0
    contract = load_contract(find_project("mine"))
    for name, pair in words.items():
        assert contract.columns[name].nullable
        assert contract.columns[name].checks[0].statistics["allowed_values"] == sorted(pair)


def test_a_project_is_written_and_what_was_guessed_is_told(
    projects: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert new(tmp_path, customers()) == 0
    project = find_project("mine")
    said = capsys.readouterr().out
    assert (project.task, project.positive, project.id) == ("classification", "yes", "customer_id")
    assert project.split.kind == "time" and project.split.by == "joined"
    made = {"joined_month", "joined_weekday"}
    assert set(project.features.numeric) == {"age", "share", "spent", "start_price", "end_price", *made}
    assert project.features.categorical == ["plan", "shop"]
    for told in ("email", "personal: mail", "country", "constant", "gives the target away"):
        assert told in said, told
    contract = load_contract(project)
    assert "email" not in contract.columns and "refund" not in contract.columns
    text = (project.folder / "contract.py").read_text()
    assert 'plan: str = pa.Field(nullable=True, isin=["basic", "plus", "pro"])' in text
    assert r'str_matches=r"^DE-\d{3}$"' in text and "start_price <= end_price" in text
    assert "share: float = pa.Field(nullable=True, ge=0, le=1)" in text
    assert json.loads((project.folder / "grid.json").read_text())
    assert not [one for one in projects.iterdir() if one.name != "mine"], "nothing else is left there"


@pytest.mark.slow
def test_the_contract_takes_other_rows_and_refuses_broken_ones(projects: Path, tmp_path: Path) -> None:
    assert new(tmp_path, customers()) == 0
    contract = load_contract(find_project("mine"))
    for seed in range(2, 8):
        assert examine(customers(seed), contract)[1] == []
    fresh = customers(9)
    broken = {
        "age": fresh["age"] * 100,
        "share": fresh["share"] + 1,
        "plan": fresh["plan"].str.upper(),
        "shop": fresh["shop"].str.replace("-", ""),
        "joined": "2020/01/01",
        "start_price": fresh["end_price"] + 1,
        "customer_id": 1,
    }
    for name, values in broken.items():
        assert examine(fresh.assign(**{name: values}), contract)[1], name
    assert examine(fresh.drop(columns="age"), contract)[1]


@pytest.mark.slow
def test_a_table_without_an_id_has_its_rows_numbered(projects: Path, tmp_path: Path) -> None:
    table = customers().drop(columns=["customer_id", "joined"])
    assert new(tmp_path, table) == 0
    project = find_project("mine")
    assert project.id == "row" and project.source.number_rows == "row"  # type: ignore[union-attr]
    assert project.split.kind == "hash"


@pytest.mark.slow
def test_names_that_python_does_not_take_are_columns_all_the_same(projects: Path, tmp_path: Path) -> None:
    names = {"age": "класс", "plan": "class", "share": "🙂", "spent": "amount in €", "left": "predictions"}
    assert new(tmp_path, customers().rename(columns=names), target="predictions") == 0
    project = find_project("mine")
    assert {"класс", "🙂", "amount in €"} <= set(project.features.numeric)
    assert "class" in project.features.categorical
    table = pd.read_csv(project.folder / "data" / "given.csv")
    assert examine(table, load_contract(project))[1] == []


@pytest.mark.slow
def test_how_the_file_is_written_is_declared_so_that_a_build_never_guesses(
    projects: Path, tmp_path: Path
) -> None:
    content = customers().to_csv(index=False, sep=";", decimal=",").replace("basic", "günstig")
    assert new(tmp_path, content.encode("cp1252")) == 0
    declared = tomllib.loads((projects / "mine" / "project.toml").read_text())
    assert declared["source"]["format"] == {"separator": ";", "encoding": "cp1252", "decimal": ","}


def edited(**columns: Any) -> pd.DataFrame:
    return customers().assign(**columns)


def text(old: str = "", new: str = "") -> bytes:
    return customers().to_csv(index=False).replace(old, new, 1).encode()


def pasted_together() -> bytes:
    lines = text().splitlines()
    return b"\n".join([*lines[:9], lines[0], *lines[9:]])


def many_columns() -> pd.DataFrame:
    more = pd.DataFrame(1, index=range(ROWS), columns=[f"x{n}" for n in range(5000)])
    return pd.concat([customers(), more], axis="columns")


DATES = ("2024-01-31", "31.01.2024", "01/31/2024", "2024/01/31")
BAD: dict[str, tuple[Callable[[], pd.DataFrame | bytes], str]] = {
    "empty": (lambda: b"", "is empty"),
    "a web page": (lambda: b"<!DOCTYPE html><html><body>404</body></html>", "is a web page, not a table"),
    "one row": (lambda: customers().head(1), "the table has 1 row: 30 are the least"),
    "one column": (lambda: customers()[["left"]], "the table has one column, 'left'"),
    "one class": (lambda: edited(left="yes"), "has one class only (yes)"),
    "no value": (lambda: edited(**dict.fromkeys(customers(), None)), "has no value in any row"),
    "5,000 columns": (many_columns, "has 5013 columns, and 1000 are the most"),
    "a rare class": (
        lambda: edited(left=lambda t: t["left"].mask(t.index < 3, "maybe")),
        "class 'maybe' of 'left' has 3 rows, and 6 are the least",
    ),
    "mixed types": (
        lambda: edited(age=lambda t: t["age"].astype(object).mask(t.index == 7, "old")),
        "mixes numbers and words: 1 of 400 values are none, 'old' in 1 row, the first in row 8",
    ),
    "no target": (
        lambda: edited(left=lambda t: t["left"].mask(t.index < 12)),
        "is missing in 12 of 400 rows",
    ),
    "dates": (
        lambda: edited(joined=[DATES[n % 4] for n in range(ROWS)]),
        "holds dates written in 4 ways (2024-01-31, ",
    ),
    "a header within": (pasted_together, "the header stands there again in line 10"),
    "one name twice": (lambda: text("age,plan", "age,age"), "two columns are called 'age'"),
    "a huge cell": (lambda: text("Germany", '"' + "x" * 11_000_000), "more than 10,000,000 bytes"),
    "no header": (lambda: b"1,2,3\n4,5,6\n7,8,9\n", "its first line holds numbers only"),
    "a header of words that is none": (
        lambda: "".join(
            f"{20 + n % 50}, {'gov' if n % 3 else 'own'}, {n}, yes\n" for n in range(99)
        ).encode(),
        "its first line is a row like the others (3 of its 4 values stand again in the same column)",
    ),
    "a column called as an answer is": (
        lambda: customers().rename(columns={"age": "probability_yes"}),
        "column 'probability_yes' is called as an answer of the model is: rename it in the source",
    ),
    "cut off": (lambda: text()[:9000], "cut off"),
}


SLOW = {"5,000 columns"}


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.slow] if name in SLOW else []) for name in BAD]
)
def test_a_table_of_which_nothing_can_be_made_ends_in_one_line(
    projects: Path, tmp_path: Path, error_of: ErrorOf, name: str
) -> None:
    make, told = BAD[name]
    assert new(tmp_path, make()) == 1
    assert told in error_of()
    assert not projects.exists() or not list(projects.iterdir()), "nothing half-written is left"


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["titanic", "--from", "x.csv", "--target", "y"], "a project 'titanic' is there already"),
        (["../x", "--from", "x.csv", "--target", "y"], "is no name for a project"),
        (["mine", "--from", "x.csv", "--target", "y"], "x.csv is missing"),
        (["mine", "--from", "sqlite:x.sqlite:t", "--target", "y"], "x.sqlite is missing"),
        (["mine", "--from", "sql:X:y", "--target", "y"], "'y' is neither a file with a query"),
    ],
)
def test_a_wrong_command_line_is_told(
    projects: Path, error_of: ErrorOf, arguments: list[str], told: str
) -> None:
    assert main(["new", *arguments]) == 2
    assert told in error_of()


def test_a_target_that_is_not_there_is_told_with_the_columns(
    projects: Path, tmp_path: Path, error_of: ErrorOf
) -> None:
    assert new(tmp_path, customers(), target="Left") == 2
    assert "no column 'Left': did you mean 'left'? (the columns are customer_id, email" in error_of()


@pytest.mark.slow
def test_thousands_separators_are_declared(projects: Path, tmp_path: Path) -> None:
    table = customers().assign(spent=[f"{1000 + n * 7:,}" for n in range(ROWS)])
    assert new(tmp_path, table) == 0
    project = find_project("mine")
    assert project.source.format.thousands == ","  # type: ignore[union-attr]
    assert "spent" in project.features.numeric


@pytest.mark.slow
def test_with_ask_a_person_decides_what_is_doubtful(
    projects: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    answers = iter(["nonsense", "out", ""])
    monkeypatch.setattr("sys.stdin.isatty", lambda: True)
    monkeypatch.setattr("builtins.input", lambda *_: next(answers))
    names = [f"Person {n}" for n in range(ROWS)]
    table = customers().rename(columns={"customer_id": "who"}).assign(who=names)
    assert new(tmp_path, table, "--ask") == 0
    said = capsys.readouterr().out
    assert "'nonsense' is none of them" in said and "column 'joined'" in said
    project = find_project("mine")
    assert project.id == "row", "what named the rows is not taken, so they are numbered"


def test_columns_that_tell_nothing_of_the_target_are_told_and_so_is_the_floor(
    projects: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    noise = np.random.default_rng(3).normal(size=ROWS)
    table = customers()[["customer_id", "age", "share"]].assign(sales=noise.round(3))
    assert new(tmp_path, table, target="sales") == 0
    assert "the columns may tell nothing of the target" in capsys.readouterr().out
    assert (
        "which may be no more than a mere guess: raise it" in (projects / "mine" / "project.toml").read_text()
    )


@pytest.mark.slow
def test_a_few_huge_rows_do_not_decide_which_model_is_the_better(
    projects: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    random = np.random.default_rng(2)
    size, table = np.exp(random.normal(0, 3, ROWS)), customers()[["customer_id", "plan"]]
    table = table.assign(size=size.round(3), revenue=(size * random.gamma(2, 5, ROWS)).round(2))
    assert new(tmp_path, table, target="revenue") == 0
    assert "r2 hangs on few large rows" in capsys.readouterr().out
    project = find_project("mine")
    assert project.training.metric == "d2_absolute_error_score"
    assert list(project.gates.floors) == ["d2_absolute_error_score"]
