"""The answers that one look judges, out of the store: what was asked, said, and came true."""

import json
from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from sqlalchemy import ColumnElement, Connection, and_, delete, exists, func, select

from ml.project import Project
from ml.store.lookup import answers_of, labels_of, labels_that_hold
from ml.store.tables import builds, compared, curves, labels, looks, predictions, troubles

DAY = 86400.0
BATCH_ROWS = 50_000
# So many windows before this one say how many labels are usual.
WINDOWS_BEFORE = 4
TOLD = ("at", "version", "milliseconds", "label", "labelled", "sender")


@dataclass(frozen=True)
class Answers:
    """Rows in the order of their answers: what was asked, what was said, and what is known of each.

    ``told`` holds ``at`` (Unix time), ``version``, ``milliseconds``, ``label``, whether the row is
    ``labelled``, and by which ``sender``. All three have the same index.
    """

    inputs: pd.DataFrame
    said: pd.DataFrame
    told: pd.DataFrame

    def __len__(self) -> int:
        """How many rows there are."""
        return len(self.told)

    @property
    def labelled(self) -> "Answers":
        """The rows whose label has come."""
        return self.part(self.told["labelled"].to_numpy(bool))

    @property
    def days(self) -> np.ndarray:
        """The day of each row, counted from the first of 1970."""
        return np.asarray((self.told["at"].to_numpy(float) // DAY).astype(int))

    def part(self, mask: "pd.Series | np.ndarray") -> "Answers":
        """Return some of the rows, numbered anew."""
        return Answers(*(table[mask].reset_index(drop=True) for table in (self.inputs, self.said, self.told)))


@dataclass(frozen=True)
class Counted:
    """How often a service refused requests by a column and rule, failed at them, or did not keep rows."""

    kind: str
    column: str
    rule: str
    count: int


@dataclass(frozen=True)
class Window:
    """The rows of one look, and how many labels came then and before.

    ``recent`` are the rows asked in the window, ``earlier`` those of the one before; ``matured`` those of a
    window that ended so long ago that their labels must have come. Of any version are the inputs; what was
    said is judged of the champion alone.
    """

    now: float
    champion: int
    earlier: Answers
    recent: Answers
    matured: Answers
    before: tuple[int, int] = (0, 0)  # answers and labels of the windows before
    labels_unknown: int = 0
    labels_twice: int = 0
    requests: int = 0
    troubles: tuple[Counted, ...] = ()

    def troubled(self, kind: str) -> list[Counted]:
        """Return the troubles of a kind, the most frequent first."""
        return sorted((one for one in self.troubles if one.kind == kind), key=lambda one: -one.count)

    @property
    def said(self) -> Answers:
        """The rows of the window that the champion answered."""
        return self.recent.part(self.recent.told["version"] == self.champion)

    @property
    def judged(self) -> Answers:
        """The matured rows that the champion answered."""
        return self.matured.part(self.matured.told["version"] == self.champion)


def read_window(
    connection: Connection,
    project: Project,
    channel: str,
    champion: int,
    now: float,
    same: Collection[int] = (),
) -> Window:
    """Read the rows of a look that ends ``now`` (Unix time), without those that a deploy asked itself.

    What versions with the ``same`` model said, the champion would have said: it counts as said by it.
    """
    settings = project.monitoring
    length, age = settings.window_days * DAY, settings.matured_days * DAY
    rows = _rows(connection, project, channel, now - length - max(age, length), now)
    version = rows.told["version"]
    rows = replace(rows, told=rows.told.assign(version=version.mask(version.isin(list(same)), champion)))
    first = now - age - length * (1 + WINDOWS_BEFORE)
    return Window(
        now,
        champion,
        rows.part(rows.told["at"].between(now - 2 * length, now - length)),
        rows.part(rows.told["at"] > now - length),
        rows.part(rows.told["at"].between(now - age - length, now - age)),
        _counted(connection, project, channel, first, now - age - length),
        *_odd(connection, project, channel, now - length),
        _requests(connection, project, channel, now - length),
        _troubles(connection, project, channel, now - length),
    )


def _requests(connection: Connection, project: Project, channel: str, since: float) -> int:
    asked = select(func.count(predictions.c.request.distinct()))
    return int(connection.execute(asked.where(_of(project, channel), predictions.c.at > since)).scalar_one())


def _troubles(connection: Connection, project: Project, channel: str, since: float) -> tuple[Counted, ...]:
    about = (troubles.c.kind, troubles.c.column_name, troubles.c.rule)
    mine = and_(troubles.c.project == project.name, troubles.c.channel == channel, troubles.c.at > since)
    found = connection.execute(select(*about, func.sum(troubles.c.count)).where(mine).group_by(*about))
    return tuple(Counted(*one[:3], int(one[3])) for one in found)


def _label(content: str | None, project: Project) -> Any:
    """Return a label; none where a number came true for what was a text when it was told."""
    label = None if content is None else json.loads(content)
    return None if project.task == "regression" and isinstance(label, str) else label


def _of(project: Project, channel: str) -> Any:
    return and_(answers_of(project.name, channel), predictions.c.replay.is_(False))


def _with_labels(project: Project, channel: str) -> tuple[Any, Any]:
    holds = labels_that_hold(project.name, channel)
    same = and_(holds.c.request == predictions.c.request, holds.c.row == predictions.c.row)
    return predictions.join(holds, same, isouter=True), holds


def _same_row() -> ColumnElement[bool]:
    return and_(labels.c.request == predictions.c.request, labels.c.row == predictions.c.row)


def _rows(connection: Connection, project: Project, channel: str, begins: float, ends: float) -> Answers:
    both, holds = _with_labels(project, channel)
    columns = (
        predictions.c.at,
        predictions.c.version,
        predictions.c.milliseconds,
        predictions.c.inputs,
        predictions.c.output,
        holds.c.label,
        holds.c.sender,
    )
    asked = (
        select(*columns)
        .select_from(both)
        .where(_of(project, channel), predictions.c.at > begins, predictions.c.at <= ends)
        .order_by(predictions.c.at, predictions.c.request, predictions.c.row)
    )
    parts = [_answers(part, project) for part in connection.execute(asked).partitions(BATCH_ROWS)]
    if not parts:
        return Answers(pd.DataFrame(), pd.DataFrame(), pd.DataFrame({name: [] for name in TOLD}))
    tables = ((one.inputs, one.said, one.told) for one in parts)
    return Answers(*(pd.concat(pieces, ignore_index=True) for pieces in zip(*tables, strict=True)))


def _answers(rows: Any, project: Project) -> Answers:
    labels_told = [_label(row.label, project) for row in rows]
    told = {
        "at": [row.at for row in rows],
        "version": [row.version for row in rows],
        "milliseconds": [row.milliseconds for row in rows],
        "label": labels_told,
        "labelled": [label is not None for label in labels_told],
        "sender": [row.sender for row in rows],
    }
    inputs = pd.DataFrame([json.loads(row.inputs) for row in rows])
    said = pd.DataFrame([json.loads(row.output) for row in rows])
    own = [project.id]
    return Answers(
        inputs.drop(columns=own, errors="ignore"), said.drop(columns=own, errors="ignore"), pd.DataFrame(told)
    )


def _counted(
    connection: Connection, project: Project, channel: str, begins: float, ends: float
) -> tuple[int, int]:
    both, holds = _with_labels(project, channel)
    counted = select(func.count(), func.count(holds.c.label)).select_from(both)
    span = and_(predictions.c.at > begins, predictions.c.at <= ends)
    answers, labelled = connection.execute(counted.where(_of(project, channel), span)).one()
    return int(answers), int(labelled)


def _odd(connection: Connection, project: Project, channel: str, since: float) -> tuple[int, int]:
    """Count labels that came since then for rows nobody asked, and rows that got several."""
    same, mine = _same_row(), labels_of(project.name, channel)
    unknown = (
        select(func.count())
        .select_from(labels.join(predictions, and_(same, answers_of(project.name, channel)), isouter=True))
        .where(labels.c.at > since, mine, predictions.c.request.is_(None))
    )
    several = (
        select(labels.c.request)
        .select_from(labels.join(predictions, same))
        .where(labels.c.at > since, mine, _of(project, channel))
        .group_by(labels.c.request, labels.c.row)
        .having(func.count() > 1)
        .subquery()
    )
    twice = select(func.count()).select_from(several)
    return int(connection.execute(unknown).scalar_one()), int(connection.execute(twice).scalar_one())


def prune(connection: Connection, project: Project, channel: str, before: float) -> None:
    """Delete what was before a time: answers with their labels, looks, troubles, builds, curves.

    If more answers than ``keep_rows`` are left, the oldest go, too.
    """
    mine = answers_of(project.name, channel)
    newest = select(predictions.c.at).where(mine).order_by(predictions.c.at.desc())
    too_many = connection.execute(newest.offset(project.monitoring.keep_rows).limit(1)).scalar()
    _delete_answers(connection, project, channel, before if too_many is None else max(before, too_many))
    told = and_(labels.c.project == project.name, labels.c.channel == channel, labels.c.at < before)
    answer = and_(_same_row(), answers_of(project.name, channel))
    connection.execute(delete(labels).where(told, ~exists().where(answer)))
    for table in (looks, troubles, builds):
        of_channel = and_(table.c.project == project.name, table.c.channel == channel)
        connection.execute(delete(table).where(of_channel, table.c.at < before))
    connection.execute(delete(curves).where(curves.c.project == project.name, curves.c.at < before))


def _delete_answers(connection: Connection, project: Project, channel: str, before: float) -> None:
    old = and_(answers_of(project.name, channel), predictions.c.at <= before)
    for table in (compared, labels):
        same = (table.c.request == predictions.c.request) & (table.c.row == predictions.c.row)
        connection.execute(delete(table).where(exists().where(same, old)))
    connection.execute(delete(predictions).where(old))


def new_labels(connection: Connection, project: Project, channel: str, since: float) -> int:
    """Return how many answered rows got their first label after a time."""
    same, mine = _same_row(), labels_of(project.name, channel)
    first = (
        select(func.min(labels.c.at).label("came"))
        .select_from(labels.join(predictions, same))
        .where(_of(project, channel), mine, labels.c.label.is_not(None))
        .group_by(labels.c.request, labels.c.row)
        .subquery()
    )
    found = connection.execute(select(func.count()).select_from(first).where(first.c.came > since))
    return int(found.scalar_one())
