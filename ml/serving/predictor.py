"""Predicting: which version answers, what is counted and logged of it, and what came true. Knows no HTTP."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Annotated, Any

import pandas as pd
from pydantic import Field, TypeAdapter, ValidationError
from pydantic_core import from_json

from ml.data.formats import Kind, read_json, read_rows, write_rows
from ml.data.request import BrokenRows, Feedback, check_names
from ml.data.rows import Row, records, rows_to_table
from ml.errors import MlError
from ml.serving import MAX_ROWS
from ml.serving.batching import Batcher, Score
from ml.serving.contributions import Contributions, contributions, scored_rows
from ml.serving.counts import Counts
from ml.serving.loaded import LoadedVersion, Routing
from ml.serving.prediction_log import MAX_WAITING, AnsweredRows, Compared, Label, PredictionLog
from ml.serving.prometheus import Metrics
from ml.serving.scoring import Busy, ModelFailed, Unavailable, score_in_time

MAX_FILES = 2  # at once, in one worker
FILE_ROWS = 5000  # of a file, that are scored and logged together
LOG_SECONDS = 5.0
MAX_SHADOWS = 64  # at once; more are not scored
FEEDBACK = TypeAdapter(Annotated[list[Feedback], Field(min_length=1, max_length=MAX_ROWS)])


@dataclass(frozen=True)
class Asked:
    """Who asks: the identity of the request, the key that chooses a version, whether a deploy asks."""

    identity: str
    key: str = ""
    replay: bool = False


class Predictor:
    """Answers requests: scores, counts, logs, and compares a shadow. One for each worker."""

    def __init__(self, project: str, channel: str, metrics: Metrics) -> None:
        """Answer for a channel; who runs ``batcher.run()`` makes it work."""
        self.project, self.channel, self.metrics = project, channel, metrics
        self.counts = Counts(metrics)
        self.batcher = Batcher(scored=metrics.batch_rows.observe)
        self.log: PredictionLog | None = None
        self._files = asyncio.Semaphore(MAX_FILES)
        self._shadows: set[asyncio.Task[None]] = set()
        self.trouble: dict[str, str] = {}

    def keep_log(self, url: str) -> None:
        """Write what is asked and answered to a database (SQLAlchemy URL)."""
        metrics = self.metrics
        self.log = PredictionLog(
            url,
            of=(self.project, self.channel),
            written=metrics.logged.inc,
            lost=metrics.lost.inc,
            labelled=self.counts.labelled,
        )

    async def predict(
        self, asked: Asked, routing: Routing, rows: bytes
    ) -> tuple[list[dict[str, Any]], LoadedVersion]:
        """Return the answers to rows in JSON, one or a list, and which version gave them.

        Raises ``BrokenRows``, or another ``MlError``, for rows that the contract refuses, ``Unavailable`` and
        ``ModelFailed``.
        """
        chosen = routing.choose(lambda: asked.key or _id_of_first_row(routing, rows))
        assert chosen and routing.champion
        try:
            answer = await self._answer(asked, routing, chosen, rows)
        except Unavailable:
            raise
        except MlError as error:
            if chosen is routing.champion:
                raise
            # A candidate that fails, or refuses what the champion answers, is counted, and nobody feels it.
            candidate, chosen = chosen, routing.champion
            answer = await self._answer(asked, routing, chosen, rows)
            if not isinstance(error, ModelFailed):
                self._note_trouble(candidate, error)
            return answer, chosen
        if other := routing.other(chosen):
            self._compare(asked, routing, other, rows, answer)
        return answer, chosen

    def _note_trouble(self, candidate: LoadedVersion, error: MlError) -> None:
        """Count that a candidate refuses what the champion answers, and keep why for who judges it."""
        self.metrics.count(self.metrics.answers, str(candidate.version), "failed")
        told = str(error)
        if isinstance(error, BrokenRows):
            told = "; ".join(f"{' '.join(one['place'])}: {one['problem']}" for one in error.problems[:1])
        self.trouble = {str(candidate.version): told[:300]}

    async def _answer(
        self, asked: Asked, routing: Routing, loaded: LoadedVersion, content: bytes
    ) -> list[dict[str, Any]]:
        rows = read_json(content, loaded.reader, routing.unknown_to(loaded))
        start = time.perf_counter()
        answer = await self._score(loaded, rows)
        seconds = time.perf_counter() - start
        self.counts.answered(loaded, answer, seconds)
        if self.log:
            self.log.put([_kept(asked, loaded, rows, answer, seconds)])
        return answer

    async def _score(self, loaded: LoadedVersion, rows: list[Row]) -> list[Row]:
        """Return what a version says of rows: few of them at once, where it has a fast path."""
        if len(rows) <= loaded.rows_at_once and (answer := loaded.answer_at_once(rows)) is not None:
            return answer
        return await self._wait(loaded, loaded.answer, rows)

    async def _wait(self, loaded: LoadedVersion, score: Score, rows: list[Any]) -> list[dict[str, Any]]:
        """Return what a version says of rows, after counting it if there is no answer."""
        version = str(loaded.version)
        try:
            return await score_in_time(self.batcher, loaded.version, score, rows)
        except Busy:
            self.metrics.shed.labels("request").inc()
            raise
        except (Unavailable, ModelFailed):
            self.metrics.count(self.metrics.answers, version, "failed")
            raise
        except MlError:
            self.metrics.count(self.metrics.answers, version, "refused")
            raise

    def _compare(
        self,
        asked: Asked,
        routing: Routing,
        other: LoadedVersion,
        content: bytes,
        answer: list[dict[str, Any]],
    ) -> None:
        """Let the other version score what was answered, in the background, and count what both say."""
        if len(self._shadows) >= MAX_SHADOWS:
            self.metrics.shed.labels("shadow").inc()
            return
        candidate = routing.candidate
        assert candidate

        async def compare() -> None:
            is_shadow = other is candidate
            try:
                rows = read_json(content, other.reader, routing.unknown_to(other))
                start = time.perf_counter()
                told = await self._score(other, rows)
            except MlError as error:
                if is_shadow and not isinstance(error, Unavailable | ModelFailed):
                    self._note_trouble(candidate, error)
                return
            if is_shadow:
                self.counts.scored(candidate, told, time.perf_counter() - start)
            before, after = (answer, told) if is_shadow else (told, answer)
            for one, another in zip(before, after, strict=True):
                self.counts.paired(candidate.version, one["prediction"], another["prediction"])
            if self.log:
                self.log.put(
                    Compared(asked.identity, row, other.version, candidate.version, one["prediction"])
                    for row, one in enumerate(told)
                )

        task = asyncio.create_task(compare())
        self._shadows.add(task)
        task.add_done_callback(self._shadows.discard)

    async def predict_file(
        self, asked: Asked, routing: Routing, kind: Kind, read: Callable[[], Awaitable[bytes]]
    ) -> tuple[AsyncIterator[bytes], LoadedVersion]:
        """Return the lines that answer a file, and which version gives them; raises as ``predict`` does.

        The file is ``read`` when there is room for it.
        """
        loaded = routing.choose(lambda: asked.key or asked.identity)
        assert loaded
        if self._files.locked():
            self.metrics.shed.labels("request").inc()
            raise Busy
        await self._files.acquire()
        try:
            unknown = routing.unknown_to(loaded)
            table = await asyncio.to_thread(read_rows, await read(), kind, loaded.reader, "the file", unknown)
            scored = await self._score_part(loaded, table.iloc[:FILE_ROWS])
        except BaseException:
            self._files.release()
            raise

        async def lines() -> AsyncIterator[bytes]:
            coming: asyncio.Task[tuple[list[Row], float]] | None = None
            try:
                for start in range(0, len(table), FILE_ROWS):
                    answer, seconds = scored if coming is None else await coming
                    await self._room_in_the_log()
                    # While a part is written down, the next is scored.
                    if start + FILE_ROWS < len(table):
                        following = table.iloc[start + FILE_ROWS : start + 2 * FILE_ROWS]
                        coming = asyncio.create_task(self._score_part(loaded, following))
                    if self.log:
                        part = table.iloc[start : start + FILE_ROWS]
                        kept = await asyncio.to_thread(
                            _kept_of_table, asked, loaded, part, answer, seconds, start
                        )
                        self.log.put([kept])
                    yield await asyncio.to_thread(write_rows, answer, kind, header=start == 0)
            finally:
                if coming:
                    coming.cancel()
                self._files.release()

        return lines(), loaded

    async def _room_in_the_log(self) -> None:
        """Wait a while until little waits for the log: a file is answered faster than it is written."""
        until = time.monotonic() + LOG_SECONDS
        while self.log and not self.log.has_room(MAX_WAITING - FILE_ROWS) and time.monotonic() < until:
            await asyncio.sleep(0.01)

    async def _score_part(self, loaded: LoadedVersion, part: pd.DataFrame) -> tuple[list[Row], float]:
        """Return the answers to rows of a file, and how many seconds they took."""
        began = time.perf_counter()
        answer = await self._wait(loaded, lambda _: loaded.answer_table(part), [None] * len(part))
        seconds = time.perf_counter() - began
        self.counts.answered(loaded, answer, seconds)
        return answer, seconds

    async def try_row(self, loaded: LoadedVersion, content: bytes) -> tuple[dict[str, Any], Contributions]:
        """Return the answer to one row in JSON, and what drove it; raises as ``predict`` does.

        Whoever judges answers must not take it for one, so it is neither counted, logged nor compared.
        """
        rows = read_json(content, loaded.reader)

        def answer_and_explain(_: list[Any]) -> list[tuple[dict[str, Any], Contributions]]:
            answer = loaded.answer(rows)[0]
            table = rows_to_table(rows, loaded.bundle.request_contract, checked=True)
            return [(answer, contributions(loaded, table, answer))]

        waiting = [None] * scored_rows(loaded)
        found: list[tuple[dict[str, Any], Contributions]]
        found = await score_in_time(self.batcher, loaded.version, answer_and_explain, waiting)
        return found[0]

    def take_feedback(self, champion: LoadedVersion, body: bytes, sender: str | None = None) -> int:
        """Return how many labels there are in JSON, one or a list, all of which will be written.

        Raises ``BrokenRows`` or another ``MlError`` for what are none, and ``Unavailable``.
        """
        if self.log is None:
            raise Unavailable("no prediction log is kept here (ML_STORE)")
        check_names(body, len(Feedback.model_fields))
        at = time.time()
        try:
            given = FEEDBACK.validate_json(body if body.lstrip().startswith(b"[") else b"[" + body + b"]")
            told = [
                Label(one.request_id, one.row, champion.read_label(one.label), at, one.since, sender)
                for one in given
            ]
        except ValidationError as error:
            raise BrokenRows(error) from error
        if not self.log.put(told):
            raise Busy
        return len(given)


def _kept(
    asked: Asked,
    loaded: LoadedVersion,
    inputs: list[Row],
    answer: list[Row],
    seconds: float,
    first: int = 0,
) -> AnsweredRows:
    about = asked.identity, first, time.time(), loaded.version, asked.replay
    return AnsweredRows.of(*about, inputs, answer, seconds * 1000, loaded.bundle.project.personal)


def _kept_of_table(
    asked: Asked, loaded: LoadedVersion, rows: pd.DataFrame, answer: list[Row], seconds: float, first: int
) -> AnsweredRows:
    known = rows.drop(columns=list(loaded.bundle.project.personal), errors="ignore")
    return _kept(asked, loaded, records(known), answer, seconds, first)


def _id_of_first_row(routing: Routing, content: bytes) -> str:
    assert routing.champion
    try:
        given = from_json(content)
        first = given[0] if isinstance(given, list) else given
        return str(first[routing.champion.bundle.project.id])
    except (ValueError, LookupError, TypeError):
        return ""
