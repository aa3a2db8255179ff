"""How far back a model learns: from all rows while the world is the same, from the newest if it changed."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from ml.errors import MlError
from ml.project import Project
from ml.training.grid import EstimatorChoice
from ml.training.window import choose_window, newest
from tests.world import SETTINGS, World

CHOICE = EstimatorChoice("LogisticRegression", {"C": 1.0})


def project(tmp_path: Path, **training: Any) -> Project:
    """Return a project of the world, split by time, whose test are four days."""
    split = {"kind": "time", "by": "when", "test_share": 0.2, "max_test_days": 4.0, "gap_days": 0.5}
    own = {"features": {"numeric": ["size", "age"], "categorical": ["kind"]}, "split": split}
    made = Project.model_validate(SETTINGS | own | {"training": {"metric": "roc_auc", **training}})
    made._folder, made._name = tmp_path, "world"
    (tmp_path / "features.py").write_text("")
    return made


def rows(changed: float) -> tuple[pd.DataFrame, pd.Series]:
    """Return rows of forty days, in which the world has another rule from a day on."""
    world, days = World(3), np.sort(np.random.default_rng(3).uniform(0, 40, 4000))
    table = world.inputs(days)
    chance = np.where(days < changed, world.chance(table), world.chance(table, concept=True))
    truth = pd.Series((world.random.random(len(days)) < chance).astype(int), name="answer")
    when = pd.Timestamp("2025-01-01") + pd.to_timedelta(days, unit="D")
    return table.assign(
        when=pd.Series(when).dt.strftime("%Y-%m-%dT%H:%M:%SZ"), number=range(len(days))
    ), truth


def test_the_newest_rows_are_learned_from_where_the_world_changed(tmp_path: Path) -> None:
    made = project(tmp_path, windows_days=[8.0, 0.001])
    table, truth = rows(changed=30)
    window, scores = choose_window(made, CHOICE, table, truth)
    assert window is not None and 7 < window < 11
    assert list(scores) == ["all", "8 days", "since the change"], "a few seconds have too few rows"
    assert scores["8 days"] > scores["all"] + 0.05
    learned = newest(made, table, window)
    assert 700 < len(learned) < 1100 and learned["when"].min() > "2025-01-30T12"


@pytest.mark.parametrize("estimator", ["LogisticRegression", "RidgeClassifier"])
def test_the_day_of_a_change_is_found(tmp_path: Path, estimator: str) -> None:
    """Nobody declared a window of that length; a model without probabilities tells it by its errors."""
    table, truth = rows(changed=24)
    window, scores = choose_window(
        project(tmp_path, windows_days=[1.5]), EstimatorChoice(estimator, {}), table, truth
    )
    assert max(scores, key=lambda name: scores[name]) == "since the change", scores
    assert window == pytest.approx(40 - 24, abs=0.7)


def test_the_day_of_a_change_of_numbers_is_found(tmp_path: Path) -> None:
    table, _ = rows(changed=99)
    late = table["when"] >= "2025-01-26"
    truth = pd.Series(np.where(late, -table["size"], table["size"]), name="answer")
    made = project(tmp_path, windows_days=[0.001], metric="r2").model_copy(update={"task": "regression"})
    window, scores = choose_window(made, EstimatorChoice("LinearRegression", {}), table, truth)
    assert scores["since the change"] > 0.99 > scores["all"]
    assert window == pytest.approx(15, abs=0.2)


def test_all_rows_are_learned_from_where_nothing_says_otherwise(tmp_path: Path) -> None:
    table, truth = rows(changed=99)
    assert choose_window(project(tmp_path), CHOICE, table, truth) == (None, {})
    made = project(tmp_path, windows_days=[2.0])
    assert choose_window(made, CHOICE, table, truth)[0] is None
    assert choose_window(made, CHOICE, table.head(150), truth.head(150)) == (None, {})
    assert len(newest(made, table, None)) == len(table)


def test_a_window_needs_a_time(tmp_path: Path) -> None:
    made = project(tmp_path, windows_days=[2.0])
    other = made.model_copy(update={"split": made.split.model_copy(update={"kind": "hash"})})
    with pytest.raises(MlError, match="windows_days needs"):
        choose_window(other, CHOICE, *rows(99))
