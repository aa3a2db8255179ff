"""The looks of a channel in the store, and what they remember: trainings, rows not to learn from."""

import json
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, insert, select, update

from ml.errors import MlError
from ml.monitoring.calibration import Calibration
from ml.monitoring.checks import Seen
from ml.monitoring.columns import ColumnLook
from ml.records import (
    CalibrationFigures,
    ColumnFigures,
    Look,
    NotLearned,
    QualityFigures,
    StatedFigures,
    parse,
)
from ml.store.tables import looks, quarantines, trainings

LABEL = "label"  # stands for a column where labels are in quarantine


@dataclass(frozen=True)
class Training:
    """A training that a look asked for: when, why, beside which champion, and what became of it."""

    number: int
    at: float
    cause: str
    champion: int | None
    outcome: str | None


def last_looks(connection: Connection, project: str, channel: str, most: int) -> list[Look]:
    """Return the newest looks of a channel, oldest first."""
    found = connection.execute(
        select(looks.c.figures)
        .where(looks.c.project == project, looks.c.channel == channel)
        .order_by(looks.c.at.desc(), looks.c.number.desc())
        .limit(most)
    ).scalars()
    return [parse(Look, json.loads(text), "a look in the store") for text in found][::-1]


def figures_of(seen: Seen) -> dict[str, Any]:
    """Return what is kept of what a look saw: columns of all rows, quality by part, the estimate."""
    quality = [
        QualityFigures(
            part=one.part,
            before=one.before.value,
            now=one.now.value,
            error=one.now.error,
            labels=one.now.rows,
            lost=one.lost,
        )
        for one in seen.quality
    ]
    estimated = seen.estimated
    return {
        "answers": seen.answers_recent,
        "labels": seen.labels,
        "columns": [_column(one) for one in seen.columns if not one.part],
        "said": [_column(one) for one in seen.said],
        "calibration": None if seen.calibration is None else _calibration(seen.calibration),
        "broken": list(seen.broken),
        "not_learned": [
            NotLearned(begins=one.begins, why=one.why, sender=one.sender)
            for one in (seen.trouble_with_labels, *seen.odd_senders)
            if one and one.begins is not None
        ],
        "quality": quality,
        "weighted": seen.weighted,
        "estimated": (estimated.loss.value, *estimated.interval) if estimated else None,
        "estimated_metrics": estimated.metrics if estimated else {},
        "loss_before": seen.loss_before,
        "not_seen": list(seen.not_seen),
        "figures": seen.figures,
    }


def _column(one: ColumnLook) -> ColumnFigures:
    return ColumnFigures(
        column=one.column,
        missing=one.missing,
        missing_before=one.missing_before,
        psi=one.psi,
        moved=one.moved,
        broken=one.broken,
    )


def _calibration(one: Calibration) -> CalibrationFigures:
    return CalibrationFigures(
        bins=[StatedFigures(**vars(part)) for part in one.bins],
        saved=one.saved.value,
        error=one.saved.error,
        saved_before=one.saved_before.value,
        off=one.off,
    )


def keep_look(connection: Connection, look: Look) -> None:
    """Add a look; the training it asks for, and the rows it takes out of training, come with it."""
    own = {"project": look.project, "channel": look.channel}
    connection.execute(
        insert(looks),
        own
        | {
            "at": look.ends,
            "version": look.version,
            "cause": look.cause,
            "figures": look.model_dump_json(),
        },
    )
    if look.asks == "train":
        asked = {"at": look.ends, "cause": look.cause, "champion": look.version}
        connection.execute(insert(trainings), own | asked)
    if look.cause == "broken feed":
        for one in look.broken:
            _quarantine(connection, look, one.column, None, one.begins, one.why)
    for labels in look.not_learned:
        _quarantine(connection, look, LABEL, labels.sender, labels.begins, labels.why)


def _quarantine(
    connection: Connection, look: Look, column: str, sender: str | None, begins: float, why: str
) -> None:
    """Take the rows since something broke out of training, until the look that does not find it any more.

    What a person lifted stays lifted as long as looks find it without a break.
    """
    known = quarantines.c
    same = (
        (known.project == look.project)
        & (known.channel == look.channel)
        & (known.column_name == column)
        & (known.sender.is_(None) if sender is None else known.sender == sender)
        & (known.ends >= begins)
    )
    found = connection.execute(select(known.number).where(same).order_by(known.number.desc())).scalar()
    if found is not None:
        connection.execute(update(quarantines).where(known.number == found).values(ends=look.ends))
        return
    connection.execute(
        insert(quarantines),
        {
            "project": look.project,
            "channel": look.channel,
            "column_name": column,
            "begins": begins,
            "ends": look.ends,
            "why": why,
            "sender": sender,
        },
    )


def left_out(connection: Connection, project: str, channel: str) -> list[Any]:
    """Return the rows of the table ``quarantines`` that hold, the newest first."""
    mine = quarantines.c.project == project, quarantines.c.channel == channel
    found = select(quarantines).where(*mine, quarantines.c.lifted.is_(None))
    return list(connection.execute(found.order_by(quarantines.c.number.desc())))


def lift(connection: Connection, project: str, channel: str, number: int, at: float) -> str:
    """Let models learn again from what a look left out, and return why it did.

    Raises ``MlError`` if there is no such quarantine, or it does not hold any more.
    """
    for one in left_out(connection, project, channel):
        if one.number == number:
            connection.execute(update(quarantines).where(quarantines.c.number == number).values(lifted=at))
            return str(one.why)
    raise MlError(f"channel {channel} has no quarantine {number} that holds: the page of a look lists them")


def asked_for(connection: Connection, project: str, channel: str) -> list[Training]:
    """Return the trainings that looks asked for, oldest first."""
    found = connection.execute(
        select(trainings)
        .where(trainings.c.project == project, trainings.c.channel == channel)
        .order_by(trainings.c.number)
    )
    return [Training(one.number, one.at, one.cause, one.champion, one.outcome) for one in found]


def end_training(connection: Connection, number: int, at: float, outcome: str) -> None:
    """Note what became of a training."""
    connection.execute(
        update(trainings).where(trainings.c.number == number).values(ended=at, outcome=outcome)
    )
