"""Tables that a web server delivers; an unchanged file is not fetched again."""

import contextlib
import hashlib
import os
import time
from collections.abc import Iterator
from datetime import datetime
from email.utils import parsedate_to_datetime
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import httpx2

from ml import locations
from ml.console import say
from ml.data.sources.file_types import COMPRESSED, can_read, ending
from ml.data.sources.interface import Asked, Batches, SourceAway, secret
from ml.errors import MlError
from ml.files import digest, read_json, write_json
from ml.source_settings import UrlSource

SECONDS_TO_ANSWER = 30
FIRST_PAUSE_SECONDS = 0.5  # doubled at each attempt
MAX_PAUSE_SECONDS = 30.0
TRY_AGAIN = {408, 425, 429, 500, 502, 503, 504}
LOOPBACK = ("localhost", "127.0.0.1", "::1")


class _Passing(Exception):
    """The server may answer at the next attempt, after so many seconds if it says so."""

    def __init__(self, told: str, seconds: float = 0.0) -> None:
        super().__init__(told)
        self.seconds = seconds


def read(source: UrlSource, asked: Asked) -> Batches:
    """Fetch the file unless it is unchanged, and yield its rows; a server that does not answer is away."""
    from ml.data.sources.table_files import read_batches

    kind = _kind(source, asked)
    file = fetched(source, asked)
    expected = source.sha256.get(asked.role)
    if expected and (sha256 := digest(file)) != expected:
        raise MlError(
            f"{_plain(asked.name)} was changed: its sha256 is {sha256}, project.toml says {expected}"
        )
    counted = asked.role in source.rows
    yield from read_batches(
        file, source.format, asked.text_columns, asked.words, file_type=kind, counted=counted
    )


def origin(_: UrlSource, name: str) -> str:
    """Return where a table comes from, without what a query string may hold."""
    return f"url: {_plain(name)}"


def delivered(source: UrlSource, asked: Asked) -> datetime | None:
    """Return when the server says that the file was changed."""
    told = _headers(source, asked).get("Last-Modified")
    try:
        return parsedate_to_datetime(told) if told else None
    except ValueError:
        return None


def state(source: UrlSource, asked: Asked) -> dict[str, str] | None:
    """Return what the server says that the file is by its own ``ETag``; others do not promise equal rows."""
    told = _headers(source, asked).get("ETag", "")
    return {"url": _plain(asked.name), "etag": told} if told and not told.startswith("W/") else None


def size(source: UrlSource, asked: Asked) -> str:
    """Return how large the file is, if the server tells; its content is not fetched."""
    told = _headers(source, asked).get("Content-Length")
    return f"{int(told):,} bytes" if told and told.isdecimal() else "there"


def _headers(source: UrlSource, asked: Asked) -> httpx2.Headers:
    try:
        with _answer(source, asked, {}, time.monotonic() + SECONDS_TO_ANSWER) as answer:
            return answer.headers
    except _Passing as error:
        raise SourceAway(f"{_plain(asked.name)}: {error}") from error


def _kind(source: UrlSource, asked: Asked) -> str:
    kind = source.file_type or ending(urlsplit(asked.name).path)
    if not can_read(f"table{kind}"):
        raise MlError(f'{_plain(asked.name)}: its name tells no type: say file_type = ".csv" or another')
    return kind


def fetched(source: UrlSource, asked: Asked) -> Path:
    """Return the file of the last download, after a new one if the server has another."""
    kind = _kind(source, asked)
    name = hashlib.sha256(asked.name.encode()).hexdigest()[:32]
    suffix = Path(urlsplit(asked.name).path).suffix.lower()
    packed = suffix if suffix in COMPRESSED else ""
    file = locations.downloads() / f"{name}{kind}{packed}"
    noted = file.with_name(f"{name}.json")
    before = read_json(noted) if noted.exists() and file.exists() else {}
    known = {"If-None-Match": before.get("etag"), "If-Modified-Since": before.get("last_modified")}
    if before.get("sha256") != (digest(file) if before else None):
        known = {}  # a file that was altered here is fetched again
    headers = {key: value for key, value in known.items() if value}
    deadline = time.monotonic() + (source.max_seconds or 86400)
    pause, reason = FIRST_PAUSE_SECONDS, ""
    for attempt in range(source.retries + 1):
        try:
            with _answer(source, asked, headers, deadline) as answer:
                if answer.status_code == 304:
                    say(f"data: {_plain(asked.name)} is unchanged since the last download")
                    return file
                _save(source, asked, answer, file, deadline)
                write_json(
                    noted,
                    {
                        "url": _plain(asked.name),
                        "etag": answer.headers.get("ETag"),
                        "last_modified": answer.headers.get("Last-Modified"),
                        "sha256": digest(file),
                    },
                )
                return file
        except _Passing as error:
            reason = str(error)
            pause = max(pause, error.seconds)
        if attempt < source.retries and time.monotonic() + pause < deadline:
            say(f"data: {_plain(asked.name)}: {reason}; again in {pause:g} s")
            time.sleep(pause)
            pause = min(2 * pause, MAX_PAUSE_SECONDS)
    raise SourceAway(f"{_plain(asked.name)}: {reason}")


@contextlib.contextmanager
def _answer(
    source: UrlSource, asked: Asked, headers: dict[str, str], deadline: float
) -> Iterator[httpx2.Response]:
    """Ask for the file; whatever is no file raises ``_Passing``, or ``MlError`` if asking again is useless.

    A token goes to the host of the URL alone: httpx takes it away when it follows a redirect elsewhere.
    """
    parts, told = urlsplit(asked.name), _plain(asked.name)
    if parts.scheme not in ("http", "https"):
        raise MlError(f"{told}: a URL begins with http:// or https://")
    if source.token_from:
        if parts.scheme == "http" and parts.hostname not in LOOPBACK:
            raise MlError(f"{told}: a token is sent by https only")
        token = secret(source.token_from).strip()
        if not (token.isascii() and token.isprintable()):
            raise MlError(f"{source.token_from} is no token: it holds a line break or a letter beyond ASCII")
        headers = headers | {"Authorization": f"Bearer {token}"}
    wait = max(0.1, min(SECONDS_TO_ANSWER, deadline - time.monotonic()))
    try:
        with (
            httpx2.Client(follow_redirects=True, timeout=wait) as client,
            client.stream("GET", asked.name, headers=headers) as answer,
        ):
            if parts.scheme == "https" and any(
                one.url.scheme != "https" for one in (*answer.history, answer)
            ):
                raise MlError(
                    f"{told}: the server leads from https to http, where anybody may change the file"
                )
            if answer.status_code in TRY_AGAIN:
                wanted = answer.headers.get("Retry-After", "")
                seconds = float(wanted) if wanted.isdecimal() else 0.0
                raise _Passing(f"the server answers {answer.status_code}", seconds)
            if answer.status_code not in (200, 304):
                hint = ": is the token right?" if answer.status_code in (401, 403) else ""
                raise MlError(f"{told}: the server answers {answer.status_code}{hint}")
            if answer.headers.get("Content-Type", "").startswith("text/html"):
                raise MlError(f"{told}: the server answers with a web page, not a table: is a login needed?")
            yield answer
    except httpx2.HTTPError as error:
        raise _Passing(str(error) or type(error).__name__) from error


def _save(source: UrlSource, asked: Asked, answer: httpx2.Response, file: Path, deadline: float) -> None:
    """Write the content aside, then in the place of the last one."""
    file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    aside, taken = file.with_name(f".{file.name}.{os.getpid()}"), 0
    try:
        with open(os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as stream:
            for chunk in answer.iter_bytes():
                taken += len(chunk)
                if taken > source.max_bytes:
                    raise MlError(
                        f"{_plain(asked.name)}: more than {source.max_bytes:,} bytes came: is it the right "
                        "file? max_bytes under the source allows more"
                    )
                if time.monotonic() > deadline:
                    raise SourceAway(
                        f"{_plain(asked.name)}: {taken:,} bytes came within {source.max_seconds:g} s, and "
                        "then the time was over (max_seconds)"
                    )
                stream.write(chunk)
        aside.replace(file)
    finally:
        aside.unlink(missing_ok=True)


def _plain(url: str) -> str:
    """Return a URL without user, password and query, which may be secret."""
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    return urlunsplit((parts.scheme, host, parts.path, "", ""))
