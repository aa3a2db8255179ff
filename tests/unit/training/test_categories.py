"""Categories with many values are not written as one column a value, and every kind of model can use them."""

import pickle
import re

import pandas as pd
import pytest

from ml.training.bundle import predict
from ml.training.categories import count_many_valued
from ml.training.grid import EstimatorChoice
from ml.training.pipeline import build_pipeline
from ml.training.search import fit
from tests.conftest import Site
from tests.many_valued import ROWS, many_valued_project, many_valued_rows


@pytest.mark.parametrize("target", ["yield", "late", "class"])
@pytest.mark.parametrize("kind", ["CatBoost", "RandomForest", "linear"])
def test_a_model_learns_from_many_values(target: str, kind: str) -> None:
    task = "regression" if target == "yield" else "classification"
    project, rows = many_valued_project(task, target), many_valued_rows(target)
    suffix = "Regressor" if task == "regression" else "Classifier"
    name = {"linear": "Ridge" if task == "regression" else "LogisticRegression"}.get(kind, kind + suffix)
    parameters = {"CatBoost": {"iterations": 60}, "RandomForest": {"n_estimators": 30}}.get(kind, {})
    answers = rows.pop(target)
    model = fit(project, EstimatorChoice(name, parameters), rows, answers)
    a_value = 3 if target == "class" and kind != "CatBoost" else 1
    assert model[:-1].transform(rows).shape == (ROWS, 1 + 2 + 2 * a_value)
    assert model.score(rows, answers) > 0.7
    strange = rows.head(3).assign(tail=["never seen", None, "N1"], number=[9999, 1, 2])
    assert predict(model, project, strange).notna().all(axis=None)
    whole = predict(model, project, rows)["prediction"]
    alone = pd.concat([predict(model, project, rows.iloc[[one]]) for one in range(5)], ignore_index=True)
    assert (whole.head(5) == alone["prediction"]).all()
    assert pickle.dumps(model) == pickle.dumps(fit(project, EstimatorChoice(name, parameters), rows, answers))


def test_below_the_limit_the_pipeline_is_as_it_was() -> None:
    project = many_valued_project("classification", "late", limit=500)
    assert count_many_valued(project, many_valued_rows("late")) == {}
    found = count_many_valued(many_valued_project("classification", "late"), many_valued_rows("late"))
    assert found == {"tail": 120, "number": 120}
    steps = build_pipeline(project, EstimatorChoice).named_steps["columns"]  # type: ignore[arg-type]
    assert [name for name, _, _ in steps.transformers] == ["numeric", "categorical"]


@pytest.mark.slow
def test_many_values_are_told_and_go_through_all_gates(
    site: Site, capsys: pytest.CaptureFixture[str]
) -> None:
    site.edit("project.toml", 'personal = ["Name", "Ticket", "Cabin"]', 'personal = ["Name"]')
    site.edit("project.toml", 'categorical = ["Sex", ', 'categorical = ["Cabin", "Sex", ')
    site.edit("project.toml", "max_gap = 0.10 ", "max_gap = 0.20 ")
    site.grid({"CatBoostClassifier": {"iterations": [50], "depth": [3]}})
    assert [site.ml(stage) for stage in ("data", "train", "quality")] == [0, 0, 0]
    said = capsys.readouterr().err
    assert re.search(r"more than 50 values \(max_categories\): 'Cabin' \(\d+\): not one-hot", said)
