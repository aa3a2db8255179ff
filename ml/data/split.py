"""Which labelled rows can be learned from, and which of them are kept for the test."""

import hashlib

import pandas as pd

from ml.errors import MlError
from ml.project import Project

MAX_CLASSES_TOLD = 4


def split(labelled: pd.DataFrame, project: Project) -> dict[str, pd.DataFrame]:
    """Return the rows of ``train``, ``test`` and, with a ``validation_share``, ``validation``.

    ``hash``: the declared share of each class (of all rows in a regression), by a hash of seed and id.
    Ranking by a hash, rather than shuffling, keeps a row on its side when rows are added tomorrow (but for a
    few at the boundary): the champion has then not been trained on the rows it is judged on. ``group``: that
    share of the values of a column, whose rows stay together. ``time``: the latest rows are the test; those
    of one instant stay together, and rows in the gap before are left out. Raises ``MlError`` if a part would
    be empty.
    """
    test_share, held_out = project.split.test_share, project.split.held_out_share
    if project.split.kind == "time":
        when, gap = times(labelled, project), pd.Timedelta(days=project.split.gap_days)
        ordered = when.sort_values(ignore_index=True)
        first_out, first_test = (ordered[round(len(when) * (1 - share))] for share in (held_out, test_share))
        in_train, in_test = when < first_out - gap, when >= first_test
        in_validation = (when >= first_out) & (when < first_test - gap)
    else:
        ranked = _ranked(labelled, project, project.split.by)
        in_test = _within(ranked, test_share)
        in_validation = _within(ranked, held_out) & ~in_test
        in_train = ~in_test & ~in_validation
    parts = {"train": in_train, "test": in_test}
    if project.split.validation_share:
        parts["validation"] = in_validation
    found = {name: labelled[mask].reset_index(drop=True) for name, mask in parts.items()}
    for name, part in found.items():
        if part.empty:
            raise MlError(f"[split] of project.toml leaves no row for {name}: change its shares or gap_days")
    if set(found["train"][project.id]) & set(found["test"][project.id]):
        raise MlError(f"ids are in train and test: '{project.id}' must be unique in the contract")
    return found


def lowest(labelled: pd.DataFrame, project: Project, share: float) -> pd.Series:
    """Tell which rows have the lowest hashes: a share of those of each class (of all in a regression)."""
    return _within(_ranked(labelled, project), share)


Ranked = tuple[pd.Series, pd.Series]


def _ranked(labelled: pd.DataFrame, project: Project, by: str | None = None) -> Ranked:
    """Return each row's rank by the hash of its id in its class, or of its group; and out of how many."""
    column = by or project.id
    if column not in labelled:
        raise MlError(f"project.toml: split.by: no column '{column}' in the data")
    order = labelled[column].map(lambda key: hashlib.sha256(f"{project.seed}:{key}".encode()).hexdigest())
    if by:
        rank = order.rank(method="dense")
        return rank, pd.Series(rank.max(), index=rank.index)
    classes = labelled[project.target] if project.task == "classification" else order.map(lambda _: 0)
    return order.groupby(classes).rank(method="first"), order.groupby(classes).transform("size")


def _within(ranked: Ranked, share: float) -> pd.Series:
    rank, size = ranked
    return rank <= (size * share).round().clip(1)


def times(rows: pd.DataFrame, project: Project) -> pd.Series:
    """Return when each row was, in UTC; the column ``split.by`` holds times or ISO 8601 texts."""
    column = project.split.by
    if column not in rows:
        raise MlError(f"project.toml: split.by: no column '{column}' in the data")
    found = pd.to_datetime(rows[column], format="ISO8601", utc=True, errors="coerce")
    if found.isna().any():
        row = int(found.isna().to_numpy().argmax()) + 1
        raise MlError(f"column '{column}' has no ISO 8601 time in row {row}: [split] goes by it")
    return found.dt.tz_localize(None)


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
    if classes.min() * (1 - project.split.held_out_share) < needed:
        raise MlError(
            f"labelled table: class {classes.idxmin()!r} of '{project.target}' has {classes.min()} rows, "
            f"too few for {project.training.folds} folds and a test share of {project.split.test_share}"
        )
