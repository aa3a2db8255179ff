"""Features are checked, and equal inputs give equal bytes."""

import subprocess
import sys

import pandas as pd
import pytest

from ml.errors import MlError
from ml.project import find_project
from ml.training.search import check_features
from tests.conftest import Site, environment
from tests.support import ESTIMATORS

FIT = """
import hashlib, pickle, sys
import pandas as pd
from ml.training.grid import EstimatorChoice
from ml.project import find_project
from ml.training.search import fit
project = find_project("titanic")
rows = pd.read_csv(project.folder / "data" / "train.csv").head(300)
target = rows.pop("Survived")
for name in sys.argv[1:]:
    parameters = {"iterations": 20} if name == "CatBoostClassifier" else {}
    pickled = pickle.dumps(fit(project, EstimatorChoice(name, parameters), rows, target))
    print(name, hashlib.sha256(pickled).hexdigest())
"""


def test_the_features_of_the_titanic_pass() -> None:
    project = find_project("titanic")
    from ml.training.pipeline import feature_table

    check_features(project, feature_table(project, pd.read_csv(project.folder / "data" / "train.csv")))


def test_a_constant_feature_is_named() -> None:
    with pytest.raises(MlError, match=r"feature 'Sex' is constant in the training data \(the one value 0\)"):
        check_features(find_project("titanic"), pd.DataFrame({"Sex": [0, 0, 0], "Age": [1, 2, 3]}))
    with pytest.raises(MlError, match="feature 'Age' is constant .*no value at all"):
        check_features(find_project("titanic"), pd.DataFrame({"Sex": [0, 1, 0], "Age": [None, None, None]}))


def test_all_features_that_tell_nothing_are_told_at_once() -> None:
    table = pd.DataFrame({"a": [1, 1, 1], "b": [2, 2, 2], "c": [1, 2, 3], "d": [3, 2, 1], "e": [5, 6, 7]})
    with pytest.raises(MlError) as caught:
        check_features(find_project("titanic"), table)
    for told in ("'a' is constant", "'b' is constant", "'c' and 'd' are", "'c' and 'e' are"):
        assert told in str(caught.value)


def test_a_relabelled_copy_is_a_duplicate() -> None:
    with pytest.raises(MlError, match="features 'Sex' and 'Gender' are duplicates"):
        check_features(
            find_project("titanic"),
            pd.DataFrame({"Sex": ["m", "f", None, "m"], "Gender": [1.0, 0.0, None, 1.0]}),
        )


def test_numbers_that_are_all_different_are_duplicates_only_along_a_line() -> None:
    numbers = pd.Series(range(30), dtype=float)
    check_features(find_project("titanic"), pd.DataFrame({"a": numbers, "b": numbers**2}))
    with pytest.raises(MlError, match="features 'a' and 'b' are duplicates"):
        check_features(find_project("titanic"), pd.DataFrame({"a": numbers, "b": 3 - 2 * numbers}))


def test_a_feature_that_loses_values_is_named() -> None:
    features = pd.DataFrame({"Title": ["Mr", None, "Mrs"], "Pclass": [1, 2, 3]})
    with pytest.raises(MlError, match="feature 'Title' is missing in 33.3% of the training rows"):
        check_features(find_project("titanic"), features)


def test_the_course_s_always_zero_sex_does_not_pass(built: Site, error_of: object) -> None:
    built.edit(
        "features.py", "SPELLINGS = {", "SEX = lambda x: 0 if 'male' else 1  # noqa: E731\nSPELLINGS = {"
    )
    built.edit(
        "features.py",
        'SibSp"] + passengers["Parch"] + 1)',
        'SibSp"] + passengers["Parch"] + 1, Sex=passengers["Sex"].map(SEX))',
    )
    assert built.ml("train") == 1
    assert "feature 'Sex' is constant" in error_of()  # type: ignore[operator]


@pytest.mark.slow
def test_every_estimator_pickles_to_the_same_bytes_in_another_process() -> None:
    def fit_all(seed: str) -> str:
        variables = environment() | {"PYTHONHASHSEED": seed}
        command = [sys.executable, "-c", FIT, *ESTIMATORS]
        return subprocess.run(command, env=variables, capture_output=True, text=True, check=True).stdout

    first, second = fit_all("1"), fit_all("2")
    assert len(first.splitlines()) == len(ESTIMATORS)
    assert first == second
