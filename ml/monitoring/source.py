"""What the project's source says between two builds: whether it delivers, and what came true, by id."""

import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, and_, insert, select

from ml.data.contract import examine, load_contract
from ml.data.personal_rules import obey
from ml.data.sources import ask, batches
from ml.data.sources.probe import probe
from ml.errors import MlError
from ml.monitoring.window import DAY, WINDOWS_BEFORE
from ml.project import Project
from ml.source_settings import AnySource, CatboostSource, FeedbackSource, agreed_of
from ml.store.lookup import answers_of, newest_labels
from ml.store.tables import labels, predictions

SENDER = "source"


def trouble_with_source(project: Project) -> list[str]:
    """Return which tables of the source cannot be had as agreed; a snapshot stands in for none of them.

    A data set that was published once is not asked: it does not change.
    """
    if isinstance(project.source, CatboostSource):
        return []
    return [f"{one.told}: {one.problem}" for one in probe(project) if one.problem]


def take_labels(engine: Engine, project: Project, channel: str, now: float) -> int:
    """Write what the source's labelled table tells of answered rows, by id, to the store; return how many.

    Of answers so old that no look is at them any more nothing is asked. What a client told or withdrew
    stands; what the source itself told before is told again if it says otherwise now.
    """
    if project.id in project.personal:
        raise MlError(f"'{project.id}' is personal and not kept with answers: no label can come by it")
    settings = project.monitoring
    since = now - settings.matured_days * DAY - settings.window_days * DAY * (1 + WINDOWS_BEFORE)
    with engine.connect() as connection:
        waiting = _waiting(connection, project, channel, since)
    found = list(_labels(project, waiting, now)) if waiting else []
    if found:
        of = {"project": project.name, "channel": channel}
        with engine.begin() as connection:
            connection.execute(insert(labels), [one | of for one in found])
    return len(found)


def _waiting(
    connection: Connection, project: Project, channel: str, since: float
) -> dict[str, list[tuple[str, int, str | None]]]:
    """Return the rows that may get a label, and the one the source told before, by the id of the row."""
    newest = newest_labels(project.name, channel)
    same = and_(newest.c.request == predictions.c.request, newest.c.row == predictions.c.row)
    told = (predictions.c.request, predictions.c.row, predictions.c.output, newest.c.label)
    asked = (
        select(*told)
        .select_from(predictions.join(newest, same, isouter=True))
        .where(
            answers_of(project.name, channel),
            predictions.c.replay.is_(False),
            predictions.c.at > since,
            newest.c.request.is_(None) | (newest.c.sender == SENDER),
        )
    )
    found: dict[str, list[tuple[str, int, str | None]]] = {}
    for one in connection.execute(asked):
        key = json.loads(one.output).get(project.id)
        if key is not None:
            found.setdefault(str(key), []).append((one.request, one.row, one.label))
    return found


def _labels(
    project: Project, waiting: dict[str, list[tuple[str, int, str | None]]], now: float
) -> Iterator[dict[str, Any]]:
    contract = load_contract(project)
    with tempfile.TemporaryDirectory() as scratch:
        for batch in batches(_without_feedback(project), ask(project, Path(scratch)), "labelled"):
            if gone := [name for name in (project.id, project.target) if name not in batch]:
                raise MlError(f"the labelled table has no column '{gone[0]}'")
            rows = batch[batch[project.target].notna()]
            rows = examine(obey(rows, project), contract, project.personal)[0]
            for key, value in zip(rows[project.id].astype(str), rows[project.target].tolist(), strict=True):
                label = json.dumps(value, ensure_ascii=False)
                for request, row, before in waiting.get(key, []):
                    if label != before:
                        about = {"request": request, "row": row, "at": now, "since": None}
                        yield about | {"label": label, "sender": SENDER}


def _without_feedback(project: Project) -> AnySource:
    """Return the source without the answers themselves: their labels are what is looked for."""
    source = agreed_of(project.source)
    if isinstance(source, FeedbackSource):
        raise MlError("source.kind is feedback, which holds the labels of the store and no others")
    rest = [one for one in source.append if not isinstance(one, FeedbackSource)]
    without = source.model_copy(update={"append": rest, "rows": {}, "min_rows": {}})
    if isinstance(project.source, CatboostSource):
        return project.source.model_copy(update={"snapshot": without})
    return without
