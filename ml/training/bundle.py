"""The model: a fitted pipeline that takes raw rows, and the signed folder it travels in."""

import io
import json
import pickle
import sys
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pandera.pandas as pa
from sklearn.pipeline import Pipeline

from ml.data.contract import load_contract
from ml.data.personal import made_up
from ml.data.request import request_contract
from ml.data.rows import records, typed_table
from ml.project import Project, load_project
from ml.records import ModelManifest, parse
from ml.registry import signing
from ml.registry.versions import Registry
from ml.training.pipeline import feature_functions


@dataclass(frozen=True)
class Bundle:
    """A verified model with its project's files, its golden predictions and its manifest."""

    project: Project
    pipeline: Pipeline
    contract: pa.DataFrameSchema
    golden: dict[str, Any]
    manifest: ModelManifest

    @cached_property
    def request_contract(self) -> pa.DataFrameSchema:
        """The contract of rows to predict for."""
        return request_contract(self.contract, self.project.target)

    @property
    def sha256(self) -> str:
        """The sha256 of ``model.pkl``."""
        return self.manifest.outputs["model.pkl"]

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


class _Pickler(pickle._Pickler):
    """Write equal texts and equal types of numbers as one object, however many stand for them here.

    What was once unpickled in this process has texts and a ``dtype`` of its own, which classes and caches
    hand on to others: a process that had loaded a model would train one of other bytes.
    """

    def save(self, obj: Any, save_persistent_id: bool = True) -> None:
        if type(obj) is str:
            obj = sys.intern(obj)
        elif isinstance(obj, np.dtype) and obj.kind in "biufcO":
            obj = np.dtype(obj.str)
        super().save(obj, save_persistent_id)  # type: ignore[misc]  # typeshed does not know it

    def memoize(self, obj: Any) -> None:
        # The content of all empty arrays, or of equal bytes, is one object: CPython's own fails at a second.
        if id(obj) not in self.memo:  # type: ignore[attr-defined]
            super().memoize(obj)  # type: ignore[misc]


def pickled(pipeline: Pipeline) -> bytes:
    """Return a fitted pipeline as bytes, which are equal for equal pipelines."""
    file = io.BytesIO()
    _Pickler(file, protocol=5).dump(pipeline)
    return file.getvalue()


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


def predict_rows(pipeline: Pipeline, project: Project, rows: pd.DataFrame) -> list[dict[str, Any]]:
    """Return the answers of ``predict`` as JSON objects."""
    columns = predict_columns(pipeline, project, rows)
    values = zip(*(column.tolist() for column in columns.values()), strict=True)
    return [dict(zip(columns, row, strict=True)) for row in values]


def answer_numbers(project: Project, answers: pd.DataFrame) -> list[str]:
    """Return the columns of answers that hold numbers: probabilities, or what a regression says."""
    if project.task == "regression":
        return ["prediction"]
    return [str(name) for name in answers if str(name).startswith("probability_")]


def largest_difference(one: pd.DataFrame, other: pd.DataFrame, project: Project) -> float:
    """Return the largest difference of two tables of answers; a changed class or id counts as infinite.

    Of a regression it is a share of the largest prediction in the first table: numbers may be of any size.
    """
    numbers = answer_numbers(project, one)
    exact = [name for name in one if name not in numbers]
    if list(one) != list(other) or not one[exact].equals(other[exact].astype(one[exact].dtypes)):
        return float("inf")
    before, after = one[numbers].to_numpy(float), other[numbers].to_numpy(float)
    size = np.abs(before).max(initial=0.0) if project.task == "regression" else 1.0
    difference = np.abs(before - after) / (size or 1.0)
    return float("inf") if np.isnan(difference).any() else float(difference.max(initial=0.0))


def load_bundle(folder: Path) -> Bundle:
    """Load the model of a build after verifying its signature; anything unsigned raises ``MlError``."""
    return _load(folder, signing.verify(folder / "manifest.json", signing.build_keys("train")))


def load_version(registry: Registry, version: int) -> Bundle:
    """Load the model of a registered version after verifying the whole version, or raise ``MlError``."""
    trusted, folder = registry.read(version), registry.folder(version)
    manifest = signing.read_covered(folder, ModelManifest.path, trusted.outputs)
    return _load(folder / "model", json.loads(manifest))


def _load(folder: Path, content: dict[str, Any]) -> Bundle:
    """Run the very bytes that a trusted manifest covers: a file exchanged meanwhile is refused."""
    manifest = parse(ModelManifest, content, str(folder / "manifest.json"))
    covered = manifest.outputs
    names = [name for name in covered if name.startswith("project/")]
    files = {Path(name).name: signing.read_covered(folder, name, covered) for name in names}
    project = load_project(folder / "project", manifest.project, files)
    feature_functions(project)  # the pickle refers to this module
    pipeline = signing.unpickle(folder, "model.pkl", covered)
    golden = json.loads(signing.read_covered(folder, "golden.json", covered))
    return Bundle(project, pipeline, load_contract(project), golden, manifest)
