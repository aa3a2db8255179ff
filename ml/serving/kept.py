"""What was answered and came true, as resources: an answer to look at, a label to set or to withdraw."""

import asyncio
import functools
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Annotated, Any

from fastapi import FastAPI, Path, Request, Response
from pydantic import ValidationError
from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import SQLAlchemyError

from ml.data.request import BrokenRows, Told
from ml.errors import MlError
from ml.serving.access import sender_of
from ml.serving.bodies import BODY_SECONDS, MAX_BODY_BYTES, Refused, json_response, read_body
from ml.serving.parts import Parts
from ml.serving.scoring import Unavailable
from ml.store.answers import answer_of, is_answered, put_label, withdraw_label
from ml.store.database import file_of, open_store, parsed_url

STORE_SECONDS = 10.0
Identity = Annotated[str, Path(pattern="^[0-9a-f]{32}$", description="the id that an answer came with")]
Row = Annotated[int, Path(ge=0, le=2**31 - 1, description="its place in the request, from 0")]
LABEL_BODY = {
    "requestBody": {
        "required": True,
        "content": {"application/json": {"schema": Told.model_json_schema()}},
    }
}


def add_kept(app: FastAPI, parts: Parts) -> None:
    """Add ``/answers/{id}`` and ``/labels/{id}/{row}``."""
    of = (parts.project, parts.channel)

    @app.get(
        "/answers/{identity}",
        summary="An earlier answer: what was asked, said, and came true",
        responses=parts.problems(404, 422, 503),
        dependencies=parts.guard,
    )
    async def answer(identity: Identity) -> Response:
        def find(connection: Connection) -> dict[str, Any] | None:
            return answer_of(connection, *of, identity)

        found = await _in_store(parts, find)
        if found is None:
            raise Refused(404, "no answer with this id is kept here")
        return json_response(found)

    @app.put(
        "/labels/{identity}/{row}",
        summary="Tell what came true for one row of an earlier answer, whatever was told before",
        responses=parts.problems(404, 408, 413, 422, 503),
        openapi_extra=LABEL_BODY,
        dependencies=parts.guard,
    )
    async def put(identity: Identity, row: Row, request: Request) -> Response:
        champion = parts.state.ready().champion
        assert champion
        body = await read_body(request, MAX_BODY_BYTES, BODY_SECONDS)
        try:
            told = Told.model_validate_json(body)
            label = champion.read_label(told.label)
        except ValidationError as error:
            raise BrokenRows(error) from error

        def keep(connection: Connection) -> bool:
            known = is_answered(connection, of, identity, row)
            if known:
                put_label(connection, of, identity, row, label, told.since, sender_of(request))
            return known

        if not await _in_store(parts, keep):
            raise Refused(404, "no answer to this row is kept here (yet)")
        return json_response({"accepted": 1})

    @app.delete(
        "/labels/{identity}/{row}",
        summary="Withdraw what was told of a row: it counts as not known",
        responses=parts.problems(404, 422, 503),
        dependencies=parts.guard,
    )
    async def delete(identity: Identity, row: Row, request: Request) -> Response:
        def withdraw(connection: Connection) -> bool:
            known = is_answered(connection, of, identity, row)
            return known and withdraw_label(connection, of, identity, row, sender_of(request))

        if not await _in_store(parts, withdraw):
            raise Refused(404, "no label of this row is kept here (yet)")
        return json_response({"withdrawn": 1})


# Threads of its own: a store that hangs would take those that all else here waits for.
_asking = ThreadPoolExecutor(4, "store")


# A store that cannot be opened is opened anew when it is asked again, for an error is not kept.
@functools.lru_cache(maxsize=1)
def _opened(url: str, _: tuple[int, int] | None) -> Engine:
    """Return a store; another one if its file is another one by now."""
    return open_store(url)


async def _in_store(parts: Parts, work: Callable[[Connection], Any]) -> Any:
    """Return what ``work`` returns in one transaction; a store that is off or away raises ``Unavailable``."""
    log = parts.predictor.log
    if log is None:
        raise Unavailable("no answers are kept here (ML_STORE)")

    def ask() -> Any:
        with _opened(log.url, file_of(parsed_url(log.url))).begin() as connection:
            if connection.dialect.name == "postgresql":
                connection.execute(text(f"SET LOCAL statement_timeout = {1000 * STORE_SECONDS:.0f}"))
            return work(connection)

    try:
        asked = asyncio.get_running_loop().run_in_executor(_asking, ask)
        return await asyncio.wait_for(asked, STORE_SECONDS)
    except (SQLAlchemyError, MlError, OSError) as error:
        raise Unavailable("the store of answers is away: try again later") from error
