"""The folds in which candidates are compared: which rows are learned from, and which are then predicted."""

from itertools import pairwise
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
from sklearn.model_selection import GroupKFold, KFold, StratifiedGroupKFold, StratifiedKFold

from ml.data.divide import batches_of
from ml.data.split import by_hash, last_places, times, up_to
from ml.errors import MlError
from ml.project import Project

Folds = list[tuple[np.ndarray, np.ndarray]]


def read_part(project: Project, folder: Path, part: Literal["train", "test"]) -> pd.DataFrame:
    """Return the rows that a model is fitted on, or judged by: all, or ``training.max_rows`` of them.

    A sample has the rows with the lowest hashes of each class, so it is the same in every build. A larger
    file is never in memory as a whole.
    """
    file = folder / f"{part}.parquet"
    most, count = project.training.max_rows, pq.read_metadata(file).num_rows
    if most is None or count <= most:
        return pd.read_parquet(file)
    columns = list(dict.fromkeys([project.id, project.target]))
    placed = pd.concat([by_hash(one.to_pandas(), project) for one in batches_of(file, columns)])
    last = last_places(placed, most / count)
    batches = (one.to_pandas() for one in batches_of(file))
    chosen = [rows[up_to(by_hash(rows, project), last)] for rows in batches]
    found: pd.DataFrame = pd.concat(chosen, ignore_index=True)
    return found


def make_folds(project: Project, rows: pd.DataFrame, target: pd.Series, validation: int = 0) -> Folds:
    """Return the row numbers to learn from and to predict, of each fold.

    If the last ``validation`` rows are the validation part, they are the only fold. Otherwise the folds obey
    ``[split]``: groups stay together; in time each fold is learned from what was before it and the gap, and
    the first of ``training.folds`` + 1 stretches is never predicted (walk-forward: Hyndman & Athanasopoulos,
    Forecasting, section 5.10). Raises ``MlError`` if what a fold is learned from has no row or one class.
    """
    everything = np.arange(len(rows))
    if validation:
        return [(everything[:-validation], everything[-validation:])]
    count, shuffled = project.training.folds, {"shuffle": True, "random_state": project.seed}
    classes = project.task == "classification"
    if project.split.kind == "time":
        return _walk_forward(project, rows, target)
    if project.split.kind == "group":
        groups = rows[project.split.by].astype(str)
        if groups.nunique() < count:
            raise MlError(
                f"column '{project.split.by}' has {groups.nunique()} groups in the training rows, too few "
                f"for {count} folds: lower training.folds in project.toml"
            )
        kind = StratifiedGroupKFold if classes else GroupKFold
        return list(kind(count, **shuffled).split(rows, target, groups))
    return list((StratifiedKFold if classes else KFold)(count, **shuffled).split(rows, target))


def _walk_forward(project: Project, rows: pd.DataFrame, target: pd.Series) -> Folds:
    when = times(rows, project).to_numpy()
    gap = pd.Timedelta(days=project.split.gap_days).to_numpy()
    places = np.linspace(0, len(when), project.training.folds + 2).astype(int)[1:-1]
    starts = [*np.sort(when)[places], when.max() + np.timedelta64(1, "s")]
    folds = [
        (np.flatnonzero(when < start - gap), np.flatnonzero((when >= start) & (when < end)))
        for start, end in pairwise(starts)
    ]
    least = 2 if project.task == "classification" else 1
    for (learned, predicted), start in zip(folds, starts, strict=False):
        if not len(predicted) or target.iloc[learned].nunique() < least:
            raise MlError(
                f"the fold from {start} on cannot be learned: before it and the gap lie {len(learned)} rows "
                f"with {target.iloc[learned].nunique()} classes; lower training.folds or split.gap_days in "
                "project.toml"
            )
    return folds
