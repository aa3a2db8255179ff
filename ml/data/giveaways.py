"""Columns that give the target away, told by a small model that looks at one column."""

import numpy as np
import pandas as pd
from pandas.api import types
from sklearn.impute import SimpleImputer
from sklearn.model_selection import KFold, StratifiedKFold, cross_val_score
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import TargetEncoder
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

from ml.errors import GateRefused
from ml.project import Project

MAX_LEAVES = 16


def target_encoder(project: Project) -> TargetEncoder:
    """Return what replaces a value by the mean target of its rows, cross-fitted in five shuffled folds."""
    classify = project.task == "classification"
    folds = (StratifiedKFold if classify else KFold)(5, shuffle=True, random_state=project.seed)
    # By itself it takes whole numbers for classes.
    return TargetEncoder(target_type="auto" if classify else "continuous", cv=folds)


def one_column(project: Project, column: pd.Series) -> Pipeline:
    """Return the unfitted small tree that sees one column; texts are encoded by the target (out of fold)."""
    tree = DecisionTreeClassifier if project.task == "classification" else DecisionTreeRegressor
    if types.is_numeric_dtype(column):
        encoder = SimpleImputer(strategy="median", keep_empty_features=True)
    else:
        encoder = target_encoder(project)
    estimator = tree(max_leaf_nodes=MAX_LEAVES, random_state=project.seed)
    return make_pipeline(encoder, estimator)


def giveaways(project: Project, rows: pd.DataFrame, target: pd.Series) -> dict[str, float]:
    """Return how well each column alone tells the target: cross-validated ROC AUC, or R² of a regression.

    A column that comes near 1 was most likely written after the target was known.
    """
    if project.task == "regression":
        scoring = "r2"
    else:
        scoring = "roc_auc" if target.nunique() == 2 else "roc_auc_ovr"
    kind = KFold if project.task == "regression" else StratifiedKFold
    # The rows may be sorted.
    folds = list(kind(3, shuffle=True, random_state=project.seed).split(rows, target))
    found = {}
    for name, column in rows.items():
        # As arrays: of a small table, looking at data frames again and again would take most of the time.
        if types.is_numeric_dtype(column):
            values = column.to_numpy(float, na_value=np.nan)
        else:
            values = column.astype(object).where(column.notna(), "").to_numpy()
        tree = one_column(project, column)
        scores = cross_val_score(tree, values.reshape(-1, 1), target, cv=folds, scoring=scoring)
        found[str(name)] = float(np.mean(scores))
    return found


def check_made(project: Project, rows: pd.DataFrame, features: pd.DataFrame, target: pd.Series) -> None:
    """Judge the features that functions make as the data stage judges raw columns; else ``GateRefused``."""
    if (most := project.data_gates.max_feature_score) is None:
        return
    made = [name for name in features if name not in rows or not features[name].equals(rows[name])]
    problems = [
        f"feature '{name}' alone gives the target away ({score:.4g} is more than {most:g}): was it known "
        "before?"
        for name, score in giveaways(project, features[made], target).items()
        if score > most
    ]
    if problems:
        raise GateRefused(
            f"{'; '.join(problems)} (if this is right, change data_gates.max_feature_score in "
            f"{project.folder / 'project.toml'})"
        )
