"""The model: one scikit-learn pipeline that takes raw rows, and the signed folder it travels in."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pandera.pandas as pa
from sklearn.base import BaseEstimator
from sklearn.compose import ColumnTransformer
from sklearn.impute import SimpleImputer
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, StandardScaler

from ml.categories import with_many_valued
from ml.data.contract import load_contract
from ml.data.personal import made_up
from ml.data.request import request_contract
from ml.data.rows import records, typed_table
from ml.errors import MlError
from ml.project import Project, load_project
from ml.registry import signing
from ml.registry.versions import Registry
from ml.user_code import load_module


@dataclass(frozen=True)
class Bundle:
    """A verified model with its project's files, its golden predictions and its manifest."""

    project: Project
    pipeline: Pipeline
    contract: pa.DataFrameSchema
    golden: dict[str, Any]
    manifest: dict[str, Any]

    @cached_property
    def request_contract(self) -> pa.DataFrameSchema:
        """The contract of rows to predict for."""
        return request_contract(self.contract, self.project.target)

    @property
    def sha256(self) -> str:
        """The sha256 of ``model.pkl``."""
        return str(self.manifest["outputs"]["model.pkl"])

    def predict(self, rows: pd.DataFrame) -> pd.DataFrame:
        """Return id, ``prediction`` and ``probability_<class>`` of each row, in the order of the rows."""
        return predict(self.pipeline, self.project, rows)

    def replay_golden(self) -> float:
        """Predict the golden rows again; return the largest difference from what the training process got.

        A changed class counts as infinite.
        """
        rows = typed_table(self.golden["rows"], self.request_contract)
        now, then = self.predict(rows), pd.DataFrame(self.golden["predictions"])
        return largest_difference(now, then, self.project)


def build_pipeline(project: Project, estimator: BaseEstimator, many_valued: Sequence[str] = ()) -> Pipeline:
    """Return the unfitted pipeline: feature functions, filled gaps, scaling, one-hot columns, the estimator.

    Gaps are filled with the mean (numbers) or most frequent value (categories) of the rows it is fitted on
    (R2). Categories that are ``many_valued`` are told to the estimator in another way than one-hot: see
    ``ml.categories``.
    """
    steps: list[tuple[str, Any]] = [
        (name, FunctionTransformer(function)) for name, function in feature_functions(project)
    ]
    numbers = make_pipeline(SimpleImputer(strategy="mean"), StandardScaler())
    categories = make_pipeline(
        SimpleImputer(strategy="most_frequent"), OneHotEncoder(handle_unknown="ignore", sparse_output=False)
    )
    few_valued = [name for name in project.features.categorical if name not in many_valued]
    columns = ColumnTransformer(
        [
            ("numeric", numbers, project.features.numeric),
            ("categorical", categories, few_valued),
        ]
    )
    if many_valued:
        columns, estimator = with_many_valued(project, columns, estimator, many_valued)
    return Pipeline([*steps, ("columns", columns), ("estimator", estimator)])


def feature_table(project: Project, rows: pd.DataFrame) -> pd.DataFrame:
    """Return the feature columns of raw rows, before gaps are filled; a missing one raises ``MlError``."""
    for name, function in feature_functions(project):
        try:
            rows = function(rows)
        except Exception as error:
            raise MlError(
                f"{project.folder / 'features.py'}: {name} fails on the data: {type(error).__name__}: {error}"
            ) from error
    missing = [name for name in project.features.columns if name not in rows]
    if missing:
        raise MlError(
            f"{project.folder / 'project.toml'}: features: no column '{missing[0]}' in the data, "
            "and no function of features.py makes it"
        )
    return rows[project.features.columns]


def feature_functions(project: Project) -> list[tuple[str, Any]]:
    """Return the functions of ``features.py`` that the project names, in its order."""
    file = project.folder / "features.py"
    if not project.features.functions:
        return []
    code = project.content(file.name)
    if code is None:
        raise MlError(f"{file} is missing, and project.toml names functions of it")
    module = load_module(file, code)
    for name in project.features.functions:
        if not callable(getattr(module, name, None)):
            raise MlError(f"{file}: has no function '{name}', which project.toml names")
    return [(name, getattr(module, name)) for name in project.features.functions]


def golden_predictions(
    pipeline: Pipeline, project: Project, rows: pd.DataFrame, count: int = 20
) -> dict[str, Any]:
    """Return ``count`` rows spread over the table, with this process's predictions, for JSON.

    They travel with the model, so values of personal columns are replaced by the contract's examples.
    """
    chosen = rows.iloc[np.unique(np.linspace(0, len(rows) - 1, count).astype(int))]
    chosen = made_up(chosen, project, load_contract(project))
    return {"rows": records(chosen), "predictions": records(predict(pipeline, project, chosen))}


def predict(pipeline: Pipeline, project: Project, rows: pd.DataFrame) -> pd.DataFrame:
    """Return id, ``prediction`` and ``probability_<class>`` of each row, in the order of the rows."""
    return pd.DataFrame(predict_columns(pipeline, project, rows))


def predict_columns(pipeline: Pipeline, project: Project, rows: pd.DataFrame) -> dict[str, np.ndarray]:
    """Return the columns of ``predict`` as arrays: a table costs more than a single row's prediction."""
    features, estimator = pipeline[:-1].transform(rows), pipeline[-1]
    answers = {project.id: rows[project.id].to_numpy()}
    answers["prediction"] = np.ravel(estimator.predict(features))  # catboost gives a column for many classes
    if hasattr(estimator, "predict_proba"):
        for label, column in zip(estimator.classes_, estimator.predict_proba(features).T, strict=True):
            answers[f"probability_{label}"] = column
    return answers


def answer_numbers(project: Project, answers: pd.DataFrame) -> list[str]:
    """Return the columns of answers that hold numbers: probabilities, or what a regression says."""
    if project.task == "regression":
        return ["prediction"]
    return [name for name in answers if str(name).startswith("probability_")]


def largest_difference(one: pd.DataFrame, other: pd.DataFrame, project: Project) -> float:
    """Return the largest difference of two tables of answers; a changed class or id counts as infinite."""
    numbers = answer_numbers(project, one)
    exact = [name for name in one if name not in numbers]
    if list(one) != list(other) or not one[exact].equals(other[exact].astype(one[exact].dtypes)):
        return float("inf")
    difference = np.abs(one[numbers].to_numpy(float) - other[numbers].to_numpy(float))
    return float("inf") if np.isnan(difference).any() else float(difference.max(initial=0.0))


def load_bundle(folder: Path) -> Bundle:
    """Load the model of a build after verifying its signature; anything unsigned raises ``MlError``."""
    return _load(folder, signing.verify(folder / "manifest.json", signing.build_keys("train")))


def load_version(registry: Registry, version: int) -> Bundle:
    """Load the model of a registered version after verifying the whole version, or raise ``MlError``."""
    trusted, folder = registry.read(version), registry.folder(version)
    return _load(folder / "model", json.loads(signing.read_covered(folder, "model/manifest.json", trusted)))


def _load(folder: Path, manifest: dict[str, Any]) -> Bundle:
    """Run the very bytes that a trusted manifest covers: a file exchanged meanwhile is refused."""
    names = [name for name in manifest["outputs"] if name.startswith("project/")]
    files = {Path(name).name: signing.read_covered(folder, name, manifest) for name in names}
    project = load_project(folder / "project", manifest["project"], files)
    feature_functions(project)  # the pickle refers to this module
    pipeline = signing.unpickle(folder, "model.pkl", manifest)
    golden = json.loads(signing.read_covered(folder, "golden.json", manifest))
    return Bundle(project, pipeline, load_contract(project), golden, manifest)
