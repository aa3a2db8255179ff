"""Who may ask, and a line for each request: an id, a count, the access log."""

import asyncio
import contextlib
import hashlib
import re
import sys
import time
from collections.abc import Callable
from functools import lru_cache
from secrets import token_hex
from typing import Annotated, Any

from fastapi import HTTPException, Request, Security
from fastapi.security import APIKeyHeader
from pydantic_core import to_json
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ml import locations
from ml.console import say
from ml.errors import MlError
from ml.files import now
from ml.serving import API_KEY_HEADER
from ml.serving.prometheus import Metrics

PATHS = (
    *("/predict", "/predict/file", "/feedback", "/health", "/model", "/metrics", "/docs", "/openapi.json"),
    *("/", "/try", "/report"),
)
RESOURCES = ("/answers", "/labels")
METHODS = ("GET", "POST", "PUT", "DELETE", "HEAD", "OPTIONS")
SENDER_DIGITS = 12
WRITE_SECONDS = 0.1
LOOK_SECONDS = 1.0  # after which the file of keys is looked at again
NO_KEY = f"send a valid key in the header {API_KEY_HEADER}"


def read_keys() -> frozenset[str]:
    """Return the sha256 of each key that is accepted; none means that no key is asked for."""
    file = locations.api_keys()
    if file is None:
        return frozenset()
    lines = file.read_text(encoding="utf-8").splitlines()
    keys = frozenset(line.split()[0] for line in lines if line.strip())
    if not keys or not all(re.fullmatch("[0-9a-f]{64}", key) for key in keys):
        raise MlError(f"{file}: write the sha256 of each API key, in hex, on a line of its own")
    return keys


class Keys:
    """The keys that a service accepts: their file is read again when it was changed.

    One that cannot be used then is told, and changes nothing.
    """

    def __init__(self) -> None:
        """Read the file; one that cannot be used raises ``MlError``."""
        self._keys, self._stamp, self._looked = read_keys(), _stamp(), time.monotonic()

    def __bool__(self) -> bool:
        """Whether a key is asked for: a service that began without never asks for one."""
        return bool(self._keys)

    def __contains__(self, sha256: str) -> bool:
        """Tell whether this is the sha256 of a key that is accepted now."""
        if self._keys and time.monotonic() > self._looked + LOOK_SECONDS:
            self._look()
        return sha256 in self._keys

    def _look(self) -> None:
        self._looked = time.monotonic()
        if (stamp := _stamp()) == self._stamp:
            return
        self._stamp = stamp
        try:
            self._keys = read_keys()
            say(f"serve: the file of API keys was read again: {len(self._keys)} are accepted")
        except (MlError, OSError) as error:
            say(f"serve: the API keys stay those of before: {error}")


def _stamp() -> tuple[int, int] | None:
    file = locations.api_keys()
    try:
        found = file.stat() if file else None
    except OSError:
        return None
    return (found.st_mtime_ns, found.st_ino) if found else None


def is_known(key: str, keys: Keys) -> bool:
    """Tell whether the sha256 of a key is among these."""
    return _sha256(key) in keys


def _sha256(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()


def key_check(keys: Keys) -> Callable[[Request, str | None], None]:
    """Return what refuses a request without one of these keys."""

    def check(
        request: Request,
        key: Annotated[str | None, Security(APIKeyHeader(name=API_KEY_HEADER, auto_error=False))],
    ) -> None:
        told = None if key is None else _sha256(key)
        if told is None or told not in keys:
            raise HTTPException(401, NO_KEY)
        request.state.sender = told[:SENDER_DIGITS]

    return check


def sender_of(request: Request) -> str | None:
    """Return who asks: the first digits of the key's sha256, as in the file of keys; none without keys."""
    found: str | None = getattr(request.state, "sender", None)
    return found


def new_identity() -> str:
    """Return an id of a request: milliseconds and 80 random bits, 32 digits in hex.

    Those of later requests are larger, as UUIDs of version 7 (RFC 9562) are: what is indexed by them grows at
    one end, and a store writes fewer pages.
    """
    return f"{time.time_ns() // 1_000_000:012x}{token_hex(10)}"


def _resource(path: str) -> str:
    first = f"/{path.removeprefix('/').partition('/')[0]}"
    return first if first in RESOURCES else "other"


@lru_cache(maxsize=1)
def _second(_: int) -> str:
    return now()


class AccessLog:
    """Gives each request an id, counts and times it, and writes a line about it that tells of no person.

    Lines are written together, once in ``WRITE_SECONDS``.
    """

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        """Stand before the application."""
        self.app, self.metrics = app, metrics
        self.ending = False
        self._lines: list[bytes] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            self._write()  # a service that ends leaves no line unwritten
            return
        start, identity = time.perf_counter(), new_identity()
        scope.setdefault("state", {})["request_id"] = identity
        told: dict[str, Any] = {"status": 500, "version": None}

        async def observe(message: Message) -> None:
            if message["type"] == "http.response.start":
                told["status"] = message["status"]
                for name, value in message["headers"]:
                    if name == b"x-model-version":
                        told["version"] = int(value)
                message["headers"].append((b"x-request-id", identity.encode()))
                if self.ending:
                    message["headers"].append((b"connection", b"close"))
            await send(message)

        try:
            await self.app(scope, receive, observe)
        finally:
            seconds = time.perf_counter() - start
            # A label, or a line, must not grow with what strangers type.
            path = scope["path"] if scope["path"] in PATHS else _resource(scope["path"])
            method = scope["method"] if scope["method"] in METHODS else "other"
            self.metrics.count(self.metrics.requests, method, path, str(told["status"]))
            self.metrics.observe(self.metrics.seconds, path, value=seconds)
            line = {
                "at": _second(int(time.time())),
                "request": identity,
                "method": method,
                "path": path,
                **told,
                "milliseconds": round(seconds * 1000, 2),
            }
            self._lines.append(to_json(line))
            if len(self._lines) == 1:
                asyncio.get_running_loop().call_later(WRITE_SECONDS, self._write)

    def _write(self) -> None:
        lines, self._lines = self._lines, []
        if lines:
            with contextlib.suppress(OSError, ValueError):  # a full disk, a closed pipe
                sys.stdout.write(b"\n".join([*lines, b""]).decode())
                sys.stdout.flush()
