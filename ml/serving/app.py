"""The FastAPI application: predictions, feedback, health, lineage, metrics, documentation."""

import asyncio
import contextlib
import csv
import io
import os
import time
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from fastapi import Depends, FastAPI, Request, Response
from fastapi.responses import StreamingResponse
from fastapi_offline import FastAPIOffline
from prometheus_client import CONTENT_TYPE_LATEST
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError
from pydantic_core import from_json, to_json
from starlette.requests import ClientDisconnect

from ml import locations
from ml.console import say
from ml.contracts import check, typed_table
from ml.errors import MlError
from ml.registry import Registry
from ml.serving import MOST_ROWS, REPLAY_HEADER
from ml.serving.access import Observed, key_check, read_keys
from ml.serving.batching import Batcher, Full
from ml.serving.description import Answer, Problem, describe_rows, file_body
from ml.serving.follower import Follower, Served, Serving
from ml.serving.metrics import Metrics
from ml.serving.prediction_log import Label, PredictionLog
from ml.sources.tables import read_table
from ml.workspace import code_digest, read_json, write_json

MOST_BODY_BYTES = 4 * 1024 * 1024
MOST_FILE_BYTES = 32 * 1024 * 1024
MOST_FILES = 2  # at once, in one worker
MOST_SHADOWS = 64  # at once; more are not scored
MOST_ERRORS_TOLD = 20
FOLLOW_SECONDS = 0.1
BODY_SECONDS = 10.0
FILE_SECONDS = 120.0
SCORE_SECONDS = 10.0
RETRY_AFTER_SECONDS = 1
CSV, NDJSON = "text/csv", "application/x-ndjson"


class Feedback(BaseModel):
    """What came true for one row of an earlier answer."""

    model_config = ConfigDict(extra="forbid", strict=True)

    request_id: str = Field(pattern="^[0-9a-f]{32}$", examples=["0123456789abcdef0123456789abcdef"])
    row: int = Field(default=0, ge=0, le=2**31 - 1, description="its place in the request, from 0")
    label: int | float | str | bool


class Refused(Exception):
    """A request that is answered with an error: its status and why."""

    def __init__(self, status: int, detail: str | list[dict[str, Any]]) -> None:
        """Tell the client this."""
        super().__init__(status)
        self.status, self.detail = status, detail


FEEDBACK = TypeAdapter(list[Feedback])
ONE_LABEL = Feedback.model_json_schema()
MANY_LABELS = {"type": "array", "items": ONE_LABEL, "minItems": 1, "maxItems": MOST_ROWS}
BUSY = Refused(503, "too many requests wait already: ask again in a moment")
NO_MODEL = "channel '{}' serves no model yet: deploy one"


def create_app(
    project: str, channel: str, follower: Follower | None = None, status: Path | None = None
) -> FastAPI:
    """Return the application that serves what a channel points to, and follows when the pointer moves.

    A ``follower`` that holds a model already lets a candidate answer before it is registered; then nothing
    is logged. In the folder ``status`` the workers of one service tell each other what they serve.
    """
    keys = read_keys()
    service = _Service(project, channel, follower, status)
    guard = [Depends(key_check(keys))] if keys else []

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        if follower is None and (url := locations.predictions(project, channel)):
            service.keep_log(url)
        await asyncio.to_thread(service.follow)
        tasks = [asyncio.create_task(service.follow_forever()), asyncio.create_task(service.batcher.run())]
        yield
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if service.log:
            await asyncio.to_thread(service.log.close)

    app = FastAPIOffline(title=f"{project}: {channel}", version="1", lifespan=lifespan)
    app.state.service = service
    app.add_middleware(Observed, metrics=service.metrics)

    @app.exception_handler(Refused)
    async def refuse(_: Request, refused: Refused) -> Response:
        headers = {"Retry-After": str(RETRY_AFTER_SECONDS)} if refused.status == 503 else {}
        return _json({"detail": refused.detail}, refused.status, headers)

    def problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
        retry = {"Retry-After": {"description": "seconds", "schema": {"type": "integer"}}}
        found: dict[int | str, dict[str, Any]] = {
            code: {"model": Problem} for code in ((401,) if guard else ()) + statuses
        }
        found[503]["headers"] = retry
        return found

    @app.post(
        "/predict",
        summary=f"Predict for one row or a list of at most {MOST_ROWS}",
        response_model=Answer,
        responses=problems(408, 413, 422, 500, 503),
        dependencies=guard,
    )
    async def predict(request: Request) -> Response:
        serving = service.ready()
        body = await _read_body(request, MOST_BODY_BYTES, BODY_SECONDS)
        answer, served = await service.predict(request, serving, body)
        identity = request.state.request_id
        content = {"project": project, "channel": channel, "version": served.version, "request_id": identity}
        headers = {"X-Model-Version": str(served.version)}
        return _json(content | {"predictions": answer}, headers=headers)

    @app.post(
        "/predict/file",
        summary="Predict for a CSV or NDJSON file, answered in the same format",
        response_class=StreamingResponse,
        responses={200: {"content": {CSV: {}, NDJSON: {}}, "description": "One line a row, in its order"}}
        | problems(408, 413, 415, 422, 500, 503),
        openapi_extra=file_body(CSV, NDJSON),
        dependencies=guard,
    )
    async def predict_file(request: Request) -> Response:
        serving = service.ready()
        kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind not in (CSV, NDJSON):
            raise Refused(415, f"send a file of type {CSV} or {NDJSON} in the header Content-Type")
        served = serving.choose(lambda: _given_key(request) or request.state.request_id)
        assert served
        lines = await service.predict_file(request, served, kind)
        return StreamingResponse(lines, media_type=kind, headers={"X-Model-Version": str(served.version)})

    @app.post(
        "/feedback",
        status_code=202,
        summary="Tell what came true for rows of earlier answers",
        responses=problems(408, 413, 422, 503),
        openapi_extra={
            "requestBody": {
                "required": True,
                "content": {"application/json": {"schema": {"oneOf": [ONE_LABEL, MANY_LABELS]}}},
            }
        },
        dependencies=guard,
    )
    async def feedback(request: Request) -> Response:
        champion = service.ready().champion
        assert champion
        body = await _read_body(request, MOST_BODY_BYTES, BODY_SECONDS)
        return _json({"accepted": service.take_feedback(champion, body)}, 202)

    @app.get("/health", summary="Is a model loaded, and which, in each worker?", responses={503: {}})
    async def health() -> Response:
        state = await asyncio.to_thread(service.health)
        return _json(state, 200 if state["ready"] else 503)

    @app.get(
        "/model", summary="The lineage of the model that answers", responses=problems(503), dependencies=guard
    )
    async def model() -> Response:
        champion = service.ready().champion
        assert champion
        try:
            lineage = await asyncio.to_thread(service.follower.registry.read, champion.version)
        except (MlError, OSError) as error:
            raise Refused(503, f"the registry cannot be read: {error}") from error
        return _json({key: value for key, value in lineage.items() if key != "outputs"})

    @app.get("/metrics", summary="Counters for Prometheus", response_class=Response)
    async def show_metrics() -> Response:
        return Response(await asyncio.to_thread(service.metrics.text), media_type=CONTENT_TYPE_LATEST)

    describe = app.openapi

    def openapi() -> dict[str, Any]:
        app.openapi_schema = None
        schema = describe()
        if service.follower.serving.champion:
            describe_rows(schema, service.follower.serving.champion)
        return schema

    app.openapi = openapi  # type: ignore[method-assign]
    return app


class _Service:
    """What the endpoints share: the models, the queue before them, the counters and the prediction log."""

    def __init__(self, project: str, channel: str, follower: Follower | None, status: Path | None) -> None:
        self.project, self.channel, self.status = project, channel, status
        self.follower = follower or Follower(Registry(project), channel)
        self.metrics = Metrics()
        self.batcher = Batcher(scored=self.metrics.batch_rows.observe)
        self.log: PredictionLog | None = None
        self.files = asyncio.Semaphore(MOST_FILES)
        self.shadows: set[asyncio.Task[None]] = set()
        self.code = code_digest()
        self.follows = follower is None
        self._swaps = 0
        self._state: dict[str, Any] = {}

    def keep_log(self, url: str) -> None:
        metrics = self.metrics
        self.log = PredictionLog(
            url, written=metrics.logged.inc, lost=metrics.lost.inc, labelled=self._count_label
        )

    def ready(self) -> Serving:
        if self.follower.serving.champion is None:
            raise Refused(503, NO_MODEL.format(self.channel))
        return self.follower.serving

    def follow(self) -> None:
        if self.follows:
            self.follower.follow()
        champion, candidate = self.follower.serving.champion, self.follower.serving.candidate
        state = {
            "pid": os.getpid(),
            "code": self.code,
            "version": champion.version if champion else None,
            "candidate": candidate.version if candidate else None,
            "since": self.follower.since,
            "refused": {str(version): reason for version, reason in self.follower.refused.items()},
        }
        self.metrics.swaps.inc(self.follower.swaps - self._swaps)
        self._swaps = self.follower.swaps
        self.metrics.version.set(champion.version if champion else 0)
        self.metrics.queue.set(self.batcher.waiting_rows)
        self.metrics.measure_process()
        if state != self._state:
            if self.status:
                with contextlib.suppress(OSError):  # a full disk: told again at the next look
                    write_json(self.status / f"{os.getpid()}.json", state)
                    self._state = state
            else:
                self._state = state

    async def follow_forever(self) -> None:
        while True:
            await asyncio.sleep(FOLLOW_SECONDS)
            try:
                await asyncio.to_thread(self.follow)
            except Exception as error:  # following must not end, whatever happens
                say(f"serve: cannot follow the channel: {type(error).__name__}: {error}")

    def health(self) -> dict[str, Any]:
        workers = [self._state]
        if self.status:
            with contextlib.suppress(OSError, MlError):
                workers = [read_json(file) for file in sorted(self.status.glob("[0-9]*.json"))] or workers
        return {
            "live": True,
            "ready": self.follower.serving.champion is not None,
            "project": self.project,
            "channel": self.channel,
            **{
                key: self._state.get(key)
                for key in ("pid", "code", "version", "candidate", "since", "refused")
            },
            "workers": workers,
        }

    async def predict(
        self, request: Request, serving: Serving, body: bytes
    ) -> tuple[list[dict[str, Any]], Served]:
        served = serving.choose(lambda: _given_key(request) or _id_of_first_row(serving, body))
        assert served and serving.champion
        rows = _parse(served, body)
        try:
            answer = await self._score(request, served, rows)
        except Refused as refused:
            if refused.status != 500 or served is serving.champion:
                raise
            served = serving.champion  # a candidate that fails is counted, and nobody feels it
            rows = _parse(served, body)
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
        if len(self.shadows) >= MOST_SHADOWS:
            self.metrics.shed.labels("shadow").inc()
            return

        async def compare() -> None:
            version = str(candidate.version)
            try:
                rows = _parse(candidate, body)
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
        self.shadows.add(task)
        task.add_done_callback(self.shadows.discard)

    async def predict_file(self, request: Request, served: Served, kind: str) -> AsyncIterator[bytes]:
        if self.files.locked():
            self.metrics.shed.labels("request").inc()
            raise BUSY
        await self.files.acquire()
        try:
            body = await _read_body(request, MOST_FILE_BYTES, FILE_SECONDS)
            table = await asyncio.to_thread(_read_file, served, kind, body)
            first = await self._score_part(request, served, table, 0)
        except BaseException:
            self.files.release()
            raise

        async def lines() -> AsyncIterator[bytes]:
            try:
                yield _write_lines(first, kind, header=True)
                for start in range(MOST_ROWS, len(table), MOST_ROWS):
                    part = await self._score_part(request, served, table, start)
                    yield _write_lines(part, kind, header=False)
            finally:
                self.files.release()

        return lines()

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
        if self.log is None:
            raise Refused(503, "no prediction log is kept here (ML_PREDICTIONS)")
        try:
            given = FEEDBACK.validate_json(body if body.lstrip().startswith(b"[") else b"[" + body + b"]")
            for number, one in enumerate(given[:MOST_ROWS]):
                champion.label.validate_python({"label": one.label})
        except ValidationError as error:
            raise Refused(422, _tell(error)) from error
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


async def _read_body(request: Request, most: int, seconds: float) -> bytes:
    """Return the body, or refuse as soon as it proves too large or slow; no more than the limit is held."""
    too_large = Refused(413, f"the request is larger than {most} bytes: send fewer rows at once")
    declared = request.headers.get("content-length", "0")
    if declared.isdigit() and int(declared) > most:
        raise too_large
    body = bytearray()
    try:
        async with asyncio.timeout(seconds):
            async for chunk in request.stream():
                body += chunk
                if len(body) > most:
                    raise too_large
    except TimeoutError:
        raise Refused(408, f"the request did not arrive within {seconds:g} s") from None
    except ClientDisconnect:
        raise Refused(408, "the request was cut off") from None
    return bytes(body)


def _parse(served: Served, body: bytes) -> list[BaseModel]:
    adapter = served.rows if body.lstrip().startswith(b"[") else served.row
    try:
        given = adapter.validate_json(body)
    except ValidationError as error:
        raise Refused(422, _tell(error)) from error
    return given if isinstance(given, list) else [given]


def _read_file(served: Served, kind: str, body: bytes) -> pd.DataFrame:
    contract = served.bundle.request_contract
    try:
        if kind == CSV:
            name = Path("the file")
            return check(
                read_table(lambda _, **options: pd.read_csv(io.BytesIO(body), **options), name, contract),
                contract,
                str(name),
            )
        rows = []
        for number, line in enumerate(body.splitlines(), start=1):
            if line.strip():
                try:
                    rows.append(served.row.validate_json(line).model_dump(by_alias=True))
                except ValidationError as error:
                    told = [{**one, "place": [f"line {number}", *one["place"]]} for one in _tell(error)]
                    raise Refused(422, told) from error
        if not rows:
            raise Refused(422, "the file is empty: send at least one row")
        return check(typed_table(rows, contract), contract, "the file")
    except (MlError, UnicodeDecodeError) as error:
        raise Refused(422, str(error)) from error


def _write_lines(answer: list[dict[str, Any]], kind: str, *, header: bool) -> bytes:
    if kind == NDJSON:
        return b"".join(to_json(one) + b"\n" for one in answer)
    text = io.StringIO()
    writer = csv.DictWriter(text, list(answer[0]), lineterminator="\n")
    if header:
        writer.writeheader()
    writer.writerows(answer)
    return text.getvalue().encode()


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


def _tell(error: ValidationError) -> list[dict[str, Any]]:
    told = error.errors(include_url=False, include_context=False, include_input=False)[:MOST_ERRORS_TOLD]
    return [{"place": [str(part)[:100] for part in one["loc"]], "problem": one["msg"]} for one in told]


def _json(content: Any, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    return Response(to_json(content), status, headers, media_type="application/json")
