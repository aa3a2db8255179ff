"""The paths for people: a form of one row at ``/``, its answer at ``/try``, the report of what answers."""

import asyncio
import contextlib
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.responses import HTMLResponse, RedirectResponse
from pydantic_core import to_json

from ml.data.request import BrokenRows
from ml.errors import MlError
from ml.registry.signing import read_covered
from ml.serving.access import NO_KEY, Keys, is_known
from ml.serving.bodies import BODY_SECONDS, Refused, read_body, refused
from ml.serving.form import (
    KEY,
    MAX_FORM_BYTES,
    Field,
    example_fields,
    read_form,
    row_of,
    typed_fields,
    with_problems,
)
from ml.serving.loaded import LoadedVersion
from ml.serving.page import HEADERS, REPORT_HEADERS, About, Said, Tried, plain_page, try_page
from ml.serving.predictor import Predictor
from ml.serving.scoring import Unavailable
from ml.serving.worker_state import WorkerState

REPORT = "quality/report.html"


def add_page(app: FastAPI, state: WorkerState, predictor: Predictor, keys: Keys, guard: list[Any]) -> None:
    """Add ``/``, ``/try`` and ``/report``; ``guard`` refuses who has none of the ``keys``."""

    @app.get("/", include_in_schema=False)
    async def page() -> Response:
        try:
            champion = _champion(state)
        except Unavailable as error:
            return _no_model(state, error)
        return await _page(state, champion, bool(keys), example_fields(champion), Said())

    @app.get("/try", include_in_schema=False)
    async def reloaded() -> Response:
        return RedirectResponse(".", 303)

    @app.post("/try", include_in_schema=False)
    async def tried(request: Request) -> Response:
        try:
            champion = _champion(state)
        except Unavailable as error:
            return _no_model(state, error)
        fields, said, problem = await _try(request, predictor, champion, keys)
        return await _page(state, champion, bool(keys), fields, said, problem)

    @app.get("/report", include_in_schema=False, dependencies=guard)
    async def report() -> Response:
        champion = _champion(state)
        content = await asyncio.to_thread(_report, state, champion.version)
        return HTMLResponse(content, headers=REPORT_HEADERS | _version(champion))


def _champion(state: WorkerState) -> LoadedVersion:
    champion = state.ready().champion
    assert champion
    return champion


def _version(loaded: LoadedVersion) -> dict[str, str]:
    return {"X-Model-Version": str(loaded.version)}


async def _try(
    request: Request, predictor: Predictor, champion: LoadedVersion, keys: Keys
) -> tuple[list[Field], Said, Refused | None]:
    """Return the fields as they were sent, what is to be said of them, and why not, if it is no answer."""
    fields = example_fields(champion)
    try:
        form = read_form(await read_body(request, MAX_FORM_BYTES, BODY_SECONDS), len(fields))
        fields = typed_fields(champion, form)
        if keys and not is_known(form.get(KEY, ""), keys):
            return fields, Said(key_problem="this is no valid key"), Refused(401, NO_KEY)
        answer, drivers = await predictor.try_row(champion, to_json(row_of(fields)))
        return fields, Said(Tried(answer, drivers)), None
    except BrokenRows as error:
        return (
            with_problems(fields, error.problems),
            Said(problem="Not predicted: see below."),
            refused(error),
        )
    except (Refused, MlError) as error:
        problem = refused(error)
        return fields, Said(problem=f"Not predicted: {problem.detail}."), problem


async def _page(
    state: WorkerState,
    champion: LoadedVersion,
    needs_key: bool,
    fields: list[Field],
    said: Said,
    problem: Refused | None = None,
) -> Response:
    project = champion.bundle.project
    about = About(
        title=project.title,
        channel=state.channel,
        version=champion.version,
        target=project.target,
        needs_key=needs_key,
        has_report=await asyncio.to_thread(_has_report, state, champion.version),
    )
    headers = HEADERS | _version(champion) | (problem.headers if problem else {})
    return HTMLResponse(try_page(about, fields, said), problem.status if problem else 200, headers)


def _no_model(state: WorkerState, error: Unavailable) -> Response:
    problem = refused(error)
    page = plain_page(f"{state.project}: no answers yet", str(error))
    return HTMLResponse(page, problem.status, HEADERS | problem.headers)


def _has_report(state: WorkerState, version: int) -> bool:
    with contextlib.suppress(MlError, OSError):  # the registry is away, or this version is not in it
        return REPORT in state.follower.registry.read(version).outputs
    return False


def _report(state: WorkerState, version: int) -> bytes:
    registry = state.follower.registry
    try:
        outputs = registry.read(version).outputs
        if REPORT in outputs:
            return read_covered(registry.folder(version), REPORT, outputs)
    except (MlError, OSError) as error:
        raise Refused(503, f"the report cannot be read: {error}") from error
    raise Refused(404, f"version {version} carries no report ({REPORT})")
