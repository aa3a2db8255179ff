"""Which labelled rows can be learned from, and which of them are kept for the test."""

import functools
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from pandas.api import types

from ml.data.row_index import Rows, asking, quoted
from ml.errors import MlError
from ml.project import Project

MAX_CLASSES_TOLD = 4
LEFT_OUT = "gap"
BEGINNING = "('0x' || sha256($1 || key::VARCHAR)[:16])::UBIGINT"  # of a hash, as a number
PLACE, KIND = "place", "kind"  # the columns that a split goes by


def split(labelled: pd.DataFrame, project: Project) -> dict[str, pd.DataFrame]:
    """Return the rows of ``train``, ``test`` and, with a ``validation_share``, ``validation``.

    ``hash``: the declared share of each class (of all rows in a regression), by a hash of seed and id.
    Ranking by a hash, rather than shuffling, keeps a row on its side when rows are added tomorrow (but for a
    few at the boundary): the champion has then not been trained on the rows it is judged on. ``group``: that
    share of the values of a column, whose rows stay together. ``time``: the latest rows are the test; those
    of one instant stay together, and rows in the gap before are left out. Raises ``MlError`` if a part would
    be empty.
    """
    placed = places(labelled, project)
    part = boundaries(placed, project).parts(placed)
    found = {name: labelled[part == name].reset_index(drop=True) for name in part_names(project)}
    check_parts({name: len(rows) for name, rows in found.items()})
    if set(found["train"][project.id]) & set(found["test"][project.id]):
        raise MlError(f"ids are in train and test: '{project.id}' must be unique in the contract")
    return found


def part_names(project: Project) -> tuple[str, ...]:
    """Return the names of the parts that the labelled rows are divided into."""
    return ("train", "test", "validation") if project.split.validation_share else ("train", "test")


def check_parts(rows: dict[str, int]) -> None:
    """Raise ``MlError`` for a part without rows."""
    for name, count in rows.items():
        if not count:
            raise MlError(f"[split] of project.toml leaves no row for {name}: change its shares or gap_days")


def placed_by(project: Project) -> list[str]:
    """Return the columns that a split goes by."""
    return list(dict.fromkeys([project.split.by or project.id, project.target]))


def places(labelled: pd.DataFrame, project: Project) -> pd.DataFrame:
    """Return for each row its ``place`` in the order that a split goes by, and in which ``kind`` of rows.

    The place is the beginning of a hash, or an instant in nanoseconds; each kind, a class, is divided by
    itself.
    """
    if project.split.kind == "time":
        return pd.DataFrame({PLACE: _nanoseconds(times(labelled, project)), KIND: 0})
    if project.split.kind == "group":
        return pd.DataFrame({PLACE: _hashed(labelled, project, str(project.split.by)), KIND: 0})
    return by_hash(labelled, project)


def by_hash(rows: pd.DataFrame, project: Project) -> pd.DataFrame:
    """Return the places of rows by a hash of seed and id, each class (all in a regression) by itself."""
    kind = rows[project.target].array if project.task == "classification" else 0
    return pd.DataFrame({PLACE: _hashed(rows, project, project.id), KIND: kind})


def _nanoseconds(when: pd.Series) -> pd.Series:
    found: pd.Series = when.dt.as_unit("ns").astype("int64")
    return found


def _hashed(rows: pd.DataFrame, project: Project, column: str) -> np.ndarray:
    if column not in rows:
        raise MlError(f"project.toml: split.by: no column '{column}' in the data")
    keys = rows[column]
    # As people write it; whole numbers DuckDB writes so by itself.
    if not types.is_integer_dtype(keys.dtype) or types.is_extension_array_dtype(keys.dtype):
        keys = keys.astype(object).map(str).astype("str")
    with asking(rows=pd.DataFrame({"key": keys.array})) as asked:
        hashed = asked.execute(f"SELECT {BEGINNING} AS place FROM rows", [f"{project.seed}:"])
        return np.asarray(hashed.fetchnumpy()["place"])


@dataclass(frozen=True)
class Boundaries:
    """Up to which place a row is for the test, and up to which it is held out; in time from which on."""

    project: Project
    test: dict[Any, Any]
    held_out: dict[Any, Any]

    def parts(self, placed: pd.DataFrame) -> np.ndarray:
        """Return the name of each row's part, ``gap`` for one that is left out."""
        declared = self.project.split
        if declared.kind == "time":
            when, gap = placed[PLACE].to_numpy(), pd.Timedelta(days=declared.gap_days).value
            first_test, first_out = self.test[0], self.held_out[0]
            in_test, in_train = when >= first_test, when < first_out - gap
            in_validation = (when >= first_out) & (when < first_test - gap)
        else:
            in_test, in_train = up_to(placed, self.test), ~up_to(placed, self.held_out)
            in_validation = ~in_test & ~in_train
        choices = {"train": in_train, "test": in_test, "validation": in_validation}
        names = list(part_names(self.project))
        return np.select([choices[name] for name in names], names, LEFT_OUT)


def up_to(placed: pd.DataFrame, last: dict[Any, Any]) -> np.ndarray:
    """Tell which rows stand at the last place of their kind, or before it."""
    ends = placed[KIND].map(last).to_numpy(dtype="uint64") if len(last) > 1 else next(iter(last.values()))
    found: np.ndarray = placed[PLACE].to_numpy() <= ends
    return found


def boundaries(placed: Rows, project: Project) -> Boundaries:
    """Return where the parts of a whole table begin and end; of the table the places are enough."""
    declared = project.split
    if declared.kind == "time":
        ends = functools.partial(last_places, placed, after=True)
        shares = [1 - declared.test_share, 1 - declared.held_out_share]
    else:
        ends = functools.partial(last_places, placed, distinct=declared.kind == "group")
        shares = [declared.test_share, declared.held_out_share]
    found = {share: ends(share) for share in set(shares)}  # the same, without a validation part
    test, held_out = (found[share] for share in shares)
    if declared.max_test_days is not None:
        longest = pd.Timedelta(days=declared.max_test_days).value
        test = {0: max(test[0], last_places(placed, 1.0)[0] - longest)}
        held_out = {0: max(held_out[0], test[0] - longest)} if declared.validation_share else test
    return Boundaries(project, test, held_out)


def last_places(placed: Rows, share: float, *, distinct: bool = False, after: bool = False) -> dict[Any, Any]:
    """Return the place of the last row of so large a share of each kind, one row at least.

    ``after``: of the first row behind them. ``distinct``: a place counts once, however many rows stand there.
    """
    found = {}
    source = f"(SELECT DISTINCT {PLACE}, {KIND} FROM rows)" if distinct else "rows"
    with asking(rows=placed) as asked:
        counted = f"SELECT {KIND}, count(*) FROM {source} GROUP BY {KIND}"
        for kind, count in asked.execute(counted).fetchall():
            number = max(round(count * share), 1) - (0 if after else 1)
            order = f"WHERE {KIND} = ? ORDER BY {PLACE} LIMIT 1 OFFSET {min(number, count - 1)}"
            found[kind] = asked.execute(f"SELECT {PLACE} FROM {source} {order}", [kind]).fetchall()[0][0]
    return found


def times(rows: pd.DataFrame, project: Project) -> pd.Series:
    """Return when each row was, in UTC; the column ``split.by`` holds times or ISO 8601 texts."""
    column = project.split.by
    if column not in rows:
        raise MlError(f"project.toml: split.by: no column '{column}' in the data")
    found = pd.to_datetime(rows[column], format="ISO8601", utc=True, errors="coerce")
    if found.isna().any():
        row = int(found.index[found.isna()][0]) + 1
        raise MlError(f"column '{column}' has no ISO 8601 time in row {row}: [split] goes by it")
    return found.dt.tz_localize(None)


def check_rows(rows: Rows, project: Project) -> None:
    """Raise ``MlError`` for rows that nothing can be learned from: an id twice, too few rows of a class."""
    key, target = quoted(project.id), quoted(project.target)
    with asking(rows=rows) as asked:
        counted = f"SELECT count({key}), count(DISTINCT {key}), count(DISTINCT {target}) FROM rows"
        count, different, classes = asked.execute(counted).fetchall()[0]
        if different < count:
            several = f"SELECT {key} FROM rows GROUP BY {key} HAVING count(*) > 1 ORDER BY {key} LIMIT 1"
            twice = asked.execute(several).fetchall()[0][0]
            told = "***" if project.id in project.personal else repr(twice)
            raise MlError(f"labelled table: id {told} stands there twice; '{project.id}' must name each row")
        if classes < 2:
            raise MlError(
                f"labelled table: the target '{project.target}' has one class only: a model needs two to "
                "learn"
            )
        if project.task == "classification":
            by_class = f"SELECT {target}, count(*) FROM rows WHERE {target} IS NOT NULL GROUP BY {target}"
            _check_classes(dict(asked.execute(f"{by_class} ORDER BY {target}").fetchall()), project)


def _check_classes(classes: dict[Any, int], project: Project) -> None:
    if project.positive is not None and (len(classes) != 2 or project.positive not in classes):
        known = ", ".join(str(one) for one in list(classes)[:MAX_CLASSES_TOLD])
        raise MlError(
            f"project.toml: positive = {project.positive!r} must be one of two classes of '{project.target}'"
            f", which has {len(classes)}: {known}"
        )
    needed, rarest = project.training.folds + 1, min(classes, key=lambda one: classes[one])
    if classes[rarest] * (1 - project.split.held_out_share) < needed:
        raise MlError(
            f"labelled table: class {rarest!r} of '{project.target}' has {classes[rarest]} rows, "
            f"too few for {project.training.folds} folds and a test share of {project.split.test_share}"
        )
