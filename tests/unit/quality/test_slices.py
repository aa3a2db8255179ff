"""Slices of a table."""

import pandas as pd
import pytest

from ml.errors import MlError
from ml.quality.slices import slice_rows
from ml.settings import Slices

ROWS = pd.DataFrame({"sex": ["f", "f", "m", "m", None, "f"], "age": [1.0, 30.0, 30.0, 70.0, None, 16.0]})


def names(slices: Slices) -> dict[str, int]:
    return {name: int(mask.sum()) for name, mask in slice_rows(ROWS, slices).items()}


def test_a_column_is_cut_by_its_values_and_missing_ones_are_a_slice() -> None:
    assert names(Slices(by=[["sex"]], min_rows=2)) == {"sex=f": 3, "sex=m": 2}
    table = pd.concat([ROWS, ROWS])
    assert slice_rows(table, Slices(by=[["sex"]], min_rows=2))["sex=missing"].sum() == 2


def test_numbers_are_cut_at_the_bins() -> None:
    found = names(Slices(by=[["age"]], bins={"age": [16, 60]}, min_rows=2))
    assert found == {"age 16 to 60": 3}


def test_columns_are_crossed() -> None:
    found = names(Slices(by=[["sex", "age"]], bins={"age": [16]}, min_rows=2))
    assert found == {"sex=f, age 16 to inf": 2, "sex=m, age 16 to inf": 2}


def test_an_unknown_column_is_named() -> None:
    with pytest.raises(MlError, match="gates.slices: no column 'height'"):
        slice_rows(ROWS, Slices(by=[["height"]]))
