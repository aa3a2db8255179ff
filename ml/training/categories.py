"""Categories with many values: thousands of one-hot columns would cost gigabytes and teach little."""

from collections.abc import Sequence

import pandas as pd
from sklearn.base import BaseEstimator
from sklearn.compose import ColumnTransformer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OrdinalEncoder, StandardScaler

from ml.data.giveaways import target_encoder
from ml.project import Project

UNKNOWN, MISSING = -1, -2


def count_many_valued(project: Project, features: pd.DataFrame) -> dict[str, int]:
    """Return the categories with more than ``features.max_categories`` different values, and how many."""
    counts = {name: int(features[name].nunique()) for name in project.features.categorical}
    return {name: count for name, count in counts.items() if count > project.features.max_categories}


def takes_categories(estimator: BaseEstimator) -> bool:
    """Say whether an estimator encodes categories by itself, as CatBoost does."""
    return type(estimator).__module__.startswith("catboost")


def with_many_valued(
    project: Project, columns: ColumnTransformer, estimator: BaseEstimator, many_valued: Sequence[str]
) -> tuple[ColumnTransformer, BaseEstimator]:
    """Return the transformer with one column more for each category, and the estimator that takes them.

    CatBoost gets their numbers and is told that they are categories: it encodes them itself. Any other gets
    the mean of the target for each value, shrunk to that of all rows and cross-fitted: Micci-Barreca, A
    preprocessing scheme for high-cardinality categorical attributes (2001), as scikit-learn has it.
    """
    if takes_categories(estimator):
        encoder = OrdinalEncoder(
            dtype=int,
            handle_unknown="use_encoded_value",
            unknown_value=UNKNOWN,
            encoded_missing_value=MISSING,
        )
        estimator.set_params(cat_features=tuple(f"many_valued__{name}" for name in many_valued))
    else:
        encoder = make_pipeline(target_encoder(project), StandardScaler())
    transformers = [*columns.transformers, ("many_valued", encoder, list(many_valued))]
    wider = ColumnTransformer(transformers)
    if takes_categories(estimator):
        wider.set_output(transform="pandas")
    return wider, estimator
