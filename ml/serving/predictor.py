"""Predicting: which version answers a request, what is counted and logged of it, and what came true."""

import asyncio
import time
from collections.abc import AsyncIterator, Coroutine
from typing import Any

import numpy as np
import pandas as pd
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError
from pydantic_core import from_json
from starlette.requests import Request

from ml.console import say
from ml.errors import MlError
from ml.serving import MOST_ROWS, REPLAY_HEADER
from ml.serving.batching import Batcher, Full
from ml.serving.bodies import (
    FILE_SECONDS,
    MOST_FILE_BYTES,
    Refused,
    parse_rows,
    read_body,
    read_file,
    tell,
    write_lines,
)
from ml.serving.follower import Served, Serving
from ml.serving.metrics import Metrics
from ml.serving.prediction_log import Label, PredictionLog

MOST_FILES = 2  # at once, in one worker
MOST_SHADOWS = 64  # at once; more are not scored
SCORE_SECONDS = 10.0


class Feedback(BaseModel):
    """What came true for one row of an earlier answer."""

    model_config = ConfigDict(extra="forbid", strict=True)

    request_id: str = Field(pattern="^[0-9a-f]{32}$", examples=["0123456789abcdef0123456789abcdef"])
    row: int = Field(default=0, ge=0, le=2**31 - 1, description="its place in the request, from 0")
    label: int | float | str | bool


FEEDBACK = TypeAdapter(list[Feedback])
BUSY = Refused(503, "too many requests wait already: ask again in a moment")


class Predictor:
    """Answers requests: scores, counts, logs, and compares a shadow. One for each worker."""

    def __init__(self, project: str, channel: str, metrics: Metrics) -> None:
        """Answer for a channel; who runs ``batcher.run()`` makes it work."""
        self.project, self.channel, self.metrics = project, channel, metrics
        self.batcher = Batcher(scored=metrics.batch_rows.observe)
        self.log: PredictionLog | None = None
        self._files = asyncio.Semaphore(MOST_FILES)
        self._shadows: set[asyncio.Task[None]] = set()

    def keep_log(self, url: str) -> None:
        """Write what is asked and answered to a database (SQLAlchemy URL)."""
        metrics = self.metrics
        self.log = PredictionLog(
            url, written=metrics.logged.inc, lost=metrics.lost.inc, labelled=self._count_label
        )

    async def predict(
        self, request: Request, serving: Serving, body: bytes
    ) -> tuple[list[dict[str, Any]], Served]:
        """Return the answer to the rows of a body, and which version gave it; else raise ``Refused``."""
        served = serving.choose(lambda: _given_key(request) or _id_of_first_row(serving, body))
        assert served and serving.champion
        rows = parse_rows(served, body)
        try:
            answer = await self._score(request, served, rows)
        except Refused as refused:
            if refused.status != 500 or served is serving.champion:
                raise
            served = serving.champion  # a candidate that fails is counted, and nobody feels it
            rows = parse_rows(served, body)
            answer = await self._score(request, served, rows)
        if serving.candidate and serving.trial and not serving.trial.share:
            self._shadow(request, serving.candidate, body, answer)
        return answer, served

    async def _score(self, request: Request, served: Served, rows: list[BaseModel]) -> list[dict[str, Any]]:
        start = time.perf_counter()
        answer = await self._wait(served, self.batcher.score(served.answer, rows))
        seconds = time.perf_counter() - start
        self._count(served, answer, seconds)
        inputs = [row.model_dump(by_alias=True) for row in rows] if self.log else []
        self._log(request, served, inputs, answer, seconds)
        return answer

    async def _wait(
        self, served: Served, scoring: Coroutine[Any, Any, list[dict[str, Any]]]
    ) -> list[dict[str, Any]]:
        version = str(served.version)
        try:
            return await asyncio.wait_for(scoring, SCORE_SECONDS)
        except Full:
            self.metrics.shed.labels("request").inc()
            raise BUSY from None
        except TimeoutError:
            self.metrics.answers.labels(version, "failed").inc()
            raise Refused(503, f"not predicted within {SCORE_SECONDS:g} s: ask again later") from None
        except MlError as error:
            self.metrics.answers.labels(version, "refused").inc()
            raise Refused(422, str(error)) from error
        except Exception as error:
            self.metrics.answers.labels(version, "failed").inc()
            say(f"serve: version {version} fails: {type(error).__name__}")  # its text may show a row
            raise Refused(500, f"version {version} cannot predict this") from error

    def _count(self, served: Served, answer: list[dict[str, Any]], seconds: float) -> None:
        version = str(served.version)
        self.metrics.answers.labels(version, "ok").inc()
        self.metrics.answer_seconds.labels(version).observe(seconds)
        self.metrics.rows.inc(len(answer))
        for one in answer:
            self.metrics.predictions.labels(version, served.bin(one)).inc()

    def _log(
        self,
        request: Request,
        served: Served,
        inputs: list[dict[str, Any]],
        answer: list[dict[str, Any]],
        seconds: float,
        first: int = 0,
    ) -> None:
        if self.log is None:
            return
        personal, at = served.bundle.project.personal, time.time()
        self.log.put(
            {
                "request": request.state.request_id,
                "row": first + row,
                "at": at,
                "project": self.project,
                "channel": self.channel,
                "version": served.version,
                "replay": REPLAY_HEADER in request.headers,
                "inputs": {key: value for key, value in given.items() if key not in personal},
                "output": {key: value for key, value in one.items() if key not in personal},
                "milliseconds": seconds * 1000,
            }
            for row, (given, one) in enumerate(zip(inputs, answer, strict=True))
        )

    def _shadow(self, request: Request, candidate: Served, body: bytes, answer: list[dict[str, Any]]) -> None:
        if len(self._shadows) >= MOST_SHADOWS:
            self.metrics.shed.labels("shadow").inc()
            return

        async def compare() -> None:
            version = str(candidate.version)
            try:
                rows = parse_rows(candidate, body)
                start = time.perf_counter()
                other = await self._wait(candidate, self.batcher.score(candidate.answer, rows))
            except Refused as refused:
                if refused.status == 422:  # the champion answered what the candidate refuses
                    self.metrics.answers.labels(version, "failed").inc()
                return
            self.metrics.answers.labels(version, "ok").inc()
            self.metrics.answer_seconds.labels(version).observe(time.perf_counter() - start)
            for one, before in zip(other, answer, strict=True):
                self.metrics.predictions.labels(version, candidate.bin(one)).inc()
                self.metrics.shadow.labels(version).observe(_difference(one, before))

        task = asyncio.create_task(compare())
        self._shadows.add(task)
        task.add_done_callback(self._shadows.discard)

    async def predict_file(
        self, request: Request, serving: Serving, kind: str
    ) -> tuple[AsyncIterator[bytes], Served]:
        """Return the lines that answer a file, and which version gives them; else raise ``Refused``."""
        served = serving.choose(lambda: _given_key(request) or request.state.request_id)
        assert served
        if self._files.locked():
            self.metrics.shed.labels("request").inc()
            raise BUSY
        await self._files.acquire()
        try:
            body = await read_body(request, MOST_FILE_BYTES, FILE_SECONDS)
            table = await asyncio.to_thread(read_file, served, kind, body)
            first = await self._score_part(request, served, table, 0)
        except BaseException:
            self._files.release()
            raise

        async def lines() -> AsyncIterator[bytes]:
            try:
                yield write_lines(first, kind, header=True)
                for start in range(MOST_ROWS, len(table), MOST_ROWS):
                    part = await self._score_part(request, served, table, start)
                    yield write_lines(part, kind, header=False)
            finally:
                self._files.release()

        return lines(), served

    async def _score_part(
        self, request: Request, served: Served, table: pd.DataFrame, start: int
    ) -> list[dict[str, Any]]:
        part = table.iloc[start : start + MOST_ROWS]
        began = time.perf_counter()
        scoring = self.batcher.score(lambda _: served.answer_table(part), [None] * len(part))
        answer = await self._wait(served, scoring)
        seconds = time.perf_counter() - began
        self._count(served, answer, seconds)
        inputs = part.astype(object).where(part.notna(), None).to_dict("records") if self.log else []
        self._log(request, served, inputs, answer, seconds, start)
        return answer

    def take_feedback(self, champion: Served, body: bytes) -> int:
        """Return how many labels a body holds, all of which will be written; else raise ``Refused``."""
        if self.log is None:
            raise Refused(503, "no prediction log is kept here (ML_PREDICTIONS)")
        try:
            given = FEEDBACK.validate_json(body if body.lstrip().startswith(b"[") else b"[" + body + b"]")
            for number, one in enumerate(given[:MOST_ROWS]):
                champion.label.validate_python({"label": one.label})
        except ValidationError as error:
            raise Refused(422, tell(error)) from error
        if not 0 < len(given) <= MOST_ROWS:
            raise Refused(422, f"send 1 to {MOST_ROWS} labels at once, not {len(given)}")
        at = time.time()
        if not self.log.put(Label(one.request_id, one.row, one.label, at) for one in given):
            raise BUSY
        return len(given)

    def _count_label(self, version: int | None, output: Any, label: Any) -> None:
        if version is None:
            self.metrics.feedback.labels("unknown", "unknown").inc()
        elif isinstance(label, float) or isinstance(output["prediction"], float):
            self.metrics.feedback.labels(str(version), "known").inc()
            self.metrics.feedback_error.labels(str(version)).observe(abs(output["prediction"] - label))
        else:
            outcome = "right" if output["prediction"] == label else "wrong"
            self.metrics.feedback.labels(str(version), outcome).inc()


def _given_key(request: Request) -> str:
    return request.headers.get("x-request-key", "")


def _id_of_first_row(serving: Serving, body: bytes) -> str:
    assert serving.champion
    try:
        given = from_json(body)
        first = given[0] if isinstance(given, list) else given
        return str(first[serving.champion.bundle.project.id])
    except (ValueError, LookupError, TypeError):
        return ""


def _difference(one: dict[str, Any], other: dict[str, Any]) -> float:
    """Return how far two answers to a row are apart: 1 for another class, else its largest difference."""
    numbers = [key for key in one if isinstance(one[key], float)]
    if any(one[key] != other.get(key) for key in one if key not in numbers):
        return 1.0
    return float(max((abs(one[key] - other.get(key, np.inf)) for key in numbers), default=0.0))
