"""What arrives before a request is one: not without end, and not for ever."""

import asyncio
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
import uvicorn

from ml.serving import heads
from ml.serving.heads import MAX_HEAD_BYTES, LimitedHeads
from tests.support import wait_for

pytestmark = pytest.mark.slow

ASKED = b"GET / HTTP/1.1\r\nHost: here\r\n\r\n"
NO_BODY = (b"content-length", b"0")
CLOSE = b"\r\nConnection: close\r\n\r\n"


async def answer_with_length(scope: Any, receive: Any, send: Any) -> None:
    if scope["type"] != "http":
        return
    length, more = 0, True
    while more:
        message = await receive()
        length, more = length + len(message["body"]), message["more_body"]
    await asyncio.sleep(3 * heads.HEAD_SECONDS if scope["path"] == "/slow" else 0)
    await send(
        {"type": "http.response.start", "status": 200, "headers": [(b"x-length", b"%d" % length), NO_BODY]}
    )
    await send({"type": "http.response.body", "body": b""})


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[str, int]]:
    monkeypatch.setattr(heads, "HEAD_SECONDS", 0.5)
    config = uvicorn.Config(
        answer_with_length, http=LimitedHeads, port=0, log_level="error", lifespan="off", access_log=False
    )
    running = uvicorn.Server(config)
    thread = threading.Thread(target=running.run, daemon=True)
    thread.start()
    wait_for(lambda: running.started)
    yield running.servers[0].sockets[0].getsockname()
    running.should_exit = True
    thread.join()


def said(server: tuple[str, int], *parts: bytes) -> bytes:
    """Return all that is answered to what is sent, until the other side closes the connection."""
    with socket.create_connection(server) as connection:
        found = b""
        try:
            for part in parts:
                connection.sendall(part)
            while more := connection.recv(65536):
                found += more
        except (BrokenPipeError, ConnectionResetError):
            pass  # it was refused before all was sent
        return found


@pytest.mark.parametrize("size", [MAX_HEAD_BYTES, 100_000, 150_000, 5 * MAX_HEAD_BYTES])
def test_requests_one_after_the_other_are_answered_however_large_their_bodies(
    server: tuple[str, int], size: int
) -> None:
    body = b"POST / HTTP/1.1\r\nHost: here\r\nContent-Length: %d\r\n\r\n" % size + b"x" * size
    last = ASKED.replace(b"\r\n\r\n", CLOSE)
    answered = said(server, ASKED[:5], ASKED[5:], body, ASKED + body, last)
    assert answered.count(b"200 OK") == 5 and answered.count(b"x-length: %d" % size) == 2


@pytest.mark.parametrize(
    "head",
    [
        b"GET / HTTP/1.1\r\nHost: here\r\n" + b"X-Some: thing\r\n" * 100_000,
        b"GET / HTTP/1.1\r\nX-Endless: " + b"x" * 10_000_000,
        b"GET /" + b"x" * 10_000_000,
    ],
)
def test_a_head_without_end_is_refused(server: tuple[str, int], head: bytes) -> None:
    # The rest of what was sent would be answered by a reset, which takes the answer along.
    assert b" 431 " in said(server, head[: MAX_HEAD_BYTES + 1000])


@pytest.mark.parametrize("sent", [b"", ASKED[:20], ASKED + ASKED[:20]])
def test_who_does_not_send_a_whole_head_in_time_is_cut_off(server: tuple[str, int], sent: bytes) -> None:
    assert said(server, sent).endswith(
        b"408 Request Timeout\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"
    )


@pytest.mark.parametrize("after", [b"", ASKED[:20]])
def test_an_answer_that_takes_longer_than_a_head_is_waited_for(server: tuple[str, int], after: bytes) -> None:
    slow = ASKED.replace(b"/ ", b"/slow ")
    found = said(server, slow + after, *([] if after else [ASKED.replace(b"\r\n\r\n", CLOSE)]))
    assert found.startswith(b"HTTP/1.1 200 OK")
    assert found.count(b"200 OK") == (1 if after else 2) and (b" 408 " in found) == bool(after)


def test_between_two_requests_a_connection_may_be_idle(server: tuple[str, int]) -> None:
    with socket.create_connection(server) as connection:
        for _ in range(2):
            connection.sendall(ASKED)
            assert connection.recv(65536).startswith(b"HTTP/1.1 200 OK")
            time.sleep(3 * heads.HEAD_SECONDS)


def test_what_follows_a_body_is_not_kept(server: tuple[str, int]) -> None:
    chunked = b"POST / HTTP/1.1\r\nHost: here\r\nTransfer-Encoding: chunked\r\n" + CLOSE[2:]
    found = said(server, chunked, b"3\r\nabc\r\n0\r\n", b"X-Some: thing\r\n" * 1000, b"\r\n")
    assert b"x-length: 3" in found
