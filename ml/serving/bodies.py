"""Bodies of requests, read within limits and parsed into rows; answers as JSON, CSV or NDJSON."""

import asyncio
import csv
import io
from pathlib import Path
from typing import Any

import pandas as pd
from pydantic import BaseModel, ValidationError
from pydantic_core import from_json, to_json
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from ml.data.contract import check
from ml.data.formats import read_table
from ml.data.rows import typed_table
from ml.errors import MlError
from ml.serving.loaded import Served

MOST_BODY_BYTES = 4 * 1024 * 1024
MOST_FILE_BYTES = 32 * 1024 * 1024
BODY_SECONDS = 10.0
FILE_SECONDS = 120.0
MOST_ERRORS_TOLD = 20
CSV, NDJSON = "text/csv", "application/x-ndjson"


class Refused(Exception):
    """A request that is answered with an error: its status and why."""

    def __init__(self, status: int, detail: str | list[dict[str, Any]]) -> None:
        """Tell the client this."""
        super().__init__(status)
        self.status, self.detail = status, detail


async def read_body(request: Request, most: int, seconds: float) -> bytes:
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


def parse_rows(served: Served, body: bytes, unknown: frozenset[str] = frozenset()) -> list[BaseModel]:
    """Return the rows of a JSON body, one or a list; a broken contract is ``Refused`` with its places.

    Columns of ``unknown`` are left out: they are for another version.
    """
    adapter = served.rows if body.lstrip().startswith(b"[") else served.row
    try:
        given = adapter.validate_json(_without(unknown, body) if unknown else body)
    except ValidationError as error:
        raise Refused(422, tell(error)) from error
    return given if isinstance(given, list) else [given]


def _without(unknown: frozenset[str], body: bytes) -> bytes:
    try:
        given = from_json(body, allow_inf_nan=False)
    except ValueError:
        return body  # which is refused with its place
    rows = given if isinstance(given, list) else [given]
    kept = [
        {key: value for key, value in row.items() if key not in unknown} if isinstance(row, dict) else row
        for row in rows
    ]
    return to_json(kept if isinstance(given, list) else kept[0])


def read_file(served: Served, kind: str, body: bytes, unknown: frozenset[str] = frozenset()) -> pd.DataFrame:
    """Return the rows of a CSV or NDJSON file, checked by the contract; a broken one is ``Refused``.

    Columns of ``unknown`` are left out: they are for another version.
    """
    contract = served.bundle.request_contract
    try:
        if kind == CSV:
            name = Path("the file")
            table = read_table(lambda _, **options: pd.read_csv(io.BytesIO(body), **options), name, contract)
            return check(table.drop(columns=list(unknown), errors="ignore"), contract, str(name))
        rows = []
        for number, line in enumerate(body.splitlines(), start=1):
            if line.strip():
                try:
                    row = served.row.validate_json(_without(unknown, line) if unknown else line)
                    rows.append(row.model_dump(by_alias=True))
                except ValidationError as error:
                    told = [{**one, "place": [f"line {number}", *one["place"]]} for one in tell(error)]
                    raise Refused(422, told) from error
        if not rows:
            raise Refused(422, "the file is empty: send at least one row")
        return check(typed_table(rows, contract), contract, "the file")
    except (MlError, UnicodeDecodeError) as error:
        raise Refused(422, str(error)) from error


def write_lines(answer: list[dict[str, Any]], kind: str, *, header: bool) -> bytes:
    """Return answers as lines of a CSV or NDJSON file."""
    if kind == NDJSON:
        return b"".join(to_json(one) + b"\n" for one in answer)
    text = io.StringIO()
    writer = csv.DictWriter(text, list(answer[0]), lineterminator="\n")
    if header:
        writer.writeheader()
    writer.writerows(answer)
    return text.getvalue().encode()


def tell(error: ValidationError) -> list[dict[str, Any]]:
    """Return what is wrong, and where, without repeating what was sent; at most ``MOST_ERRORS_TOLD``."""
    told = error.errors(include_url=False, include_context=False, include_input=False)[:MOST_ERRORS_TOLD]
    return [{"place": [str(part)[:100] for part in one["loc"]], "problem": one["msg"]} for one in told]


def json_response(content: Any, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """Return an answer in JSON, made by pydantic's fast writer."""
    return Response(to_json(content), status, headers, media_type="application/json")
