"""The FastAPI application: predictions, feedback, health, lineage, metrics, documentation, a page."""

import asyncio
import gc
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fastapi import Depends, FastAPI, Request, Response
from fastapi.responses import StreamingResponse
from fastapi_offline import FastAPIOffline
from prometheus_client import CONTENT_TYPE_LATEST
from starlette.types import Receive, Scope, Send

from ml import locations
from ml.data.request import Feedback
from ml.errors import MlError
from ml.serving import MAX_ROWS, REPLAY_HEADER
from ml.serving.access import AccessLog, Keys, key_check, sender_of
from ml.serving.bodies import (
    BODY_SECONDS,
    CSV,
    FILE_SECONDS,
    KINDS,
    MAX_BODY_BYTES,
    MAX_FILE_BYTES,
    NDJSON,
    Refused,
    json_response,
    read_body,
    refused,
)
from ml.serving.follower import ChannelFollower
from ml.serving.kept import add_kept
from ml.serving.openapi import Answer, describe_rows, file_body
from ml.serving.page_paths import add_page
from ml.serving.parts import Parts
from ml.serving.predictor import Asked, Predictor
from ml.serving.prometheus import Metrics
from ml.serving.short_way import ShortWay
from ml.serving.troubles import troubles_of
from ml.serving.worker_state import WorkerState

PREDICT = "/predict"
REQUEST_KEY_HEADER = "X-Request-Key"
KEY_NAME, REPLAY_NAME = (name.lower().encode() for name in (REQUEST_KEY_HEADER, REPLAY_HEADER))
ONE_LABEL = Feedback.model_json_schema()
MANY_LABELS = {"type": "array", "items": ONE_LABEL, "minItems": 1, "maxItems": MAX_ROWS}
FILE_ANSWER: dict[int | str, dict[str, Any]] = {
    200: {"content": {CSV: {}, NDJSON: {}}, "description": "One line a row, in its order"}
}
LABELS_BODY = {
    "requestBody": {
        "required": True,
        "content": {"application/json": {"schema": {"oneOf": [ONE_LABEL, MANY_LABELS]}}},
    }
}


@dataclass(frozen=True)
class Application:
    """FastAPI behind what every request passes first, before even the layers that FastAPI brings itself."""

    framework: FastAPI
    front: AccessLog

    @property
    def state(self) -> Any:
        """What works here: ``worker`` and ``predictor``."""
        return self.framework.state

    def end(self) -> None:
        """Let each client go with its next answer: what it asks then is another worker's."""
        self.front.ending = True

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        scope["app"] = self
        await self.front(scope, receive, send)


def create_app(
    project: str, channel: str, follower: ChannelFollower | None = None, status: Path | None = None
) -> Application:
    """Return the application that serves what a channel points to, and follows when the pointer moves.

    A ``follower`` that holds a model already lets a candidate answer before it is registered; then nothing
    is logged. In the folder ``status`` the workers of one service tell each other what they serve.
    """
    keys, metrics = Keys(), Metrics()
    predictor = Predictor(project, channel, metrics)
    state = WorkerState(project, channel, follower, status, predictor)
    check = key_check(keys) if keys else None
    parts = Parts(project, channel, state, predictor, [Depends(check)] if check else [])

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        if follower is None and (url := locations.store(project, channel)):
            predictor.keep_log(url)
        await asyncio.to_thread(state.follow)
        if status:
            # What stays is looked at no more: that takes a fifth of a second, in which nobody is answered.
            gc.collect()
            gc.freeze()
        work = (state.follow_forever(), predictor.batcher.run(), metrics.settle_forever())
        tasks = [asyncio.create_task(one) for one in work]
        yield
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        metrics.settle()
        if predictor.log:
            await asyncio.to_thread(predictor.log.close)

    app = FastAPIOffline(
        title=f"{project}: {channel}", version="1", lifespan=lifespan, redirect_slashes=False
    )
    app.state.worker, app.state.predictor = state, predictor
    app.add_exception_handler(Refused, _refuse)
    app.add_exception_handler(MlError, _refuse)
    answer = _add_answers(app, parts)
    _add_feedback(app, parts)
    add_kept(app, parts)
    _add_looks(app, parts)
    add_page(app, state, predictor, keys, parts.guard)
    _describe_rows_of_champion(app, state)
    return Application(app, AccessLog(ShortWay(app, PREDICT, answer, _refuse, check), metrics))


async def _refuse(request: Request, error: Exception) -> Response:
    """Answer an error with its status; of a request for predictions it is noted, too."""
    told, log = refused(error), request.app.state.predictor.log
    if log and request.url.path.startswith("/predict") and REPLAY_HEADER not in request.headers:
        log.put(troubles_of(error))
    return json_response({"detail": told.detail}, told.status, told.headers)


def _asked(request: Request) -> Asked:
    headers = dict(request.scope["headers"])
    key = headers.get(KEY_NAME, b"").decode("latin-1")
    return Asked(request.scope["state"]["request_id"], key, REPLAY_NAME in headers)


def _add_answers(app: FastAPI, parts: Parts) -> Callable[[Request], Awaitable[Response]]:
    """Add the paths that predict, and return what answers the first."""

    @app.post(
        PREDICT,
        summary=f"Predict for one row or a list of at most {MAX_ROWS}",
        response_model=Answer,
        responses=parts.problems(408, 413, 422, 500, 503),
        dependencies=parts.guard,
    )
    async def predict(request: Request) -> Response:
        routing, asked = parts.state.ready(), _asked(request)
        body = await read_body(request, MAX_BODY_BYTES, BODY_SECONDS)
        answer, loaded = await parts.predictor.predict(asked, routing, body)
        content = {"project": parts.project, "channel": parts.channel, "version": loaded.version}
        headers = {"X-Model-Version": str(loaded.version)}
        return json_response(content | {"request_id": asked.identity, "predictions": answer}, headers=headers)

    @app.post(
        "/predict/file",
        summary="Predict for a CSV or NDJSON file, answered in the same format",
        response_class=StreamingResponse,
        responses=FILE_ANSWER | parts.problems(408, 413, 415, 422, 500, 503),
        openapi_extra=file_body(CSV, NDJSON),
        dependencies=parts.guard,
    )
    async def predict_file(request: Request) -> Response:
        routing = parts.state.ready()
        media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if media_type not in KINDS:
            raise Refused(415, f"send a file of type {CSV} or {NDJSON} in the header Content-Type")
        lines, loaded = await parts.predictor.predict_file(
            _asked(request),
            routing,
            KINDS[media_type],
            lambda: read_body(request, MAX_FILE_BYTES, FILE_SECONDS),
        )
        headers = {"X-Model-Version": str(loaded.version)}
        return StreamingResponse(lines, media_type=media_type, headers=headers)

    return predict


def _add_feedback(app: FastAPI, parts: Parts) -> None:
    @app.post(
        "/feedback",
        status_code=202,
        summary="Tell what came true for rows of earlier answers",
        responses=parts.problems(408, 413, 422, 503),
        openapi_extra=LABELS_BODY,
        dependencies=parts.guard,
    )
    async def feedback(request: Request) -> Response:
        champion = parts.state.ready().champion
        assert champion
        body = await read_body(request, MAX_BODY_BYTES, BODY_SECONDS)
        accepted = parts.predictor.take_feedback(champion, body, sender_of(request))
        return json_response({"accepted": accepted}, 202)


def _add_looks(app: FastAPI, parts: Parts) -> None:
    @app.get("/health", summary="Is a model loaded, and which, in each worker?", responses={503: {}})
    async def health() -> Response:
        found = await asyncio.to_thread(parts.state.health)
        return json_response(found, 200 if found["ready"] else 503)

    @app.get(
        "/model",
        summary="The lineage of the model that answers",
        responses=parts.problems(503),
        dependencies=parts.guard,
    )
    async def model() -> Response:
        champion = parts.state.ready().champion
        assert champion
        try:
            lineage = await asyncio.to_thread(parts.state.follower.registry.read, champion.version)
        except (MlError, OSError) as error:
            raise Refused(503, f"the registry cannot be read: {error}") from error
        content = lineage.model_dump(mode="json", exclude={"format", "outputs"})
        return json_response(content | {"scoring": champion.scoring})

    @app.get("/metrics", summary="Counters for Prometheus", response_class=Response)
    async def metrics() -> Response:
        parts.predictor.metrics.settle()
        text = await asyncio.to_thread(parts.predictor.metrics.text)
        return Response(text, media_type=CONTENT_TYPE_LATEST)


def _describe_rows_of_champion(app: FastAPI, state: WorkerState) -> None:
    """Let the documentation tell the rows of the model that answers now, whenever it is asked for."""
    describe = app.openapi

    def openapi() -> dict[str, Any]:
        app.openapi_schema = None
        schema = describe()
        if champion := state.follower.routing.champion:
            describe_rows(schema, champion)
        return schema

    app.openapi = openapi  # type: ignore[method-assign]
