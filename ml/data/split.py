"""Which labelled rows can be learned from, and which of them are kept for the test."""

import hashlib

import pandas as pd

from ml.errors import MlError
from ml.project import Project

MAX_CLASSES_TOLD = 4


def split(labelled: pd.DataFrame, project: Project) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return train and test rows: ``test_share`` of each class (of all rows in a regression), by hashed id.

    Ranking by a hash of seed and id, rather than shuffling, keeps a row on its side when rows are added
    tomorrow (but for a few at the boundary): the champion has then not been trained on the rows it is
    judged on.
    """
    order = labelled[project.id].map(lambda key: hashlib.sha256(f"{project.seed}:{key}".encode()).hexdigest())
    classes = labelled[project.target] if project.task == "classification" else order.map(lambda _: 0)
    rank = order.groupby(classes).rank(method="first")
    size = order.groupby(classes).transform("size")
    in_test = rank <= (size * project.split.test_share).round().clip(1)
    train, test = labelled[~in_test], labelled[in_test]
    shared = set(train[project.id]) & set(test[project.id])
    if shared:
        raise MlError(
            f"{len(shared)} ids are in train and test: '{project.id}' must be unique in the contract"
        )
    return train.reset_index(drop=True), test.reset_index(drop=True)


def check_rows(labelled: pd.DataFrame, project: Project) -> None:
    """Raise ``MlError`` for rows that nothing can be learned from: an id twice, too few rows of a class."""
    if labelled[project.id].duplicated().any():
        twice = labelled[project.id][labelled[project.id].duplicated()].iloc[0]
        raise MlError(f"labelled table: id {twice!r} stands there twice; '{project.id}' must name each row")
    classes = labelled[project.target].value_counts()
    if len(classes) < 2:
        raise MlError(
            f"labelled table: the target '{project.target}' has one class only: a model needs two to learn"
        )
    if project.task == "regression":
        return
    if project.positive is not None and (len(classes) != 2 or project.positive not in classes.index):
        known = ", ".join(str(one) for one in sorted(classes.index)[:MAX_CLASSES_TOLD])
        raise MlError(
            f"project.toml: positive = {project.positive!r} must be one of two classes of '{project.target}'"
            f", which has {len(classes)}: {known}"
        )
    needed = project.training.folds + 1
    if classes.min() * (1 - project.split.test_share) < needed:
        raise MlError(
            f"labelled table: class {classes.idxmin()!r} of '{project.target}' has {classes.min()} rows, "
            f"too few for {project.training.folds} folds and a test share of {project.split.test_share}"
        )
