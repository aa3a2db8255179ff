"""NA is a gap, but where the contract lists it among the values of a text: wherever rows come from."""

import json
from pathlib import Path

import pandas as pd
import pandera.pandas as pa
import pytest

from ml.data import sources
from ml.data.contract import load_contract
from ml.data.formats import read_file
from ml.data.gap_words import words_that_are_values
from ml.data.request import request_contract, row_reader
from ml.project import find_project
from tests.conftest import Site


@pytest.fixture
def namibia(site: Site) -> Site:
    """Let NA be a port, where every third passenger embarked, and an age that nobody knows."""
    site.edit("contract.py", 'isin=["C", "Q", "S"]', 'isin=["C", "Q", "S", "NA"]')
    file = site.project / "data" / "train.csv"
    table = pd.read_csv(file, dtype=str, keep_default_na=False)
    table.loc[::3, "Embarked"] = "NA"
    table.loc[::5, "Age"] = "NA"
    table.to_csv(file, index=False)
    return site


def test_it_is_a_value_where_the_contract_lists_it() -> None:
    contract = pa.DataFrameSchema(
        {
            "port": pa.Column(str, pa.Check.isin(["", "NA", "None", "S"])),
            "deck": pa.Column(str, pa.Check.isin(["A", "B"])),
            "age": pa.Column(float, pa.Check.isin([1.0, 2.0])),
        }
    )
    assert words_that_are_values(contract) == {"port": {"NA", "None"}}


def test_a_build_reads_it_so(namibia: Site) -> None:
    table = sources.fetch(find_project("small"), sources.whole).labelled
    assert (table["Embarked"] == "NA").sum() == 297
    assert table["Embarked"].isna().sum() < 3 and table["Age"].isna().sum() > 178


def test_files_of_every_kind_say_the_same(namibia: Site, tmp_path: Path) -> None:
    project = find_project("small")
    reader = row_reader(request_contract(load_contract(project), project.target), project, 10)
    row = pd.read_csv(namibia.project / "data" / "test.csv").iloc[[0]].assign(Embarked="NA", Age=None)
    row.to_csv(tmp_path / "rows.csv", index=False)
    row.to_parquet(tmp_path / "rows.parquet")
    (tmp_path / "rows.json").write_text(json.dumps(json.loads(row.to_json(orient="records"))))
    for kind in ("csv", "parquet", "json"):
        found = read_file(tmp_path / f"rows.{kind}", reader).iloc[0]
        assert found["Embarked"] == "NA" and pd.isna(found["Age"]), kind
