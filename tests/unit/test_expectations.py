"""Expectations: the share of rows that break them."""

import re

import numpy as np
import pandas as pd
import pytest

from ml.errors import MlError
from ml.expectations import Change, Directional, Invariant, Known, load_expectations, share_broken
from ml.project import find_project
from ml.training.bundle import load_bundle
from tests.conftest import Site


def test_the_projects_of_the_repository_have_some() -> None:
    assert {type(one) for one in load_expectations(find_project("titanic"))} == {
        Invariant,
        Directional,
        Known,
    }
    assert load_expectations(find_project("temperature"))


def test_a_project_needs_none_and_a_list_of_something_else_is_named(site: Site) -> None:
    project = find_project("small")
    (site.project / "expectations.py").write_text('"""Nothing."""\n\nEXPECTATIONS = ["be good"]\n')
    with pytest.raises(MlError, match="EXPECTATIONS must be a list of Invariant, Directional and Known"):
        load_expectations(project)
    (site.project / "expectations.py").unlink()
    assert load_expectations(project) == []


def test_each_kind_counts_the_rows_that_break_it(built: Site) -> None:
    bundle = load_bundle(built.build / "model")
    rows = pd.read_parquet(built.build / "data" / "test.parquet").drop(columns="Survived")
    men = (rows["Sex"] == "male").to_numpy()

    def all_women(passengers: pd.DataFrame) -> pd.DataFrame:
        return passengers.assign(Sex="female")

    assert share_broken(Invariant("same ticket", lambda table: table.assign(Ticket="1")), bundle, rows) == 0
    assert share_broken(Invariant("same sex", all_women), bundle, rows) == pytest.approx(men.mean())
    assert share_broken(Directional("rises", all_women, "not lower", of=1), bundle, rows) == 0
    assert share_broken(Directional("falls", all_women, "not higher", of=1), bundle, rows) == pytest.approx(
        men.mean()
    )
    known = bundle.golden["rows"][:4]
    answers = [one["prediction"] for one in bundle.golden["predictions"][:4]]
    assert share_broken(Known("all survive", known, answer=1), bundle, rows) == np.mean(
        [a != 1 for a in answers]
    )
    with pytest.raises(MlError, match="the model gives no probability_7"):
        share_broken(Directional("no such class", all_women, "not lower", of=7), bundle, rows)


@pytest.mark.parametrize(
    "change, told",
    [
        (lambda table: None, "must return a table of the rows that it was given"),
        (lambda table: table.head(1), "must return a table of the rows that it was given"),
        (lambda table: table["sex"], "fails: KeyError: 'sex'"),
    ],
)
def test_a_change_that_does_not_give_the_rows_back_is_named(built: Site, change: Change, told: str) -> None:
    rows = pd.read_parquet(built.build / "data" / "test.parquet").drop(columns="Survived")
    with pytest.raises(MlError, match=re.escape(f"expectations.py: same sex: its change {told}")):
        share_broken(Invariant("same sex", change), load_bundle(built.build / "model"), rows)
