"""The grid of a new project: candidates that exist, few of them, deeper where there is more to learn from."""

import json
from pathlib import Path
from typing import Literal

import pytest

from ml.project import Project
from ml.training.default_grid import MANY, grid_text
from ml.training.grid import make_estimator, read_grid
from tests.world import SETTINGS


@pytest.mark.parametrize("rows", [0, MANY - 1, MANY])
@pytest.mark.parametrize("task", ["classification", "regression"])
def test_it_names_candidates_that_can_be_made(
    tmp_path: Path, task: Literal["classification", "regression"], rows: int
) -> None:
    project = Project.model_validate(SETTINGS | {"task": task})
    project._folder, project._name = tmp_path, "world"
    (tmp_path / "grid.json").write_text(grid_text(task, rows))
    candidates = read_grid(project)
    assert 4 <= len(candidates) <= 6
    for one in candidates:
        made = make_estimator(one, 0).get_params()
        assert all(made.get(name) == value for name, value in one.parameters.items()), one


def test_more_rows_are_learned_by_deeper_trees() -> None:
    few, many = (json.loads(grid_text("regression", rows))["CatBoostRegressor"] for rows in (MANY - 1, MANY))
    assert max(few["depth"]) < max(many["depth"])
