"""Bodies of requests, read within limits, and answers in JSON."""

import asyncio
from typing import Any

from pydantic_core import to_json
from starlette.requests import Request
from starlette.responses import Response

from ml.data.formats import Kind
from ml.data.request import BrokenRows
from ml.serving.scoring import ModelFailed, Unavailable

MAX_BODY_BYTES = 4 * 1024 * 1024
MAX_FILE_BYTES = 32 * 1024 * 1024
BODY_SECONDS = 10.0
FILE_SECONDS = 120.0
CSV, NDJSON = "text/csv", "application/x-ndjson"
RETRY_AFTER_SECONDS = 1
STATUSES = {Unavailable: 503, ModelFailed: 500}
KINDS: dict[str, Kind] = {CSV: "csv", NDJSON: "ndjson"}


class Refused(Exception):
    """A request that is answered with an error: its status and why."""

    def __init__(self, status: int, detail: str | list[dict[str, Any]]) -> None:
        """Tell the client this."""
        super().__init__(status)
        self.status, self.detail = status, detail

    @property
    def headers(self) -> dict[str, str]:
        """What the answer says besides."""
        return {"Retry-After": str(RETRY_AFTER_SECONDS)} if self.status == 503 else {}


def refused(error: Exception) -> Refused:
    """Return the answer to an error: what was sent is wrong (422) unless the error says otherwise."""
    if isinstance(error, Refused):
        return error
    detail: str | list[dict[str, Any]] = error.problems if isinstance(error, BrokenRows) else str(error)
    return Refused(next((code for kind, code in STATUSES.items() if isinstance(error, kind)), 422), detail)


async def read_body(request: Request, most: int, seconds: float) -> bytes:
    """Return the body, or refuse as soon as it proves too large or slow; no more than the limit is held."""
    for name, value in request.scope["headers"]:
        if name == b"content-length" and value.isdigit() and int(value) > most:
            raise _too_large(most)
    body, more = bytearray(), True
    try:
        async with asyncio.timeout(seconds):
            while more:
                message = await request.receive()
                if message["type"] == "http.disconnect":
                    raise Refused(408, "the request was cut off")
                body += message.get("body", b"")
                more = message.get("more_body", False)
                if len(body) > most:
                    raise _too_large(most)
    except TimeoutError:
        raise Refused(408, f"the request did not arrive within {seconds:g} s") from None
    return bytes(body)


def _too_large(most: int) -> Refused:
    return Refused(413, f"the request is larger than {most} bytes: send fewer rows at once")


def json_response(content: Any, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """Return an answer in JSON, made by pydantic's fast writer."""
    return Response(to_json(content), status, headers, media_type="application/json")
