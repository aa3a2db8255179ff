"""What drove an answer: exact where a score is a sum over the fields, else one field at a time."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pandera.pandas as pa
import pytest
from sklearn.base import BaseEstimator
from sklearn.compose import ColumnTransformer
from sklearn.linear_model import LinearRegression, LogisticRegression, RidgeClassifier
from sklearn.naive_bayes import GaussianNB
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, StandardScaler
from sklearn.svm import SVC, LinearSVC
from sklearn.tree import DecisionTreeClassifier

from ml.data.rows import records
from ml.serving import MAX_ROWS
from ml.serving.contributions import Contributions, contributions, scored_rows
from ml.serving.loaded import LoadedVersion, ready
from ml.training.bundle import Bundle

COLUMNS = {"Id": pa.Column(int), "Side": pa.Column(str), "Long": pa.Column(float), "Wide": pa.Column(float)}


def rows(count: int = 200) -> pd.DataFrame:
    chance = np.random.default_rng(3)
    return pd.DataFrame(
        {
            "Id": np.arange(count),
            "Side": chance.choice(["left", "right", "top"], count),
            "Long": chance.normal(10, 3, count),
            "Wide": chance.normal(-1, 2, count),
        }
    )


def add_area(table: pd.DataFrame) -> pd.DataFrame:
    """Make a feature of two columns, as a project may."""
    return table.assign(Sum=table["Long"] + table["Wide"])


def version(
    estimator: BaseEstimator, target: pd.Series, golden: int = 20, **more: pa.Column
) -> LoadedVersion:
    """Return a loaded version of a model of these rows, as the service holds it."""
    columns = ColumnTransformer(
        [("numbers", StandardScaler(), ["Long", "Wide", "Sum"]), ("texts", OneHotEncoder(), ["Side"])]
    )
    pipeline = make_pipeline(FunctionTransformer(add_area), columns, estimator).fit(rows(), target)
    task = "regression" if target.dtype == float else "classification"
    project = SimpleNamespace(id="Id", task=task, target="Target", personal=())
    contract = pa.DataFrameSchema({**COLUMNS, **more, "Target": pa.Column(target.dtype)})
    content = {"rows": [row | dict.fromkeys(more, 1.0) for row in records(rows(golden))], "predictions": []}
    return ready(1, Bundle(project, pipeline, contract, content, SimpleNamespace()))


def explained(loaded: LoadedVersion, row: pd.DataFrame) -> tuple[dict[str, Any], Contributions]:
    answer = loaded.answer_table(row)[0]
    return answer, contributions(loaded, row, answer)


def two() -> pd.Series:
    table = rows()
    return ((table["Side"] == "left") | (table["Long"] * table["Wide"] > 0)).map({True: "yes", False: "no"})


def three() -> pd.Series:
    return pd.cut(rows()["Long"], [-99, 9, 11, 99], labels=["short", "middle", "long"]).astype(str)


def test_the_parts_of_a_logistic_regression_are_coefficient_times_distance_from_the_mean() -> None:
    loaded, row = version(LogisticRegression(), two()), rows().iloc[[77]]
    answer, found = explained(loaded, row)

    pipeline = loaded.bundle.pipeline
    transform, model = pipeline[:-1], pipeline[-1]
    away = transform.transform(row)[0] - transform.transform(rows(20)).mean(axis=0)
    long, wide, total, *sides = model.coef_[0] * away * (1 if answer["prediction"] == "yes" else -1)
    # The sum of two columns is shared out by how far each of them is from its own mean.
    distance = {name: row[name].item() - rows(20)[name].mean() for name in ("Long", "Wide")}
    share = total / sum(distance.values())
    assert found.scale == "log-odds" and found.exact
    assert found.parts["Side"] == pytest.approx(sum(sides))
    assert found.parts["Long"] == pytest.approx(long + share * distance["Long"])
    assert found.parts["Wide"] == pytest.approx(wide + share * distance["Wide"])
    assert found.parts["Id"] == 0
    chance = answer[f"probability_{answer['prediction']}"]
    assert found.total == pytest.approx(np.log(chance / (1 - chance)))


@pytest.mark.parametrize(
    ("estimator", "target", "scale"),
    [
        (LogisticRegression(), two(), "log-odds"),
        (LogisticRegression(), three(), "score"),
        (RidgeClassifier(), two(), "score"),
        (LinearSVC(), three(), "score"),
        (LinearRegression(), rows()["Long"] * 2 - rows()["Wide"], "prediction"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, BaseEstimator) else "",
)
def test_the_parts_of_a_linear_model_add_up_to_the_difference_from_the_reference(
    estimator: BaseEstimator, target: pd.Series, scale: str
) -> None:
    loaded = version(estimator, target)
    for place in (0, 50, 199):
        _, found = explained(loaded, rows().iloc[[place]])
        assert found.scale == scale and found.exact
        assert sum(found.parts.values()) == pytest.approx(found.total - found.reference)


@pytest.mark.parametrize(
    ("estimator", "target", "scale"),
    [
        (DecisionTreeClassifier(max_depth=4), two(), "probability"),
        (GaussianNB(), three(), "probability"),
        (SVC(kernel="linear", decision_function_shape="ovo"), three(), "agreement"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, BaseEstimator) else "",
)
def test_of_any_other_model_a_part_is_the_mean_change_when_that_field_alone_is_replaced(
    estimator: BaseEstimator, target: pd.Series, scale: str
) -> None:
    loaded, row = version(estimator, target), rows().iloc[[77]]
    answer, found = explained(loaded, row)
    said = answer["prediction"]

    def score(asked: pd.DataFrame) -> float:
        one = loaded.answer_table(asked)[0]
        return one[f"probability_{said}"] if scale == "probability" else float(one["prediction"] == said)

    for name in ("Side", "Long", "Wide"):
        others = [score(row.assign(**{name: value})) for value in rows(20)[name]]
        assert found.parts[name] == pytest.approx(score(row) - np.mean(others))
    assert found.scale == scale and not found.exact


def test_a_wide_row_is_explained_with_no_more_rows_than_a_request_may_hold() -> None:
    more = {f"more {number}": pa.Column(float) for number in range(200)}
    loaded = version(LogisticRegression(), two(), **more)
    assert scored_rows(loaded) <= MAX_ROWS + 1
    _, found = explained(loaded, pd.concat([rows(1), pd.DataFrame(0.0, [0], list(more))], axis=1))
    assert found.rows == 4 and len(found.parts) == 204 and found.exact
