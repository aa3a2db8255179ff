"""Functions for one row make what their namesakes make of a table, or it is seen where they do not."""

from typing import Any

import pandas as pd
import pytest

from ml.data.contract import load_contract
from ml.data.request import example_values
from ml.data.rows import typed_table
from ml.project import find_project
from ml.training.pipeline import feature_functions
from ml.training.row_features import row_functions, rows_made_otherwise
from tests.conftest import Site

BUILT_IN = {"titanic": "title", "temperature": "season", "flights": "clock"}


def table(site: Site) -> pd.DataFrame:
    return pd.read_csv(site.project / "data" / "train.csv")


@pytest.mark.parametrize("name", BUILT_IN)
def test_the_examples_have_all_functions_for_one_row(name: str) -> None:
    project = find_project(name)
    assert list(row_functions(project)) == project.features.functions
    assert BUILT_IN[name] in row_functions(project)


@pytest.mark.parametrize(
    ("name", "column", "made", "good"),
    [
        ("flights", "time_hour", ["Weekday"], "2013-11-20T14:00:00Z"),
        ("temperature", "Day", ["SeasonSine", "SeasonCosine"], "2025-07-01"),
    ],
)
def test_a_text_that_is_no_date_is_a_gap_in_a_row_and_in_a_table(
    name: str, column: str, made: list[str], good: str
) -> None:
    project, functions = find_project(name), BUILT_IN[name]
    odd = ["", "now", "today", "2025-W10-3", good[:7], good[:4], good + "\n", " " + good]
    odd += [good.replace(good[:10], day) for day in ("2025-02-30", "0000-01-01")]
    odd += [good.replace("-", "/"), good.replace("1", "１")]
    odd += [good.replace("T14", hour) for hour in ("T24", "T25") if "T14" in good]
    [example] = typed_table([row_of(name) | {column: good}], load_contract(project)).to_dict("records")
    rows = pd.DataFrame([example | {column: text} for text in [*odd, good]])
    assert rows_made_otherwise(project, rows)[functions] == []
    [(_, by_table)] = feature_functions(project)
    gaps = by_table(rows)[made].isna()
    assert gaps[rows[column] != good].all(axis=None) and not gaps[rows[column] == good].any(axis=None)


def row_of(name: str) -> dict[str, Any]:
    contract = load_contract(find_project(name))
    return {one: example_values(column)[0] for one, column in contract.columns.items()}


def test_every_row_of_the_titanic_is_made_the_same(site: Site) -> None:
    found = rows_made_otherwise(find_project("small"), table(site))
    assert found == {"title": [], "family_size": []}


def test_a_function_that_differs_or_fails_is_seen_row_by_row(site: Site) -> None:
    site.edit("features_row.py", 'word if word in COMMON else "Rare"', 'word or "Rare"')
    site.edit("features_row.py", '["SibSp"] + passenger["Parch"] + 1', '["SibSp"] // passenger["Parch"]')
    rows = table(site)
    found = rows_made_otherwise(find_project("small"), rows)
    rare = ~rows["Name"].str.contains(r", (?:Mr|Mrs|Miss|Master|Mlle|Ms|Mme)\.")
    assert found["title"] == list(rows.index[rare])
    assert set(rows.index[rows["Parch"] == 0]) <= set(found["family_size"])


def test_only_functions_that_the_project_names_are_taken(site: Site) -> None:
    (site.project / "features_row.py").write_text("def family_size(row):\n    return row\n\n\nHELP = 1\n")
    assert list(row_functions(find_project("small"))) == ["family_size"]
    (site.project / "features_row.py").unlink()
    assert row_functions(find_project("small")) == {}
