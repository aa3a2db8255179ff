"""A user's own project: another table, awkward column names, three classes with names, no unlabelled rows."""

import json
from pathlib import Path

import pytest
from sklearn.datasets import load_iris

from ml.cli import main
from ml.training.bundle import load_bundle
from tests.conftest import Site

SETTINGS = """
title = "Iris: which species is this flower?"
task = "classification"
target = "species"
id = "number"
source = {kind = "csv", labelled = "iris.csv"}
split = {test_share = 0.3}
training = {metric = "f1_macro"}
gates = {floors = {f1_macro = 0.8}}
channels = {production = 8002}
[features]
numeric = ["sepal length (cm)", "sepal width (cm)", "petal length (cm)", "petal width (cm)"]
"""
CONTRACT = '''
"""Flowers."""

import pandera.pandas as pa


class Flowers(pa.DataFrameModel):
    """One row a flower."""

    number: int = pa.Field(unique=True)
    sepal_length: float = pa.Field(alias="sepal length (cm)", gt=0)
    sepal_width: float = pa.Field(alias="sepal width (cm)", gt=0)
    petal_length: float = pa.Field(alias="petal length (cm)", gt=0)
    petal_width: float = pa.Field(alias="petal width (cm)", gt=0)
    species: str = pa.Field(isin=["setosa", "versicolor", "virginica"])
'''


@pytest.fixture
def iris(site: Site) -> Path:
    folder = site.root / "projects" / "flowers"
    folder.mkdir()
    flowers = load_iris(as_frame=True)
    table = flowers.data.assign(species=flowers.target_names[flowers.target], number=range(1, 151))
    table.to_csv(folder / "iris.csv", index=False)
    (folder / "project.toml").write_text(SETTINGS)
    (folder / "contract.py").write_text(CONTRACT)
    (folder / "grid.json").write_text('{"CatBoostClassifier": {"iterations": [20], "depth": [3]}}')
    return folder


@pytest.mark.slow
def test_a_project_of_four_files_is_trained_and_judged(iris: Path, site: Site) -> None:
    for stage in ("data", "train", "quality"):
        assert main([stage, "--project", "flowers", "--build", str(site.root / "build")]) == 0
    build = site.root / "build" / "flowers"
    assert json.loads((build / "data" / "manifest.json").read_text())["rows_out"] == {
        "train": 105,
        "test": 45,
    }
    assert json.loads((build / "quality" / "verdict.json").read_text())["blessed"] is True
    bundle = load_bundle(build / "model")
    assert {row["prediction"] for row in bundle.golden["predictions"]} == {
        "setosa",
        "versicolor",
        "virginica",
    }
    assert bundle.replay_golden() == 0
