"""One policy, played: requests hour by hour, labels as late as they came, a look a day, trainings.

It runs in a process whose clock is the replay's, and calls the product as its users do: HTTP and ``ml``.
"""

import contextlib
import json
import os
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx2
import pandas as pd
from sqlalchemy import func, select

from ml import cli, locations
from ml.console import say
from ml.errors import MlError
from ml.monitoring.losses import losses
from ml.project import Project, find_project
from ml.registry.versions import Registry
from ml.serving import service
from ml.serving.client import wait_until
from ml.store.database import open_store
from ml.store.tables import labels, looks, trainings
from tests.replay.clock import Clock
from tests.replay.injected import Injected
from tests.replay.stage import CHANNEL, DAY, HOUR, Play, as_requests

# At this time of the day labels come, and an hour later somebody looks.
LABELS_AT, LOOK_AT = 5 * HOUR, 6 * HOUR
WRITTEN_SECONDS = 20.0


@dataclass
class Played:
    """What came of a policy, as far as it got: losses of rows by time, moves, looks, seconds of CPU."""

    policy: str
    at: list[float] = field(default_factory=list)
    loss: list[float] = field(default_factory=list)
    trainings: list[dict[str, Any]] = field(default_factory=list)
    found: list[dict[str, Any]] = field(default_factory=list)
    failed: int = 0
    refused: int = 0
    cpu_seconds: float = 0.0


@dataclass(frozen=True)
class _Waiting:
    """Rows that were answered and whose labels are still to come: when, of which request, what was said."""

    at: float
    request: str
    rows: pd.DataFrame
    said: pd.DataFrame


class Player:
    """Plays the rows of a stage under a policy: ``never``, ``monthly``, or ``loop``, the monitor's."""

    def __init__(self, play: Play, policy: str, injected: Injected, log: Path) -> None:
        """Be ready; nothing is asked yet. What ``ml`` prints goes to ``log``."""
        self._play, self._policy, self._injected, self._log = play, policy, injected, log
        self._clock, self._played = Clock.of_this_process(), Played(policy)
        self._project: Project = find_project(play.project)
        self._waiting: list[_Waiting] = []
        self._client = httpx2.Client(timeout=60, trust_env=False)
        url = locations.store(play.project, CHANNEL)
        assert url
        self._engine = open_store(url)
        self._labels = 0

    def run(self) -> Played:
        """Make the first version, play all rows, and return what came of it."""
        self._clock.move_to(self._play.begins - 2 * HOUR)
        if self._ml("run"):
            raise MlError(f"the first version was not deployed: {self._last_line()} ({self._log})")
        running = service.find(self._project.name, CHANNEL)
        assert running
        self._url = running.url
        day = self._play.begins // DAY
        week = 0
        try:
            for ends, rows in self._play.steps():
                while ends // DAY > day:
                    day += 1
                    self._begin_day(day * DAY)
                    if (passed := int((day * DAY - self._play.begins) // (7 * DAY))) > week:
                        week = passed
                        self._tell(week)
                self._ask(ends, rows)
            self._begin_day((day + 1) * DAY)
        finally:
            service.stop(self._project.name, CHANNEL)
        return self._played

    def _ask(self, at: float, rows: pd.DataFrame) -> None:
        self._clock.move_to(at)
        sent = self._injected.rows(rows, at, self._play.rows)
        if sent.empty:
            return
        answer = self._client.post(f"{self._url}/predict", json=as_requests(sent, self._project.target))
        if answer.status_code != 200:
            self._played.failed += int(answer.status_code >= 500)
            self._played.refused += int(answer.status_code < 500)
            return
        content = answer.json()
        said = pd.DataFrame(content["predictions"])
        kept = rows.loc[sent.index]
        self._waiting.append(_Waiting(at, content["request_id"], kept, said))

    def _begin_day(self, midnight: float) -> None:
        self._clock.move_to(midnight + LABELS_AT)
        self._send_labels(midnight + LABELS_AT)
        if self._policy == "monthly" and datetime.fromtimestamp(midnight, UTC).day == 1:
            self._train("every month")
        if self._policy == "loop":
            self._clock.move_to(midnight + LOOK_AT)
            self._look()

    def _send_labels(self, now: float) -> None:
        """Tell what came true of rows that are old enough, and wait until it is written."""
        ready = [one for one in self._waiting if one.at <= now - self._play.label_days * DAY]
        self._waiting = self._waiting[len(ready) :]
        told = []
        for one in ready:
            truth = self._injected.labels(one.rows, self._project.target, one.at, self._play.rows)
            moment = datetime.fromtimestamp(one.at + self._play.label_days * DAY, UTC).isoformat()
            came = [(row, label) for row, label in enumerate(truth) if label is not None]
            told += [
                {"request_id": one.request, "row": row, "label": label, "at": moment} for row, label in came
            ]
            world = self._injected.truth(one.rows, self._project.target, one.at, self._play.rows)
            self._played.loss += losses(self._project, one.said, pd.Series(world)).tolist()
            self._played.at += [one.at] * len(world)
        for start in range(0, len(told), 500):
            self._client.post(f"{self._url}/feedback", json=told[start : start + 500]).raise_for_status()
        self._labels += len(told)
        if not wait_until(lambda: True if self._count(labels) >= self._labels else None, WRITTEN_SECONDS):
            raise MlError(f"only {self._count(labels)} of {self._labels} labels were kept")

    def _count(self, table: Any) -> int:
        with self._engine.connect() as connection:
            return int(connection.execute(select(func.count()).select_from(table)).scalar_one())

    def _look(self) -> None:
        self._train("", "monitor", "--train")
        with self._engine.connect() as connection:
            last = connection.execute(select(looks).order_by(looks.c.number.desc())).first()
        if last is None:
            return
        figures = json.loads(last.figures)
        if not self._played.found or self._played.found[-1]["cause"] != last.cause:
            self._played.found.append({"at": last.at, "cause": last.cause, "why": figures["why"]})

    def _train(self, why: str, *command: str) -> None:
        before, now = self._version(), time.time()
        asked = self._asked()
        code = self._ml(*(command or ("run",)), **({"WHY": why} if why else {}))
        if command and self._asked() == asked:
            if code:
                raise MlError(f"the look of {day_of(now)} failed: {self._last_line()} ({self._log})")
            return
        after = self._version()
        outcome = f"version {after}" if after != before else "kept" if code == 0 else f"refused ({code})"
        self._played.trainings.append({"at": now, "outcome": outcome})

    def _asked(self) -> int:
        return self._count(trainings)

    def _version(self) -> int | None:
        found: int | None = Registry(self._project.name).channel(CHANNEL).version
        return found

    def _ml(self, *command: str, **variables: str) -> int:
        """Run a command of the product in this process, and note the CPU that it and its children took."""
        os.environ.pop("WHY", None)
        os.environ.update(variables)
        before = os.times()
        given = [*command, "--project", self._project.name, "--build", str(self._play.root / "build")]
        with open(self._log, "a", encoding="utf-8") as log, _all_output_to(log):
            code = cli.main(given)
        used = os.times()
        self._played.cpu_seconds += sum(used[:4]) - sum(before[:4])
        return code

    def _last_line(self) -> str:
        return self._log.read_text(encoding="utf-8").strip().splitlines()[-1]

    def _tell(self, week: int) -> None:
        since = time.time() - 9 * DAY
        recent = [loss for at, loss in zip(self._played.at, self._played.loss, strict=True) if at >= since]
        mean = f"{sum(recent) / len(recent):.4f}" if recent else "-"
        found = self._played.found[-1]["cause"] if self._played.found else ""
        say(
            f"{self._policy}: week {week}, {day_of(time.time())}: a row costs {mean}, "
            f"version {self._version()} {found}"
        )


@contextlib.contextmanager
def _all_output_to(log: Any) -> Iterator[None]:
    """Let this process and its children write to a file instead."""
    sys.stdout.flush(), sys.stderr.flush()
    kept = os.dup(1), os.dup(2)
    os.dup2(log.fileno(), 1), os.dup2(log.fileno(), 2)
    try:
        yield
    finally:
        sys.stdout.flush(), sys.stderr.flush()
        for place, descriptor in zip(kept, (1, 2), strict=True):
            os.dup2(place, descriptor)
            os.close(place)


def day_of(at: float) -> str:
    """Return the day of a moment (Unix time)."""
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d")
