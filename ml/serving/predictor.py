"""Predicting: which version answers a request, what is counted and logged of it, and what came true."""

import asyncio
import time
from collections.abc import AsyncIterator, Coroutine
from typing import Any

import pandas as pd
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError
from pydantic_core import from_json
from starlette.requests import Request

from ml.console import say
from ml.data.rows import records
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
from ml.serving.loaded import Served, Serving
from ml.serving.prediction_log import Compared, Label, PredictionLog
from ml.serving.prometheus import Metrics
from ml.store.lookup import Answered

MOST_FILES = 2  # at once, in one worker
MOST_SHADOWS = 64  # at once; more are not scored
SCORE_SECONDS = 10.0
SQUARED = ("difference", "champion", "error")  # of which an interval asks for the sum of squares, too


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
        self.trouble: dict[str, str] = {}

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
        try:
            answer = await self._score(request, served, parse_rows(served, body, serving.unknown_to(served)))
        except Refused as refused:
            if refused.status not in (422, 500) or served is serving.champion:
                raise
            # A candidate that fails, or refuses what the champion answers, is counted, and nobody feels it.
            candidate, served = served, serving.champion
            answer = await self._score(request, served, parse_rows(served, body, serving.unknown_to(served)))
            if refused.status == 422:
                self._note_trouble(candidate, refused)
            return answer, served
        if other := serving.other(served):
            self._compare(request, serving, other, body, answer)
        return answer, served

    def _note_trouble(self, candidate: Served, refused: Refused) -> None:
        """Count that a candidate refuses what the champion answers, and keep why for who judges it."""
        self.metrics.answers.labels(str(candidate.version), "failed").inc()
        told = refused.detail
        if not isinstance(told, str):
            told = "; ".join(f"{' '.join(one['place'])}: {one['problem']}" for one in told[:1])
        self.trouble = {str(candidate.version): told[:300]}

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

    def _compare(
        self, request: Request, serving: Serving, other: Served, body: bytes, answer: list[dict[str, Any]]
    ) -> None:
        """Let the other version score what was answered, in the background, and count what both say."""
        if len(self._shadows) >= MOST_SHADOWS:
            self.metrics.shed.labels("shadow").inc()
            return
        candidate = serving.candidate
        assert candidate

        async def compare() -> None:
            version, is_shadow = str(other.version), other is candidate
            try:
                rows = parse_rows(other, body, serving.unknown_to(other))
                start = time.perf_counter()
                told = await self._wait(other, self.batcher.score(other.answer, rows))
            except Refused as refused:
                if is_shadow and refused.status == 422:
                    self._note_trouble(candidate, refused)
                return
            if is_shadow:
                self.metrics.answers.labels(version, "ok").inc()
                self.metrics.answer_seconds.labels(version).observe(time.perf_counter() - start)
                for one in told:
                    self.metrics.predictions.labels(version, candidate.bin(one)).inc()
            before, after = (answer, told) if is_shadow else (told, answer)
            for one, another in zip(before, after, strict=True):
                self._count_pair(str(candidate.version), one["prediction"], another["prediction"])
            if self.log:
                identity = request.state.request_id
                self.log.put(
                    Compared(identity, row, other.version, candidate.version, one["prediction"])
                    for row, one in enumerate(told)
                )

        task = asyncio.create_task(compare())
        self._shadows.add(task)
        task.add_done_callback(self._shadows.discard)

    def _count_pair(self, version: str, before: Any, after: Any) -> None:
        if isinstance(before, float) and isinstance(after, float):
            self._add_up(version, {"rows": 1.0, "difference": after - before, "champion": before})
        else:
            self.metrics.pairs.labels(version, str(before), str(after)).inc()

    def _add_up(self, version: str, values: dict[str, float]) -> None:
        for name, value in values.items():
            self.metrics.pair_sums.labels(version, name).inc(value)
            if name in SQUARED:
                self.metrics.pair_sums.labels(version, f"{name} squared").inc(value**2)

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
            table = await asyncio.to_thread(read_file, served, kind, body, serving.unknown_to(served))
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
        inputs = records(part) if self.log else []
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

    def _count_label(self, answered: Answered | None, label: Any) -> None:
        """Count a label for the version that answered, and for the one that it was compared with."""
        if answered is None:
            self.metrics.feedback.labels("unknown", "unknown").inc()
            return
        right = {version: self._count_for(version, told, label) for version, told in answered.said.items()}
        if answered.candidate is None or len(right) < 2:
            return
        candidate = str(answered.candidate)
        (champion,) = (version for version in right if version != answered.candidate)
        ours, theirs = right[answered.candidate], right[champion]
        if isinstance(ours, str) and isinstance(theirs, str):
            self.metrics.paired_labels.labels(candidate, theirs, ours).inc()
        elif isinstance(ours, float) and isinstance(theirs, float):
            self._add_up(candidate, {"errors": 1.0, "error": ours - theirs, "champion error": theirs})

    def _count_for(self, version: int, said: Any, label: Any) -> str | float:
        """Return whether an answer was right, or how far it was off, after counting that."""
        if isinstance(label, float) or isinstance(said, float):
            error = float(abs(said - label))
            self.metrics.feedback.labels(str(version), "known").inc()
            self.metrics.feedback_error.labels(str(version)).observe(error)
            return error
        outcome = "right" if said == label else "wrong"
        self.metrics.feedback.labels(str(version), outcome).inc()
        return outcome


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
