"""The contract: one class that tables and requests obey."""

import json

import numpy as np
import pandas as pd
import pandera.pandas as pa
import pytest
from pydantic import TypeAdapter, ValidationError

from ml.data.contract import check, examine, load_contract
from ml.data.request import expressed, label_reader, request_contract, request_model
from ml.data.rows import records, rows_to_table, typed_table
from ml.errors import MlError
from ml.project import find_project
from tests.conftest import Site
from tests.support import PASSENGER


@pytest.fixture
def contract() -> pa.DataFrameSchema:
    return load_contract(find_project("titanic")).remove_columns(["Survived"])


@pytest.fixture
def asked() -> pa.DataFrameSchema:
    return request_contract(load_contract(find_project("titanic")), "Survived")


@pytest.fixture
def table() -> pd.DataFrame:
    rows = [PASSENGER | {"PassengerId": number} for number in (1, 2, 3)]
    return pd.DataFrame(rows).astype({"Cabin": "str"})


def test_a_good_table_passes_in_the_order_of_the_contract(
    table: pd.DataFrame, contract: pa.DataFrameSchema
) -> None:
    checked = check(table[reversed(table.columns)], contract, "table")
    assert list(checked) == list(contract.columns)


def test_whole_numbers_are_taken_where_fractions_are_allowed(
    table: pd.DataFrame, contract: pa.DataFrameSchema
) -> None:
    table["Age"] = [1, 2, 3]
    assert check(table, contract, "table")["Age"].dtype == np.float64


@pytest.mark.parametrize("kind", ["object", "boolean", "bool"])
def test_true_and_false_are_one_and_zero_where_numbers_are_asked_for(kind: str) -> None:
    contract = pa.DataFrameSchema({"f": pa.Column(float, nullable=True), "i": pa.Column(int)})
    gap = False if kind == "bool" else None
    table = pd.DataFrame({"f": [True, False, gap], "i": [True, False, True]}).astype(kind)
    checked = check(table, contract, "table")
    assert checked["i"].tolist() == [1, 0, 1] and checked["i"].dtype == np.int64
    assert checked["f"].tolist()[:2] == [1.0, 0.0] and checked["f"].dtype == np.float64
    assert checked["f"].isna().sum() == (gap is None)
    with pytest.raises(MlError, match="'i' has missing values: 1 values, the first in row 2"):
        check(table.assign(i=pd.Series([True, None, False], dtype=object)), contract, "table")


@pytest.mark.parametrize(
    ("column", "values", "problem"),
    [
        ("Pclass", [1.5, 2.0, 3.0], "'Pclass' holds float64 values, the contract says int64"),
        ("Age", ["old", "1", "2"], "says float64: 1 values, the first in row 1: 'old'"),
        ("Age", [1.0, np.inf, 2.0], "'Age' has infinite values"),
        ("Age", [1.0, 1e300, 2.0], "'Age', less_than_or_equal_to(120): 1 values, the first in row 2"),
        ("Sex", ["male", None, None], "'Sex' has missing values: 2 values, the first in row 2, row 3"),
        ("PassengerId", [1, 1, 2], "'PassengerId', values must be unique: 2 values, the first in row 1"),
        ("PassengerId", [10**30, 1, 2], "'PassengerId' holds object values, the contract says int64"),
        ("Name", ["Kelly", "Kelly, Mr. J", "Kelly, Mr. K"], "'Name', str_matches"),
    ],
)
def test_a_deviation_is_named(
    table: pd.DataFrame, contract: pa.DataFrameSchema, column: str, values: list[object], problem: str
) -> None:
    table[column] = values
    with pytest.raises(MlError) as caught:
        check(table, contract, "table")
    assert problem in str(caught.value)


def test_missing_unknown_and_absent_rows_are_named(table: pd.DataFrame, contract: pa.DataFrameSchema) -> None:
    with pytest.raises(MlError, match="column 'Sex' is missing"):
        check(table.drop(columns="Sex"), contract, "table")
    contract.strict = True
    with pytest.raises(MlError, match="column 'Sexe' is not in the contract"):
        check(table.assign(Sexe="male"), contract, "table")
    with pytest.raises(MlError, match="no rows"):
        check(table.head(0), contract, "table")


def test_a_request_becomes_the_table_it_came_from(asked: pa.DataFrameSchema) -> None:
    row = request_model(asked)
    parsed = TypeAdapter(list[row]).validate_json(json.dumps([PASSENGER]))  # type: ignore[valid-type]
    assert records(rows_to_table([one.model_dump(by_alias=True) for one in parsed], asked)) == [PASSENGER]


def test_the_same_passenger_may_be_asked_for_twice(asked: pa.DataFrameSchema) -> None:
    row = request_model(asked).model_validate(PASSENGER).model_dump(by_alias=True)
    assert len(rows_to_table([row, row], asked)) == 2


def test_nullable_columns_may_be_left_out_of_a_request(asked: pa.DataFrameSchema) -> None:
    given = {
        key: value for key, value in PASSENGER.items() if key not in ("Age", "Fare", "Cabin", "Embarked")
    }
    row = request_model(asked).model_validate(given).model_dump(by_alias=True)
    table = rows_to_table([row], asked)
    assert table["Age"].isna().all()


@pytest.mark.parametrize(
    "change",
    [
        {"Sex": "unknown"},
        {"Pclass": "3"},
        {"Pclass": True},
        {"Pclass": 3.5},
        {"Age": "22"},
        {"Age": -1},
        {"Age": float("nan")},
        {"PassengerId": 10**30},
        {"PassengerId": 0},
        {"Name": "Kelly"},
        {"Name": None},
        {"Name": "Kelly, Mr. " + "x" * 300},
        {"Extra": 1},
    ],
)
def test_a_request_that_is_no_passenger_is_refused(
    asked: pa.DataFrameSchema, change: dict[str, object]
) -> None:
    with pytest.raises(ValidationError):
        request_model(asked).model_validate(PASSENGER | change)


def test_what_pydantic_cannot_say_is_left_to_the_contract(asked: pa.DataFrameSchema) -> None:
    assert expressed(asked)
    stricter = asked.update_column("Ticket", checks=pa.Check.str_startswith("PC"))
    assert not expressed(stricter), "pydantic cannot say how a text begins"
    row = request_model(stricter).model_validate(PASSENGER).model_dump(by_alias=True)
    with pytest.raises(MlError, match="'Ticket', str_startswith"):
        rows_to_table([row], stricter)


@pytest.mark.parametrize(
    ("code", "problem"),
    [("", "must define one pandera.DataFrameModel, found 0"), ("import nothing_here", "ModuleNotFoundError")],
)
def test_a_file_without_a_contract_is_named(site: Site, code: str, problem: str) -> None:
    (site.project / "contract.py").write_text(code)
    with pytest.raises(MlError, match=problem):
        load_contract(find_project("small"))


@pytest.mark.parametrize(
    "kind",
    ["pd.Timestamp", "pd.Timedelta", "datetime.date", "datetime.datetime", "pa.typing.Series[pd.Timestamp]"],
)
def test_a_column_of_times_is_to_be_declared_text(site: Site, kind: str) -> None:
    site.edit(
        "contract.py",
        "import pandera.pandas as pa",
        "import datetime\n\nimport pandas as pd\nimport pandera.pandas as pa\nimport pandera.typing",
    )
    site.edit(
        "contract.py",
        "    Ticket: str = pa.Field(",
        f"    When: {kind} = pa.Field(nullable=True)\n    Ticket: str = pa.Field(",
    )
    with pytest.raises(MlError, match=r"contract.py: column 'When' .* declare it str.*ISO 8601"):
        load_contract(find_project("small"))


@pytest.mark.parametrize("end", ["sys.exit(0)", "raise SystemExit"])
def test_a_check_that_ends_the_program_fails(table: pd.DataFrame, end: str) -> None:
    def leave(_: object) -> bool:
        exec(f"import sys\n{end}")
        return True

    contract = pa.DataFrameSchema({"Pclass": pa.Column(int, pa.Check(leave))})
    with pytest.raises(MlError, match="a check of the contract failed with SystemExit"):
        check(table[["Pclass"]], contract, "table")


@pytest.mark.parametrize("answer", [None, 5, "yes"])
def test_a_check_that_answers_neither_true_nor_false_is_named(table: pd.DataFrame, answer: object) -> None:
    wrong = pa.Check(lambda _: answer, name="boo")
    must = "must return true or false for each row"
    of_column = pa.DataFrameSchema({"Pclass": pa.Column(int, wrong)})
    _, (violation,) = examine(table[["Pclass"]], of_column)
    assert str(violation) == f"column 'Pclass': the check 'boo' of the contract {must}"
    of_rows = pa.DataFrameSchema({"Pclass": pa.Column(int)}, checks=wrong)
    _, (violation,) = examine(table[["Pclass"]], of_rows)
    assert str(violation) == f"the check 'boo' of the contract {must}"


def test_a_check_that_fails_accuses_no_column(table: pd.DataFrame) -> None:
    contract = pa.DataFrameSchema(
        {"Pclass": pa.Column(int)}, checks=pa.Check(lambda rows: rows["Klass"] > 1, name="boo")
    )
    _, (violation,) = examine(table[["Pclass"]], contract)
    assert str(violation) == "the check 'boo' of the contract failed with KeyError(\"Klass\")"
    _, (violation,) = examine(table[["Pclass"]], contract, ["Name"])
    assert str(violation) == "the check 'boo' of the contract failed with ***"


def test_a_missing_contract_is_named(site: Site) -> None:
    (site.project / "contract.py").unlink()
    with pytest.raises(MlError, match=r"contract.py is missing"):
        load_contract(find_project("small"))


def test_columns_may_have_any_name() -> None:
    contract = pa.DataFrameSchema(
        {"sepal length (cm)": pa.Column(float), "_id": pa.Column("int8"), "copy": pa.Column(str)}
    )
    given = {"sepal length (cm)": 5.1, "_id": 7, "copy": "x"}
    row = request_model(contract)
    dumped = row.model_validate(given).model_dump(by_alias=True)
    assert records(rows_to_table([dumped], contract)) == [given]
    with pytest.raises(ValidationError, match="_id"):
        row.model_validate(given | {"_id": 1000})


def test_columns_that_contradict_each_other_are_one_violation() -> None:
    project = find_project("temperature")
    days = pd.read_csv(project.folder / "data" / "days.csv").head(5)
    days.loc[[1, 3], "YesterdayLow"] = 55.0
    with pytest.raises(MlError) as caught:
        check(days, load_contract(project), "table")
    told = "contradict each other: YesterdayLow <= YesterdayHigh: 2 values, the first in row 2, row 4"
    assert str(caught.value).endswith(told)


def test_columns_more_are_left_out_if_the_contract_filters(
    table: pd.DataFrame, contract: pa.DataFrameSchema
) -> None:
    assert "Deck" not in check(table.assign(Deck="A"), contract, "table")


def test_personal_values_are_not_told(table: pd.DataFrame, contract: pa.DataFrameSchema) -> None:
    table["Name"] = ["Kelly", "Kelly, Mr. J", "Smith"]
    _, (violation,) = examine(table, contract, ["Name"])
    assert str(violation).endswith("2 values, the first in row 1: ***, row 3: ***")


def test_rows_as_in_a_request_may_leave_out_what_may_be_missing() -> None:
    contract = request_contract(load_contract(find_project("titanic")), "Survived")
    table = typed_table([{key: value for key, value in PASSENGER.items() if key != "Cabin"}], contract)
    assert table["Cabin"].isna().all() and table["Sex"].tolist() == [PASSENGER["Sex"]]
    with pytest.raises(MlError, match="lacks the column 'Sex'"):
        typed_table([{key: value for key, value in PASSENGER.items() if key != "Sex"}], contract)


@pytest.mark.parametrize("texts", [["False", "True"], ["true", "false"]])
def test_true_and_false_in_json_are_the_texts_of_a_column_that_has_them(texts: list[str]) -> None:
    told = pa.DataFrameSchema({"night": pa.Column(str, pa.Check.isin(texts))})
    model, read_label = request_model(told), label_reader(told, "night")
    for text in texts:
        given = text.lower()
        assert model.model_validate_json(f'{{"night": {given}}}').model_dump(by_alias=True) == {"night": text}
        assert read_label(given == "true") == read_label(text) == text
    other = pa.DataFrameSchema({"night": pa.Column(str, pa.Check.isin(["yes", "no"]))})
    with pytest.raises(ValidationError):
        label_reader(other, "night")(True)
