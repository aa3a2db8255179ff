"""The FastAPI application: predictions, feedback, health, lineage, metrics, documentation."""

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from fastapi import Depends, FastAPI, Request, Response
from fastapi.responses import StreamingResponse
from fastapi_offline import FastAPIOffline
from prometheus_client import CONTENT_TYPE_LATEST

from ml import locations
from ml.console import say
from ml.errors import MlError
from ml.files import read_json, write_json
from ml.registry.versions import Registry
from ml.serving import MOST_ROWS
from ml.serving.access import Observed, key_check, read_keys
from ml.serving.bodies import BODY_SECONDS, CSV, MOST_BODY_BYTES, NDJSON, Refused, json_response, read_body
from ml.serving.follower import Follower
from ml.serving.loaded import Serving
from ml.serving.openapi import Answer, Problem, describe_rows, file_body
from ml.serving.predictor import Feedback, Predictor
from ml.serving.prometheus import Metrics
from ml.serving.workers import running_code

FOLLOW_SECONDS = 0.1
RETRY_AFTER_SECONDS = 1
ONE_LABEL = Feedback.model_json_schema()
MANY_LABELS = {"type": "array", "items": ONE_LABEL, "minItems": 1, "maxItems": MOST_ROWS}
NO_MODEL = "channel '{}' serves no model yet: deploy one"


def create_app(
    project: str, channel: str, follower: Follower | None = None, status: Path | None = None
) -> FastAPI:
    """Return the application that serves what a channel points to, and follows when the pointer moves.

    A ``follower`` that holds a model already lets a candidate answer before it is registered; then nothing
    is logged. In the folder ``status`` the workers of one service tell each other what they serve.
    """
    keys = read_keys()
    metrics = Metrics()
    predictor = Predictor(project, channel, metrics)
    followed = _Followed(project, channel, follower, status, predictor)
    guard = [Depends(key_check(keys))] if keys else []

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        if follower is None and (url := locations.predictions(project, channel)):
            predictor.keep_log(url)
        await asyncio.to_thread(followed.follow)
        tasks = [asyncio.create_task(followed.follow_forever()), asyncio.create_task(predictor.batcher.run())]
        yield
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if predictor.log:
            await asyncio.to_thread(predictor.log.close)

    app = FastAPIOffline(title=f"{project}: {channel}", version="1", lifespan=lifespan)
    app.state.followed, app.state.predictor = followed, predictor
    app.add_middleware(Observed, metrics=metrics)

    @app.exception_handler(Refused)
    async def refuse(_: Request, refused: Refused) -> Response:
        headers = {"Retry-After": str(RETRY_AFTER_SECONDS)} if refused.status == 503 else {}
        return json_response({"detail": refused.detail}, refused.status, headers)

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
        serving = followed.ready()
        body = await read_body(request, MOST_BODY_BYTES, BODY_SECONDS)
        answer, served = await predictor.predict(request, serving, body)
        identity = request.state.request_id
        content = {"project": project, "channel": channel, "version": served.version, "request_id": identity}
        headers = {"X-Model-Version": str(served.version)}
        return json_response(content | {"predictions": answer}, headers=headers)

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
        serving = followed.ready()
        kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind not in (CSV, NDJSON):
            raise Refused(415, f"send a file of type {CSV} or {NDJSON} in the header Content-Type")
        lines, served = await predictor.predict_file(request, serving, kind)
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
        champion = followed.ready().champion
        assert champion
        body = await read_body(request, MOST_BODY_BYTES, BODY_SECONDS)
        return json_response({"accepted": predictor.take_feedback(champion, body)}, 202)

    @app.get("/health", summary="Is a model loaded, and which, in each worker?", responses={503: {}})
    async def health() -> Response:
        state = await asyncio.to_thread(followed.health)
        return json_response(state, 200 if state["ready"] else 503)

    @app.get(
        "/model", summary="The lineage of the model that answers", responses=problems(503), dependencies=guard
    )
    async def model() -> Response:
        champion = followed.ready().champion
        assert champion
        try:
            lineage = await asyncio.to_thread(followed.follower.registry.read, champion.version)
        except (MlError, OSError) as error:
            raise Refused(503, f"the registry cannot be read: {error}") from error
        return json_response(lineage.model_dump(mode="json", exclude={"format", "outputs"}))

    @app.get("/metrics", summary="Counters for Prometheus", response_class=Response)
    async def show_metrics() -> Response:
        return Response(await asyncio.to_thread(metrics.text), media_type=CONTENT_TYPE_LATEST)

    describe = app.openapi

    def openapi() -> dict[str, Any]:
        app.openapi_schema = None
        schema = describe()
        if followed.follower.serving.champion:
            describe_rows(schema, followed.follower.serving.champion)
        return schema

    app.openapi = openapi  # type: ignore[method-assign]
    return app


class _Followed:
    """The channel as this worker serves it; Prometheus, clients and the other workers are told."""

    def __init__(
        self, project: str, channel: str, follower: Follower | None, status: Path | None, predictor: Predictor
    ) -> None:
        self.project, self.channel, self.status = project, channel, status
        self.follower = follower or Follower(Registry(project), channel)
        self.follows = follower is None
        self.metrics, self.batcher = predictor.metrics, predictor.batcher
        self.trouble = lambda: predictor.trouble
        self.code = running_code()
        self._swaps = 0
        self._state: dict[str, Any] = {}

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
            "trouble": self.trouble(),
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
