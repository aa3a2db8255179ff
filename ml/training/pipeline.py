"""The pipeline: from raw rows through the project's features to the estimator."""

from collections.abc import Sequence
from typing import Any

import pandas as pd
from sklearn.base import BaseEstimator
from sklearn.compose import ColumnTransformer
from sklearn.impute import SimpleImputer
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, StandardScaler

from ml.errors import MlError
from ml.project import Project
from ml.training.categories import with_many_valued
from ml.user_code import load_module


def build_pipeline(project: Project, estimator: BaseEstimator, many_valued: Sequence[str] = ()) -> Pipeline:
    """Return the unfitted pipeline: feature functions, filled gaps, scaling, one-hot columns, the estimator.

     Gaps are filled with the mean (numbers) or most frequent value (categories) of the rows it is fitted on
    . Categories that are ``many_valued`` are told to the estimator in another way than one-hot: see
     ``ml.training.categories``.
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
        rows = run_function(project, name, function, rows)
    missing = [name for name in project.features.columns if name not in rows]
    if missing:
        raise MlError(
            f"{project.folder / 'project.toml'}: features: no column '{missing[0]}' in the data, "
            "and no function of features.py makes it"
        )
    return rows[project.features.columns]


def run_function(project: Project, name: str, function: Any, rows: pd.DataFrame) -> pd.DataFrame:
    """Return what a function of ``features.py`` makes; ``MlError`` if it fails or returns other rows."""
    where = f"{project.folder / 'features.py'}: {name}"
    try:
        # A copy, so that a function that drops rows in place is found out by those that were there.
        made: pd.DataFrame = function(rows.copy(deep=False))
    except (Exception, SystemExit) as error:
        raise MlError(f"{where} fails on the data: {type(error).__name__}: {error}") from error
    if wrong := _other_rows(project, rows, made):
        raise MlError(
            f"{where} returns {wrong}: it must return the table with the same rows in the same order"
        )
    return made


def _other_rows(project: Project, rows: pd.DataFrame, made: Any) -> str:
    """Tell in words what was returned, if it is not the same rows in the same order."""
    if made is None:
        return "nothing"
    if not isinstance(made, pd.DataFrame):
        return f"a {type(made).__name__}"
    if len(made) != len(rows):
        return f"{len(made)} of {len(rows)} rows"
    named = [(rows.index, made.index)]
    if project.id in rows and project.id in made:
        named.append((pd.Index(rows[project.id]), pd.Index(made[project.id])))
    # The index may be a new one, so what tells of another order is that all of it is there, otherwise.
    moved = any(not after.equals(before) and set(after) == set(before) for before, after in named)
    return "the rows in another order" if moved else ""


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
