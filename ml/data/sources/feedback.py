"""What the service answered, with the labels that came true, as rows to learn from."""

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

import pandas as pd
from pydantic import ValidationError
from sqlalchemy import Connection, and_, exists, func, select
from sqlalchemy.exc import SQLAlchemyError

from ml import locations
from ml.console import say
from ml.data.request import request_model
from ml.data.rows import Row
from ml.data.sources.interface import BATCH_ROWS, Asked, Batches, SourceAway
from ml.errors import MlError, describe
from ml.source_settings import FeedbackSource
from ml.store.database import open_store, reason_of
from ml.store.lookup import answers_of, labels_of, labels_that_hold
from ml.store.tables import labels, predictions, quarantines

DAY_SECONDS = 86400


def read(source: FeedbackSource, asked: Asked) -> Batches:
    """Yield the answered rows whose label has come; of several labels of a row the last one by its own time.

    Rows younger than ``matured_days``, those that a deploy asked itself, and those in which the monitor found
    a broken column, or labels that cannot be believed, are left out, and so are those that a stricter
    contract than then would not answer today. Personal columns are not in the store; the line that tells so
    comes before anything is trained.
    """
    told = [name for name in asked.personal if name not in (asked.target, asked.id)]
    if told:
        say(
            f"data: {origin(source, asked.name)}: personal columns are not kept with answers: "
            f"{', '.join(told)} and the features made of them are missing in these rows"
        )
    refusal, refused, came = _refusal(asked), 0, 0
    why = ""
    with _connected(source, asked) as connection:
        for rows in connection.execute(_matured(source, asked)).partitions(BATCH_ROWS):
            kept = []
            for row in rows:
                one = json.loads(row.inputs) | {asked.target: json.loads(row.label)}
                if reason := refusal(one):
                    refused, why = refused + 1, why or reason
                else:
                    kept.append(one)
            came += len(rows)
            if kept:
                yield pd.DataFrame(kept)
    if refused:
        say(
            f"data: {origin(source, asked.name)}: {refused} of {came} rows are left out, which the contract "
            f"refuses by now, the first for {why}"
        )


def _refusal(asked: Asked) -> Callable[[Row], str]:
    """Return what takes columns off a row that the contract has no more, and tells why it refuses the row."""
    if (contract := asked.contract) is None:
        return lambda row: ""
    kept = set(contract.columns) - set(asked.personal)
    judge = request_model(contract.select_columns(list(kept))).model_validate

    def refusal(row: Row) -> str:
        for name in row.keys() - contract.columns.keys():
            del row[name]
        try:
            judge({name: value for name, value in row.items() if name in kept})
        except ValidationError as error:
            return describe(error)
        return ""

    return refusal


def origin(_: FeedbackSource, name: str) -> str:
    """Return where a table comes from."""
    return f"feedback: channel {name}"


def delivered(source: FeedbackSource, asked: Asked) -> datetime | None:
    """Return when the last label came."""
    with _connected(source, asked) as connection:
        newest = connection.execute(
            select(func.max(labels.c.at))
            .select_from(_both())
            .where(_of(source, asked), labels_of(asked.project, asked.name))
        ).scalar()
    return None if newest is None else datetime.fromtimestamp(newest, UTC)


def size(source: FeedbackSource, asked: Asked) -> str:
    """Return how many answers there are, and how many of them have a label."""
    with _connected(source, asked) as connection:
        answers = connection.execute(
            select(func.count()).select_from(predictions).where(_of(source, asked))
        ).scalar_one()
        rows = connection.execute(
            select(func.count()).select_from(_matured(source, asked).subquery())
        ).scalar_one()
    return f"{answers:,} answers, {rows:,} of them with a matured label"


@contextmanager
def _connected(source: FeedbackSource, asked: Asked) -> Iterator[Connection]:
    """Connect to the store of a channel; what the database says is told on one line."""
    url, told = locations.store(asked.project, asked.name), origin(source, asked.name)
    if url is None:
        raise MlError(f"feedback: no answers of channel {asked.name} are kept (ML_STORE=off)")
    try:
        engine = open_store(url)
    except SQLAlchemyError as error:
        raise SourceAway(f"{told}: {reason_of(error)}") from error
    try:
        with engine.connect().execution_options(stream_results=True) as connection:
            yield connection
    except SQLAlchemyError as error:
        raise MlError(f"{told}: {reason_of(error)}") from error
    finally:
        engine.dispose()


def _both() -> Any:
    same = and_(labels.c.request == predictions.c.request, labels.c.row == predictions.c.row)
    return predictions.join(labels, same)


def _of(source: FeedbackSource, asked: Asked) -> Any:
    return and_(
        answers_of(asked.project, asked.name),
        predictions.c.replay.is_(False),
        predictions.c.at <= time.time() - source.matured_days * DAY_SECONDS,
    )


def _matured(source: FeedbackSource, asked: Asked) -> Any:
    holds = labels_that_hold(asked.project, asked.name)
    same = and_(holds.c.request == predictions.c.request, holds.c.row == predictions.c.row)
    broken = and_(
        quarantines.c.project == predictions.c.project,
        quarantines.c.channel == predictions.c.channel,
        predictions.c.at.between(quarantines.c.begins, quarantines.c.ends),
        quarantines.c.lifted.is_(None),
        # Nobody in particular is meant, or who told this label: one without a key has no name.
        quarantines.c.sender.is_(None) | (quarantines.c.sender == func.coalesce(holds.c.sender, "")),
    )
    return (
        select(predictions.c.inputs, holds.c.label)
        .select_from(predictions.join(holds, same))
        .where(_of(source, asked), ~exists().where(broken))
        .order_by(predictions.c.at, predictions.c.request, predictions.c.row)
    )
