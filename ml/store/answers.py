"""One answer as the store keeps it, and labels of its rows: told, replaced, withdrawn; none is deleted."""

import json
import time
from typing import Any

from sqlalchemy import ColumnElement, Connection, func, insert, select

from ml.store.lookup import answers_of, labels_of, told_of
from ml.store.tables import labels, predictions


def answer_of(connection: Connection, project: str, channel: str, request: str) -> dict[str, Any] | None:
    """Return an answer of a channel with all labels of its rows, the oldest first; or nothing."""
    rows = connection.execute(
        select(predictions)
        .where(predictions.c.request == request, answers_of(project, channel))
        .order_by(predictions.c.row)
    ).all()
    if not rows:
        return None
    told = told_of(connection, project, channel, request)
    return {
        "request_id": request,
        "project": project,
        "channel": channel,
        "at": rows[0].at,
        "version": rows[0].version,
        "milliseconds": rows[0].milliseconds,
        "rows": [
            {
                "row": one.row,
                "inputs": json.loads(one.inputs),
                "output": json.loads(one.output),
                "labels": [_told(label) for label in told if label.row == one.row],
            }
            for one in rows
        ],
    }


def _told(label: Any) -> dict[str, Any]:
    since = label.at if label.since is None else label.since
    content = None if label.label is None else json.loads(label.label)
    return {"label": content, "withdrawn": label.label is None, "at": since, "came": label.at}


def is_answered(connection: Connection, of: tuple[str, str], request: str, row: int) -> bool:
    """Tell whether a project's channel answered a row."""
    same = (predictions.c.request == request) & (predictions.c.row == row)
    asked = select(predictions.c.row).where(same, answers_of(*of))
    return connection.execute(asked).first() is not None


def put_label(
    connection: Connection,
    of: tuple[str, str],
    request: str,
    row: int,
    label: Any,
    since: float | None,
    sender: str | None,
) -> None:
    """Add a label of a row; without a time of its own it holds from now on, whatever was told before."""
    _add(connection, of, request, row, json.dumps(label, ensure_ascii=False), since, sender)


def withdraw_label(
    connection: Connection, of: tuple[str, str], request: str, row: int, sender: str | None
) -> bool:
    """Let no label hold that a row got until now; tell whether there was one."""
    told = select(labels.c.label).where(_mine(of, request, row)).order_by(labels.c.number.desc())
    newest = connection.execute(told).first()
    if newest is None or newest.label is None:
        return False
    _add(connection, of, request, row, None, None, sender)
    return True


def _mine(of: tuple[str, str], request: str, row: int) -> ColumnElement[bool]:
    return (labels.c.request == request) & (labels.c.row == row) & labels_of(*of)


def _add(
    connection: Connection,
    of: tuple[str, str],
    request: str,
    row: int,
    label: str | None,
    since: float | None,
    sender: str | None,
) -> None:
    now = time.time()
    if since is None:
        latest = select(func.max(labels.c.since)).where(_mine(of, request, row))
        since = max(now, connection.execute(latest).scalar() or now)
    told = {"request": request, "row": row, "at": now, "label": label, "since": since, "sender": sender}
    connection.execute(insert(labels), told | {"project": of[0], "channel": of[1]})
