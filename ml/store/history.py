"""What is noted of trainings and builds beside the work itself: a store that is away stops none of it."""

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Connection, insert, select
from sqlalchemy.exc import SQLAlchemyError

from ml import locations
from ml.console import say
from ml.errors import MlError
from ml.records import ALREADY_DEPLOYED
from ml.store.database import open_store, reason_of
from ml.store.tables import builds, curves

WRITE_SECONDS = 1.0
# So long a build may train, be judged and wait for an agent after the last that was heard of it.
SECONDS_TO_END = 86400.0
BY_HAND = "by hand"


def noted(project: str, channel: str, work: Callable[[Connection], Any], what: str) -> Any:
    """Return what ``work`` returns in one transaction; nothing, and a line, if the store cannot be had."""
    url = locations.store(project, channel)
    if url is None:
        return None
    try:
        with _uninterrupted():
            engine = open_store(url)
            try:
                with engine.begin() as connection:
                    return work(connection)
            finally:
                engine.dispose()
    except (SQLAlchemyError, MlError, OSError) as error:
        say(f"store: {what} is not noted: {reason_of(error)}")
        return None


@contextmanager
def _uninterrupted() -> Iterator[None]:
    """Let Ctrl-C, or the end of a build, wait: SQLAlchemy tells a traceback of a connection half closed."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    asked: list[int] = []
    numbers = (signal.SIGINT, signal.SIGTERM)
    before = {number: signal.signal(number, lambda number, _: asked.append(number)) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler or signal.SIG_DFL)
        if asked:
            signal.raise_signal(asked[0])


def build_name() -> str:
    """Return the Jenkins build that this is, or that a person runs it."""
    return (os.environ.get("BUILD_URL") or os.environ.get("BUILD_TAG") or BY_HAND)[:200]


def note_build(
    project: str, channel: str, stage: str, outcome: str, version: int | None = None, told: str = ""
) -> None:
    """Add what became of a stage that judges or deploys, and why it was run."""
    row = {
        "project": project,
        "channel": channel,
        "at": time.time(),
        "build": build_name(),
        "why": os.environ.get("WHY") or None,
        "stage": stage,
        "outcome": outcome,
        "version": version,
        "told": told,
    }
    noted(project, channel, lambda connection: connection.execute(insert(builds), row), "this build")


def last_builds(connection: Connection, project: str, channel: str, most: int) -> list[Any]:
    """Return the newest builds of a channel, newest first."""
    found = select(builds).where(builds.c.project == project, builds.c.channel == channel)
    return list(connection.execute(found.order_by(builds.c.number.desc()).limit(most)))


def trained_since(connection: Connection, project: str, at: float) -> bool:
    """Tell whether a training of a project began after a time."""
    found = select(curves.c.number).where(curves.c.project == project, curves.c.began >= at).limit(1)
    return connection.execute(found).first() is not None


def died(connection: Connection, project: str, now: float) -> tuple[str, float] | None:
    """Return the build of Jenkins that trained last, and when it began, if it came to no end in a day.

    A build that ends, however that be, notes a verdict, a deploy, a failure, or that somebody stopped it; one
    whose agent or process was killed notes nothing.
    """
    newest = select(curves.c.build, curves.c.began, curves.c.at).where(curves.c.project == project)
    last = connection.execute(newest.order_by(curves.c.began.desc(), curves.c.at.desc()).limit(1)).first()
    if last is None or last.build == BY_HAND or last.at > now - SECONDS_TO_END:
        return None
    later = select(builds.c.number).where(builds.c.project == project, builds.c.at >= last.began).limit(1)
    return (last.build, last.began) if connection.execute(later).first() is None else None


def unchanged_since(connection: Connection, project: str, channel: str, at: float) -> bool:
    """Tell whether, since a time, a build that somebody asked for made the version that answers already."""
    mine = builds.c.project == project, builds.c.channel == channel, builds.c.at >= at
    found = select(builds.c.number).where(*mine, builds.c.outcome == ALREADY_DEPLOYED).limit(1)
    return connection.execute(found).first() is not None


class Curve:
    """How far a training is, point by point: iteration, time, score, validation score, percent complete.

    Points are written together, once in ``WRITE_SECONDS`` and at the end.
    """

    def __init__(self, project: str, channel: str, metric: str) -> None:
        """Begin a training; the first point that cannot be kept is told, and no other is tried."""
        self._project, self._channel, self._metric = project, channel, metric
        self._began, self._iteration, self._kept = time.time(), 0, True
        self._waiting: list[dict[str, Any]] = []
        self._written = 0.0

    def point(self, what: str, score: float | None, validation_score: float, percent: float) -> None:
        """Add the score of what was fitted, on rows it learned from and on others."""
        if not self._kept:
            return
        self._iteration += 1
        self._waiting.append(
            {
                "project": self._project,
                "build": build_name(),
                "began": self._began,
                "at": time.time(),
                "iteration": self._iteration,
                "what": what[:300],
                "metric": self._metric,
                "score": score,
                "validation_score": validation_score,
                "percent_complete": percent,
            }
        )
        if percent < 100 and time.monotonic() - self._written < WRITE_SECONDS:
            return
        points, self._waiting = self._waiting, []

        def keep(connection: Connection) -> bool:
            connection.execute(insert(curves), points)
            return True

        self._kept = bool(noted(self._project, self._channel, keep, "the curve of this training"))
        self._written = time.monotonic()
