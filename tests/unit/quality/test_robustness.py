"""Damage: as much as was asked for, where it was asked for, and the same each time."""

import numpy as np
import pandas as pd
import pytest

from ml.project import find_project
from ml.quality.robustness import DAMAGES

PROJECT = find_project("titanic")
ROWS = pd.read_csv(PROJECT.folder / "data" / "test.csv")


def damaged(name: str, strength: float) -> pd.DataFrame:
    return DAMAGES[name](PROJECT, ROWS, strength, np.random.default_rng(1))


@pytest.mark.parametrize("name", DAMAGES)
def test_damage_keeps_rows_and_columns_and_can_be_repeated(name: str) -> None:
    before = ROWS.copy()
    once = damaged(name, 0.2)
    assert list(once) == list(ROWS) and len(once) == len(ROWS)
    pd.testing.assert_frame_equal(once, damaged(name, 0.2))
    pd.testing.assert_frame_equal(ROWS, before)
    assert not once.equals(ROWS)


@pytest.mark.parametrize(
    ("name", "column"), [("missing values", "Fare"), ("units", "Fare"), ("text", "Name"), ("text", "Sex")]
)
def test_about_the_share_that_was_asked_for_is_damaged(name: str, column: str) -> None:
    changed = ROWS[column].notna() & (damaged(name, 0.2)[column] != ROWS[column])
    assert changed.mean() == pytest.approx(0.2, abs=0.06)


def test_noise_is_in_units_of_the_column() -> None:
    noise = damaged("noise", 0.1)["Fare"] - ROWS["Fare"]
    assert noise.std() == pytest.approx(0.1 * ROWS["Fare"].std(), rel=0.15)
    assert damaged("noise", 0.1)["Pclass"].equals(ROWS["Pclass"]), "a class is no measurement"


def test_swapped_categories_are_categories_of_the_column() -> None:
    assert set(damaged("swapped categories", 0.5)["Sex"]) == {"female", "male"}
