"""What the prediction log knows of a request."""

import json
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Connection, Engine, Subquery, func, select
from sqlalchemy.exc import SQLAlchemyError

from ml.errors import MlError
from ml.store.database import open_store, parsed_url, reason_of
from ml.store.tables import compared, labels, predictions


@dataclass(frozen=True)
class Answered:
    """What was said of a row: by the version that answered, and by the other one if it was compared."""

    said: dict[int, Any]
    candidate: int | None = None


def answers_of(project: str, channel: str) -> ColumnElement[bool]:
    """Return what is true of answers that a channel gave."""
    return (predictions.c.project == project) & (predictions.c.channel == channel)


def labels_of(project: str, channel: str) -> ColumnElement[bool]:
    """Return what is true of labels that a channel was told; of old ones nobody noted which it was."""
    mine = (labels.c.project == project) & (labels.c.channel == channel)
    return labels.c.project.is_(None) | mine


def newest_labels(project: str, channel: str) -> Subquery:
    """Return one label for each row of a request: the latest by its own time, else by when it came.

    Those that other channels were told are none. One without content says that what was told before is
    withdrawn.
    """
    since = func.coalesce(labels.c.since, labels.c.at)
    latest = (
        func.row_number()
        .over(partition_by=(labels.c.request, labels.c.row), order_by=(since.desc(), labels.c.number.desc()))
        .label("latest")
    )
    ranked = select(labels, latest).where(labels_of(project, channel)).subquery()
    return select(ranked).where(ranked.c.latest == 1).subquery()


def labels_that_hold(project: str, channel: str) -> Subquery:
    """Return the newest label of each row of a request, where it is not withdrawn."""
    newest = newest_labels(project, channel)
    return select(newest).where(newest.c.label.is_not(None)).subquery()


def said_of(engine: Engine, of: tuple[str, str], request: str, row: int) -> Answered | None:
    """Return what a project's channel said of a row, or nothing if it is not (yet) known."""
    with engine.connect() as connection:
        found = connection.execute(
            select(
                predictions.c.version,
                predictions.c.output,
                compared.c.version.label("other"),
                compared.c.candidate,
                compared.c.prediction,
            )
            .join(
                compared,
                (compared.c.request == predictions.c.request) & (compared.c.row == predictions.c.row),
                isouter=True,
            )
            .where(
                predictions.c.request == request,
                predictions.c.row == row,
                answers_of(*of),
            )
        ).first()
    if found is None:
        return None
    said = {found.version: json.loads(found.output)["prediction"]}
    if found.candidate is not None:
        said[found.other] = json.loads(found.prediction)
    # An answer that is no number is kept as null: nothing can come true of it.
    return Answered({one: what for one, what in said.items() if what is not None}, found.candidate)


def told_of(connection: Connection, project: str, channel: str, request: str) -> list[Any]:
    """Return all labels that a channel was told of the rows of a request, the oldest first."""
    mine = select(labels).where(labels.c.request == request, labels_of(project, channel))
    return list(connection.execute(mine.order_by(labels.c.number)).all())


def look_up(url: str, request: str) -> tuple[list[Any], list[Any]]:
    """Return the rows and the labels of one request; an unknown one, or no database, raises ``MlError``."""
    try:
        with open_store(url).connect() as connection:
            rows = connection.execute(
                select(predictions).where(predictions.c.request == request).order_by(predictions.c.row)
            ).all()
            if not rows:
                place = parsed_url(url).render_as_string()
                raise MlError(f"no request '{request}' in the prediction log {place}")
            return list(rows), told_of(connection, rows[0].project, rows[0].channel, request)
    except SQLAlchemyError as error:
        raise MlError(f"the prediction log cannot be read: {reason_of(error)}") from error
