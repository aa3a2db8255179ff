"""What concerns all rows is found in their fingerprints, in memory and on disk."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from ml.data.row_index import RowIndex, fingerprints, index_rows
from ml.project import Project, find_project


@pytest.fixture(name="project")
def _project() -> Project:
    return find_project("titanic").model_copy(update={"id": "id", "target": "y"})


def table() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "id": [1, 2, 3, 4, 5],
            "name": ["a", None, "a", "a", "Ω"],
            "size": [1.0, np.nan, 1.0, 1.0, 2.0],
            "y": [0, 1, 0, 1, 0],
        }
    )


PARTS = np.array(["train", "train", "test", "test", "gap"])


@pytest.mark.parametrize("on_disk", [False, True])
def test_equal_rows_are_counted_and_the_first_named(project: Project, tmp_path: Path, on_disk: bool) -> None:
    rows = index_rows(table(), project, PARTS)
    file = tmp_path / "index [1]?.parquet"
    rows.to_parquet(file, index=False)
    index = RowIndex(file if on_disk else rows)
    repeated, shared = index.repeated(), index.shared()
    assert (repeated.count, repeated.of, repeated.rows) == (1, 5, (2,))
    assert (shared.count, shared.of, shared.rows) == (2, 2, (2, 3))


def test_changed_rows_are_those_of_a_known_id_with_other_content(project: Project) -> None:
    before = fingerprints(table(), project)
    now = table().assign(id=[1, 2, 3, 4, 9], size=[1.0, 7.0, 1.0, 1.0, 2.0])
    changed = RowIndex(index_rows(now, project, PARTS)).changed(before)
    assert (changed.count, changed.of, changed.rows) == (1, 4, (1,))


def test_the_index_has_the_fingerprints_of_the_rows(project: Project) -> None:
    rows = table().set_axis(range(7, 12), axis="index")
    index = index_rows(rows, project, PARTS)
    prints = fingerprints(rows, project).reset_index(drop=True)
    pd.testing.assert_frame_equal(index[["id", "content", "reading"]], prints)
    inputs = pd.util.hash_pandas_object(rows[["name", "size"]], index=False)
    assert index["inputs"].tolist() == inputs.tolist()
    assert index["row"].tolist() == [7, 8, 9, 10, 11]
