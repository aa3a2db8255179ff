"""The candidates of ``grid.json``: estimators and parameters by scikit-learn's and catboost's own names."""

import importlib
import inspect
from dataclasses import dataclass
from typing import Any

from sklearn.base import BaseEstimator, is_classifier, is_regressor
from sklearn.model_selection import ParameterGrid

from ml.errors import MlError
from ml.files import read_json
from ml.project import Project
from ml.training.numbered_classes import NumberedClasses

MODULES = (
    "sklearn.linear_model",
    "sklearn.tree",
    "sklearn.ensemble",
    "sklearn.neighbors",
    "sklearn.svm",
    "sklearn.naive_bayes",
    "sklearn.neural_network",
    "sklearn.discriminant_analysis",
    "sklearn.dummy",
    "catboost",
)
# Taken where their packages are installed; they are not in the lock.
OPTIONAL = {"XGB": "xgboost", "LGBM": "lightgbm"}

# What those modules have and no project can use: it learns something else than one target of single rows.
UNFIT = {
    "CatBoost": "does not say its task: name CatBoostClassifier or CatBoostRegressor",
    "CatBoostRanker": "ranks rows in groups, which a project does not have",
    "MultiTaskElasticNet": "learns several targets at once: name ElasticNet",
    "MultiTaskElasticNetCV": "learns several targets at once: name ElasticNetCV",
    "MultiTaskLasso": "learns several targets at once: name Lasso",
    "MultiTaskLassoCV": "learns several targets at once: name LassoCV",
}


@dataclass(frozen=True)
class EstimatorChoice:
    """One estimator with one choice of parameters."""

    estimator: str
    parameters: dict[str, Any]

    def __str__(self) -> str:
        """Read like the constructor call."""
        return f"{self.estimator}({', '.join(f'{key}={value!r}' for key, value in self.parameters.items())})"


def read_grid(project: Project) -> list[EstimatorChoice]:
    """Return every candidate of the project's ``grid.json``, in its order.

    Raises ``MlError`` for a missing file, an estimator that does not exist or does not fit the task, a
    parameter the estimator lacks, and a parameter that is not a list of values.
    """
    file = project.folder / "grid.json"
    if not file.exists():
        raise MlError(f"{file} is missing: it names the candidate estimators and their parameters")
    candidates = []
    for name, grid in read_json(file).items():
        if not isinstance(grid, dict):
            raise MlError(f"{file}: {name}: expected an object of parameters, got {grid!r:.60}")
        found = _estimator_class(name, str(file))
        if reason := unfit(found, project.task):
            raise MlError(f"{file}: '{name}' {reason}")
        allowed = _parameters(found)
        for parameter, values in grid.items():
            if parameter not in allowed:
                raise MlError(f"{file}: {name} has no parameter '{parameter}'")
            if not isinstance(values, list) or not values:
                raise MlError(f"{file}: {name}.{parameter}: expected a list of values, got {values!r:.60}")
        candidates += [EstimatorChoice(name, parameters) for parameters in ParameterGrid(grid)]
    if not candidates:
        raise MlError(f"{file}: names no candidate")
    return candidates


def make_estimator(candidate: EstimatorChoice, seed: int) -> BaseEstimator:
    """Return the unfitted estimator: seeded, on one thread (the search uses the cores), silent."""
    found = _estimator_class(candidate.estimator, "grid.json")
    settings: dict[str, Any] = {}
    if "random_state" in _parameters(found):
        settings["random_state"] = seed
    if found.__module__.startswith("catboost"):
        settings |= {"thread_count": 1, "verbose": False, "allow_writing_files": False}
    elif found.__module__.startswith(tuple(OPTIONAL.values())):
        settings |= {"n_jobs": 1} | ({"verbosity": -1} if candidate.estimator.startswith("LGBM") else {})
    estimator = found(**(settings | candidate.parameters))
    numbered = candidate.estimator.startswith("XGB") and is_classifier(estimator)
    return NumberedClasses(estimator) if numbered else estimator


def _parameters(found: Any) -> set[str]:
    """Return the parameters of an estimator; one that hides some behind ``**kwargs`` tells them itself."""
    return {*inspect.signature(found).parameters, *found().get_params()}


def _estimator_class(name: str, file: str) -> Any:
    optional = [module for start, module in OPTIONAL.items() if name.startswith(start)]
    for module in optional or MODULES:
        try:
            found = getattr(importlib.import_module(module), name, None)
        except ImportError as error:
            if optional:
                raise MlError(
                    f"{file}: {name} needs the package {module}, which is not installed: put it into "
                    "requirements.in and run `make lock`"
                ) from error
            raise MlError(f"{file}: {name}: {error}: install requirements.txt anew") from error
        if inspect.isclass(found):
            return found
    raise MlError(f"{file}: '{name}' is no estimator of scikit-learn or catboost")


def unfit(found: type, task: str) -> str:
    """Return why a class of ``MODULES`` can be no candidate for a task; nothing if it can."""
    if reason := UNFIT.get(found.__name__):
        return reason
    if hasattr(found, "fit") and hasattr(found, "predict"):
        parameters = inspect.signature(found).parameters.values()
        single = [one for one in parameters if one.kind not in (one.VAR_POSITIONAL, one.VAR_KEYWORD)]
        if needed := [one.name for one in single if one.default is one.empty]:
            return f"is built around another estimator ('{needed[0]}'), which a grid cannot name"
        if is_classifier(found()) if task == "classification" else is_regressor(found()):
            return ""
    return f"is no {task} estimator of scikit-learn or catboost"
