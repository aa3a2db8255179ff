"""The fast path says what the pickle says, to the bit, or nothing at all."""

import time
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pandera.pandas as pa
import pytest
import sklearn
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ml.data.rows import records
from ml.errors import MlError
from ml.project import Project
from ml.serving import fast_path
from ml.serving.fast_path import differences, proving_rows
from ml.serving.fast_path.columns import Columns
from ml.serving.fast_path.kernels import KERNELS
from ml.serving.loaded import LoadedVersion, ready
from ml.training.bundle import Bundle
from ml.training.grid import EstimatorChoice
from ml.training.search import fit
from tests.many_valued import many_valued_project, many_valued_rows

TARGETS = {"late": "Classifier", "class": "Classifier", "yield": "Regressor"}
PARAMETERS: dict[str, dict[str, Any]] = {
    "CatBoost": {"iterations": 25, "depth": 3},
    "RandomForest": {"n_estimators": 15, "max_depth": 6},
    "ExtraTrees": {"n_estimators": 15},
    "GradientBoosting": {"n_estimators": 15},
    "HistGradientBoosting": {"max_iter": 15},
    "LogisticRegression": {"max_iter": 500},
}
_loaded: dict[tuple[str, str], LoadedVersion] = {}


def contract_of(rows: pd.DataFrame) -> pa.DataFrameSchema:
    columns = {
        "id": pa.Column(int),
        "size": pa.Column(float, nullable=True),
        "tail": pa.Column(str, nullable=True),
        "number": pa.Column(int, [pa.Check.ge(0), pa.Check.le(200)]),
        "kind": pa.Column(str, pa.Check.isin(["a", "b", "never seen"])),
    }
    return pa.DataFrameSchema(
        {name: columns.get(name) or pa.Column(rows[name].dtype) for name in rows}, coerce=True
    )


def load(
    target: str,
    estimator: str,
    parameters: dict[str, Any],
    limit: int = 500,
    checks: Sequence[pa.Check] = (),
    categories: Sequence[str] = ("tail", "number", "kind"),
) -> LoadedVersion:
    """Return a version of the pipeline that the train stage makes."""
    task = "regression" if target == "yield" else "classification"
    project: Project = many_valued_project(task, target, limit)
    project.features.categorical[:] = categories
    project.features.numeric[:] = ["size", *({"number"} - set(categories))]
    rows = many_valued_rows(target)
    rows["size"] = rows["size"].mask(np.arange(len(rows)) % 7 == 0)
    contract = contract_of(rows)
    contract.checks = list(checks)
    answers = rows.pop(target)
    pipeline = fit(project, EstimatorChoice(estimator, parameters), rows, answers)
    bundle = Bundle(project, pipeline, contract, {}, SimpleNamespace())  # type: ignore[arg-type]
    golden = {"rows": records(rows.head(20)), "predictions": records(bundle.predict(rows.head(20)))}
    return ready(1, Bundle(project, pipeline, contract, golden, SimpleNamespace()))  # type: ignore[arg-type]


def loaded_of(family: str, target: str) -> LoadedVersion:
    kind = TARGETS[target]
    plain = family.removeprefix(ENCODES)
    name = plain if plain + kind not in KERNELS else plain + kind
    if (family, target) not in _loaded:
        limit = {"limit": 50} if family != plain else {}
        _loaded[family, target] = load(target, name, PARAMETERS.get(plain, {}), **limit)
    return _loaded[family, target]


FAMILIES = [
    (family, target)
    for family in sorted({name.removesuffix("Classifier").removesuffix("Regressor") for name in KERNELS})
    for target in TARGETS
    if (family == "LogisticRegression") == (target != "yield") or family + TARGETS[target] in KERNELS
    if family + TARGETS[target] in KERNELS or family in KERNELS
]
ENCODES = "categories encoded by "
FAMILIES += [(f"{ENCODES}CatBoost", target) for target in TARGETS]
ROW = st.fixed_dictionaries(
    {
        "id": st.integers(-(2**63), 2**63 - 1),
        "size": st.none() | st.floats(allow_nan=False, allow_infinity=False, width=64),
        "tail": st.none() | st.sampled_from(["N1", "N2", "N77"]) | st.text(max_size=8),
        "number": st.integers(0, 200),
        "kind": st.sampled_from(["a", "b", "never seen"]),
    }
)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:overflow")
@pytest.mark.parametrize(("family", "target"), FAMILIES, ids=str)
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=st.lists(ROW, min_size=1, max_size=5))
def test_every_family_answers_as_its_pickle(family: str, target: str, rows: list[dict[str, Any]]) -> None:
    loaded = loaded_of(family, target)
    path, scoring = loaded.fast_path, loaded.scoring
    assert scoring == "the fast path"
    with sklearn.config_context(assume_finite=True):  # as in the service, where the contract has checked rows
        different = differences(path, loaded.bundle, rows) if path else rows
    assert different == []


@pytest.mark.parametrize("target", TARGETS)
def test_the_means_of_many_values_are_looked_up(target: str) -> None:
    loaded = load(target, "DecisionTree" + TARGETS[target], {"max_depth": 5}, limit=50)
    assert loaded.scoring == "the fast path"


@pytest.mark.parametrize("categories", [["tail"], ["kind"], ["tail", "kind"], []])
@pytest.mark.parametrize(("target", "estimator"), [("late", "LogisticRegression"), ("yield", "Ridge")])
def test_sums_go_in_the_order_of_the_pipeline(target: str, estimator: str, categories: list[str]) -> None:
    loaded = load(target, estimator, {}, limit=50, categories=categories)
    assert loaded.scoring == "the fast path"


def test_what_is_proved_holds_every_kind_of_value() -> None:
    loaded = loaded_of("DecisionTree", "late")
    rows = proving_rows(loaded.bundle)
    assert len(rows) == 1020
    assert {row["kind"] for row in rows} == {"a", "b", "never seen"}
    for name in ("size", "tail"):
        assert 50 < sum(row[name] is None for row in rows) < 500
    assert len({row["tail"] for row in rows}) > 50, "texts that nobody has seen"
    assert rows == proving_rows(loaded.bundle), "the same each time"


@pytest.mark.parametrize(
    ("estimator", "why"),
    [
        ("GaussianNB", "GaussianNB has no fast path"),
        ("KNeighborsClassifier", "KNeighborsClassifier has no fast path"),
        ("DummyClassifier", "DummyClassifier answers at random"),
    ],
)
def test_what_is_not_known_goes_the_way_of_the_pickle(estimator: str, why: str) -> None:
    parameters = {"strategy": "uniform"} if estimator.startswith("Dummy") else {}
    loaded = load("late", estimator, parameters)
    assert (loaded.fast_path, loaded.scoring) == (None, f"pandas: {why}")
    assert len(loaded.answer(loaded.bundle.golden["rows"])) == 20


def test_a_path_that_is_off_by_a_bit_is_not_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    from ml.serving.fast_path import columns

    whole = columns.Columns.matrix
    monkeypatch.setattr(columns.Columns, "matrix", lambda self, rows: np.nextafter(whole(self, rows), 9e9))
    loaded = load("yield", "LinearRegression", {})
    assert loaded.scoring == "pandas: row 0 of 1020 would be answered otherwise"


def test_a_path_that_makes_other_numbers_of_a_row_alone_is_not_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    line = Columns._line

    def rounded(columns: Columns, row: dict[str, Any]) -> list[float]:
        found = line(columns, row)
        return [float(np.float32(one)) for one in found] if row["kind"] == "never seen" else found

    monkeypatch.setattr(Columns, "_line", rounded)
    loaded = load("late", "DecisionTree" + TARGETS["late"], {"max_depth": 5})
    assert loaded.scoring.endswith("would be answered otherwise if it came alone")


def test_which_way_is_faster_is_not_said_by_a_moment_in_which_something_else_was_done() -> None:
    stalls = iter([0.3, 0.0, 0.0, 0.0])
    assert fast_path._seconds(lambda: time.sleep(next(stalls))) < 0.3


def test_a_row_at_which_it_fails_is_answered_by_the_pickle(monkeypatch: pytest.MonkeyPatch) -> None:
    loaded = load("late", "DecisionTreeClassifier", {"max_depth": 2})
    expected = loaded.answer(loaded.bundle.golden["rows"])
    monkeypatch.setattr(type(loaded.fast_path), "answer", lambda *_: 1 / 0)
    assert loaded.answer_at_once(loaded.bundle.golden["rows"]) is None
    assert loaded.answer(loaded.bundle.golden["rows"]) == expected


def test_checks_that_compare_columns_are_asked_of_the_row() -> None:
    smaller = pa.Check(lambda rows: ~(rows["size"] > rows["number"]), name="size <= number")
    loaded = load("late", "DecisionTreeClassifier", {"max_depth": 2}, checks=[smaller])
    assert loaded.scoring == "the fast path"
    row = loaded.bundle.golden["rows"][1] | {"size": 3.0, "number": 3}
    assert loaded.answer_at_once([row]) == loaded.answer([row])
    assert loaded.answer_at_once([row | {"size": None}]), "a gap is not above anything"
    assert loaded.answer_at_once([row, row | {"size": 3.5}]) is None
    with pytest.raises(MlError, match="size <= number"):
        loaded.answer([row, row | {"size": 3.5}])


@pytest.mark.parametrize(
    "check",
    [
        lambda rows: rows["size"].rank() >= 0,
        lambda rows: rows["number"] == rows["number"].max(),
        lambda _: True,
    ],
    ids=["needs a column", "looks at other rows", "says nothing of a row"],
)
def test_a_check_that_needs_a_table_is_asked_of_one(check: Any) -> None:
    loaded = load("late", "DecisionTreeClassifier", {"max_depth": 2}, checks=[pa.Check(check, name="odd")])
    assert loaded.scoring == "pandas: the contract's check 'odd' needs a table"
