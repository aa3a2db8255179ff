"""Inputs as numbers, for the small models of the monitor itself."""

from typing import Any

import pandas as pd

from ml.data.rows import is_number


def as_numbers(inputs: pd.DataFrame) -> Any:
    """Return an unfitted transformer: numbers scaled, the common categories one-hot, the rest left out."""
    from sklearn.compose import make_column_transformer
    from sklearn.impute import SimpleImputer
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

    numbers = [name for name in inputs if is_number(inputs[name])]
    texts = [name for name in inputs if name not in numbers]
    return make_column_transformer(
        (make_pipeline(SimpleImputer(keep_empty_features=True), StandardScaler()), numbers),
        (OneHotEncoder(max_categories=20, handle_unknown="infrequent_if_exist"), texts),
    )


def plain(inputs: pd.DataFrame, like: pd.DataFrame | None = None) -> pd.DataFrame:
    """Return inputs as numbers and texts alone, with the kinds of another table where one is given."""
    kinds = inputs if like is None else like
    return pd.DataFrame(
        {
            name: pd.to_numeric(inputs[name], errors="coerce").astype(float)
            if is_number(kinds[name])
            else inputs[name].astype(str)
            for name in inputs
        }
    )
