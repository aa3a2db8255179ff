"""Functions for one row make what their namesakes make of a table, or it is seen where they do not."""

import pandas as pd
import pytest

from ml.project import find_project
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
