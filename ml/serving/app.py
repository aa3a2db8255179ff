"""The FastAPI application: ``POST /predict``, ``GET /health``, ``/model``, ``/metrics``, ``/docs``."""

import asyncio
import hashlib
import os
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Annotated, Any

from fastapi import Depends, FastAPI, HTTPException, Request, Response, Security
from fastapi.openapi.utils import get_openapi
from fastapi.responses import JSONResponse
from fastapi.security import APIKeyHeader
from fastapi_offline import FastAPIOffline
from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    generate_latest,
)
from pydantic import BaseModel, ValidationError

from ml import locations
from ml.errors import MlError
from ml.registry import Registry
from ml.serving import API_KEY_HEADER
from ml.serving.batching import Batcher
from ml.serving.follower import Follower, Served
from ml.workspace import code_digest

MOST_BODY_BYTES = 4 * 1024 * 1024
MOST_ERRORS_TOLD = 20
FOLLOW_SECONDS = 0.25


class Answer(BaseModel):
    """What ``POST /predict`` answers: id, class and class probabilities of each row, and who says so."""

    project: str
    channel: str
    version: int
    predictions: list[dict[str, Any]]


class Problem(BaseModel):
    """Why a request was refused; for rows that break the contract, each place and what is wrong there."""

    detail: str | list[dict[str, Any]]


def create_app(project: str, channel: str, follower: Follower | None = None) -> FastAPI:
    """Return the application that serves what a channel points to, and follows when the pointer moves.

    A ``follower`` that holds a model already lets a candidate answer before it is registered.
    """
    follower = follower or Follower(Registry(project), channel)
    batcher = Batcher()
    metrics = _Metrics()
    code = code_digest()
    guard = [Depends(_key_check(keys))] if (keys := _api_keys()) else []

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        await asyncio.to_thread(follower.follow)
        tasks = [asyncio.create_task(_follow_forever(follower)), asyncio.create_task(batcher.run())]
        yield
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    app = FastAPIOffline(title=f"{project}: {channel}", version="1", lifespan=lifespan)

    @app.middleware("http")
    async def count(request: Request, answer: Callable[[Request], Awaitable[Response]]) -> Response:
        with metrics.seconds.time():
            response = await answer(request)
        metrics.requests.labels(request.method, _known_path(request), str(response.status_code)).inc()
        return response

    problems: dict[int | str, dict[str, Any]] = {status: {"model": Problem} for status in (413, 422, 503)}
    if guard:
        problems[401] = {"model": Problem}

    @app.post(
        "/predict",
        summary="Predict for one row or a list of rows",
        response_model=Answer,
        responses=problems,
        dependencies=guard,
    )
    async def predict(request: Request) -> Response:
        served = follower.served
        if served is None:
            return _refuse(503, f"channel '{channel}' serves no model yet: deploy one")
        body = await _read_body(request)
        if body is None:
            return _refuse(
                413, f"the request is larger than {MOST_BODY_BYTES} bytes: send fewer rows at once"
            )
        try:
            rows = await asyncio.to_thread(_parse_rows, served, body)
            predictions = await batcher.score(served.answer, rows)
        except ValidationError as error:
            return JSONResponse({"detail": _tell(error)}, status_code=422)
        except MlError as error:
            return _refuse(422, str(error))
        metrics.rows.inc(len(predictions))
        return JSONResponse(
            {
                "project": project,
                "channel": channel,
                "version": served.version,
                "predictions": predictions,
            }
        )

    @app.get("/health", summary="Is a model loaded, and which?")
    async def health() -> Response:
        served = follower.served
        state = {
            "status": "ok" if served else "no model",
            "project": project,
            "channel": channel,
            "pid": os.getpid(),
            "code": code,
            "version": served.version if served else None,
            "refused": {str(version): reason for version, reason in follower.refused.items()},
        }
        return JSONResponse(state, status_code=200 if served else 503)

    @app.get("/model", summary="The lineage of the model that answers", dependencies=guard)
    async def model() -> Response:
        served = follower.served
        if served is None:
            return _refuse(503, f"channel '{channel}' serves no model yet: deploy one")
        lineage = await asyncio.to_thread(follower.registry.read, served.version)
        return JSONResponse({key: value for key, value in lineage.items() if key != "outputs"})

    @app.get("/metrics", summary="Counters for Prometheus", response_class=Response)
    async def show_metrics() -> Response:
        metrics.version.set(follower.served.version if follower.served else 0)
        return Response(generate_latest(metrics.registry), media_type=CONTENT_TYPE_LATEST)

    def openapi() -> dict[str, Any]:
        schema = get_openapi(title=app.title, version=app.version, routes=app.routes)
        if follower.served:
            _describe_requests(schema, follower.served)
        return schema

    app.openapi = openapi  # type: ignore[method-assign]
    return app


def _api_keys() -> frozenset[str]:
    """Return the sha256 of each key that is accepted; none means that no key is asked for."""
    file = locations.api_keys()
    if file is None:
        return frozenset()
    keys = frozenset(
        line.split()[0] for line in file.read_text(encoding="utf-8").splitlines() if line.strip()
    )
    if not keys or not all(re.fullmatch("[0-9a-f]{64}", key) for key in keys):
        raise MlError(f"{file}: write the sha256 of each API key, in hex, on a line of its own")
    return keys


def _key_check(keys: frozenset[str]) -> Callable[[str | None], None]:
    def check(
        key: Annotated[str | None, Security(APIKeyHeader(name=API_KEY_HEADER, auto_error=False))],
    ) -> None:
        if key is None or hashlib.sha256(key.encode()).hexdigest() not in keys:
            raise HTTPException(401, f"send a valid key in the header {API_KEY_HEADER}")

    return check


class _Metrics:
    """What Prometheus is told; a registry of its own lets several applications live in one process."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.requests = Counter(
            "ml_requests", "Requests answered", ["method", "path", "status"], registry=self.registry
        )
        self.seconds = Histogram("ml_request_seconds", "Time to answer a request", registry=self.registry)
        self.rows = Counter("ml_predicted_rows", "Rows predicted", registry=self.registry)
        self.version = Gauge("ml_model_version", "Version that answers, 0 for none", registry=self.registry)


async def _follow_forever(follower: Follower) -> None:
    while True:
        await asyncio.sleep(FOLLOW_SECONDS)
        await asyncio.to_thread(follower.follow)


async def _read_body(request: Request) -> bytes | None:
    """Return the body, or nothing as soon as it proves too large; no more than the limit is ever held."""
    declared = request.headers.get("content-length", "0")
    if declared.isdigit() and int(declared) > MOST_BODY_BYTES:
        return None
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > MOST_BODY_BYTES:
            return None
    return bytes(body)


def _parse_rows(served: Served, body: bytes) -> list[BaseModel]:
    adapter = served.rows if body.lstrip().startswith(b"[") else served.row
    given = adapter.validate_json(body)
    return given if isinstance(given, list) else [given]


def _tell(error: ValidationError) -> list[dict[str, Any]]:
    told = error.errors(include_url=False, include_context=False, include_input=False)[:MOST_ERRORS_TOLD]
    return [{"place": [str(part) for part in one["loc"]], "problem": one["msg"]} for one in told]


def _refuse(status: int, reason: str) -> Response:
    return JSONResponse({"detail": reason}, status_code=status)


def _known_path(request: Request) -> str:
    """Return the path if it is ours: a label must not grow with what strangers type."""
    return (
        request.url.path
        if request.url.path in ("/predict", "/health", "/model", "/metrics", "/docs")
        else "other"
    )


def _describe_requests(schema: dict[str, Any], served: Served) -> None:
    many = served.rows.json_schema(ref_template="#/components/schemas/{model}")
    schema.setdefault("components", {}).setdefault("schemas", {}).update(many.pop("$defs"))
    schema["paths"]["/predict"]["post"]["requestBody"] = {
        "required": True,
        "content": {"application/json": {"schema": {"oneOf": [many["items"], many]}}},
    }
