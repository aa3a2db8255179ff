"""Rows to predict for: a CSV file is read as the project's own files are written, or as anybody writes it."""

import pandera.pandas as pa
import pytest

from ml.data.contract import load_contract
from ml.data.formats import read_rows
from ml.data.request import RowReader, request_contract, row_reader
from ml.errors import MlError
from ml.project import find_project
from tests.conftest import Site

GERMAN = 'format = { separator = ";", encoding = "cp1252", decimal = ",", thousands = "." }'


@pytest.fixture
def german(site: Site) -> RowReader:
    """Return what reads rows for a project whose source writes as it is done in Germany."""
    labelled = 'labelled = "data/train.csv"\n'
    assert labelled in (site.project / "project.toml").read_text()
    site.edit("project.toml", labelled, f"{labelled}{GERMAN}\n")
    project = find_project("small")
    contract = request_contract(load_contract(project), project.target)
    assert isinstance(contract, pa.DataFrameSchema)
    return row_reader(contract, project)


HEADER = [
    "PassengerId",
    "Pclass",
    "Name",
    "Sex",
    "Age",
    "SibSp",
    "Parch",
    "Ticket",
    "Fare",
    "Cabin",
    "Embarked",
]


def written(separator: str, *, age: str = "22.5", name: str = '"Müller, Mr. Jörg"') -> str:
    row = ["7", "3", name, "male", age, "1", "0", "A/5 21171", "7", "", "S"]
    return f"{separator.join(HEADER)}\n{separator.join(row)}\n"


def test_a_file_like_those_of_the_source_and_a_plain_one_are_the_same_rows(german: RowReader) -> None:
    own = read_rows(written(";", age="22,5").encode("cp1252"), "csv", german, "rows.csv")
    plain = read_rows(written(",").encode(), "csv", german, "rows.csv")
    assert own.equals(plain) and own["Age"][0] == 22.5 and own["Name"][0] == "Müller, Mr. Jörg"


def test_a_file_that_is_divided_otherwise_is_told(german: RowReader) -> None:
    with pytest.raises(MlError, match="rows.csv has one column: separate columns by ','"):
        read_rows(written("|").encode(), "csv", german, "rows.csv")
