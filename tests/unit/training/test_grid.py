"""grid.json: estimators and parameters by their own names."""

import sys

import pytest

from ml.errors import MlError
from ml.project import find_project
from ml.training.grid import EstimatorChoice, make_estimator, read_grid
from tests.conftest import Site
from tests.support import ESTIMATORS


def test_the_titanic_grid_names_the_asked_estimators() -> None:
    names = {candidate.estimator for candidate in read_grid(find_project("titanic"))}
    assert names == set(ESTIMATORS)


def test_a_grid_is_every_combination(site: Site) -> None:
    site.grid({"DecisionTreeClassifier": {"max_depth": [1, 2], "min_samples_leaf": [1, 5]}})
    assert len(read_grid(find_project("small"))) == 4


@pytest.mark.parametrize(
    ("grid", "problem"),
    [
        ({"NoSuchClassifier": {}}, "'NoSuchClassifier' is no estimator of scikit-learn or catboost"),
        ({"LinearRegression": {}}, "'LinearRegression' is no classification estimator"),
        ({"os": {}}, "'os' is no estimator"),
        ({"LogisticRegression": {"depth": [1]}}, "LogisticRegression has no parameter 'depth'"),
        ({"CatBoostClassifier": {"max_deph": [1]}}, "CatBoostClassifier has no parameter 'max_deph'"),
        ({"LogisticRegression": {"C": 1}}, "LogisticRegression.C: expected a list of values, got 1"),
        ({"LogisticRegression": {"C": []}}, "LogisticRegression.C: expected a list of values"),
        ({"LogisticRegression": [1]}, "LogisticRegression: expected an object of parameters"),
        ({}, "names no candidate"),
        ([], "not a JSON object"),
    ],
)
def test_what_is_wrong_in_a_grid_is_named(site: Site, grid: object, problem: str) -> None:
    site.grid(grid)
    with pytest.raises(MlError) as caught:
        read_grid(find_project("small"))
    assert problem in str(caught.value) and "grid.json" in str(caught.value)


def test_an_estimator_that_is_named_twice_is_told(site: Site) -> None:
    (site.project / "grid.json").write_text('{"LogisticRegression": {"C": [1]}, "LogisticRegression": {}}')
    with pytest.raises(MlError, match="the key 'LogisticRegression' stands twice"):
        read_grid(find_project("small"))


def test_a_missing_grid_is_named(site: Site) -> None:
    (site.project / "grid.json").unlink()
    with pytest.raises(MlError, match=r"grid.json is missing"):
        read_grid(find_project("small"))


@pytest.mark.parametrize("name", ["RandomForestClassifier", "CatBoostClassifier", "LogisticRegression"])
def test_estimators_are_seeded_and_use_one_thread(name: str) -> None:
    parameters = make_estimator(EstimatorChoice(name, {}), seed=7).get_params()
    assert parameters["random_state"] == 7
    assert parameters.get("n_jobs") in (None, 1)
    assert parameters.get("thread_count", 1) == 1


@pytest.mark.parametrize("name", ["XGBClassifier", "LGBMRegressor"])
def test_what_is_not_installed_is_named_with_the_way_to_it(
    site: Site, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in ("xgboost", "lightgbm"):
        monkeypatch.setitem(sys.modules, module, None)
    site.grid({name: {}})
    with pytest.raises(MlError, match="needs the package (xgboost|lightgbm), which is not installed: put it"):
        read_grid(find_project("small"))


@pytest.mark.parametrize("name", ["XGBClassifier", "LGBMClassifier"])
def test_what_hides_its_parameters_is_asked_for_them(site: Site, name: str) -> None:
    pytest.importorskip({"X": "xgboost", "L": "lightgbm"}[name[0]])
    site.grid({name: {"max_depth": [2], "n_estimators": [5, 9]}})
    assert len(read_grid(find_project("small"))) == 2
    made = make_estimator(EstimatorChoice(name, {"max_depth": 2}), seed=7)
    parameters = getattr(made, "estimator", made).get_params()
    assert (parameters["random_state"], parameters["n_jobs"]) == (7, 1)
    site.grid({name: {"max_dept": [2]}})
    with pytest.raises(MlError, match=f"{name} has no parameter 'max_dept'"):
        read_grid(find_project("small"))
