"""The folds in which candidates are compared."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from ml.data.split import by_hash, last_places, up_to
from ml.errors import MlError
from ml.project import Project, find_project
from ml.settings import Split
from ml.training.folds import make_folds, read_part

TITANIC = find_project("titanic")


def declared(**settings: Any) -> Project:
    return TITANIC.model_copy(
        update={"split": Split(test_share=0.3, **settings), "id": "row", "target": "late"}
    )


def rows(count: int = 600) -> pd.DataFrame:
    day = pd.Timestamp("2013-01-01") + pd.to_timedelta(range(count), unit="h")
    table = pd.DataFrame({"row": range(count), "when": day, "plane": [n % 37 for n in range(count)]})
    return table.assign(late=table["row"] % 2).sample(frac=1, random_state=1, ignore_index=True)


def test_folds_are_of_all_classes_and_predict_each_row_once() -> None:
    table = rows()
    folds = make_folds(declared(), table, table["late"])
    assert sorted(np.concatenate([predicted for _, predicted in folds])) == list(range(600))
    assert all(table["late"].iloc[predicted].mean() == 0.5 for _, predicted in folds)


def test_groups_stay_together() -> None:
    table = rows()
    for learned, predicted in make_folds(declared(kind="group", by="plane"), table, table["late"]):
        assert not set(table["plane"].iloc[learned]) & set(table["plane"].iloc[predicted])


def test_time_is_walked_forward_with_the_gap_between() -> None:
    table = rows()
    folds = make_folds(declared(kind="time", by="when", gap_days=1), table, table["late"])
    assert len(folds) == TITANIC.training.folds
    for learned, predicted in folds:
        between = table["when"].iloc[predicted].min() - table["when"].iloc[learned].max()
        assert between > pd.Timedelta(days=1)
    assert sum(len(predicted) for _, predicted in folds) == 500


def test_the_validation_rows_are_the_only_fold() -> None:
    table = rows()
    ((learned, predicted),) = make_folds(declared(validation_share=0.2), table, table["late"], 100)
    assert (len(learned), predicted[0], len(predicted)) == (500, 500, 100)


def test_a_fold_that_cannot_be_learned_is_told() -> None:
    table = rows().sort_values("when").assign(late=lambda one: (one["row"] > 300).astype(int))
    with pytest.raises(MlError, match="cannot be learned: before it and the gap lie 100 rows with 1 classes"):
        make_folds(declared(kind="time", by="when"), table, table["late"])
    with pytest.raises(MlError, match="has 2 groups in the training rows, too few for 5 folds"):
        make_folds(declared(kind="group", by="plane"), table.assign(plane=table["row"] % 2), table["late"])


def test_of_a_large_table_a_stable_sample_of_each_class_is_learned(tmp_path: Path) -> None:
    table = rows(4000).assign(late=lambda one: (one["row"] % 10 == 0).astype(int))
    table.to_parquet(tmp_path / "train.parquet", index=False)
    project = declared()
    assert len(read_part(project, tmp_path, "train")) == 4000
    sampled = project.model_copy(update={"training": project.training.model_copy(update={"max_rows": 1000})})
    learned = read_part(sampled, tmp_path, "train")
    placed = by_hash(table, sampled)
    assert len(learned) == 1000 and learned["late"].mean() == 0.1
    assert learned.equals(table[up_to(placed, last_places(placed, 0.25))].reset_index(drop=True))
