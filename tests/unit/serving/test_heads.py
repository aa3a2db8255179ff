"""What arrives before a request is one: not without end, and not for ever."""

import socket
import threading
from collections.abc import Iterator
from typing import Any

import pytest
import uvicorn

from ml.serving import heads
from ml.serving.heads import MAX_HEAD_BYTES, LimitedHeads
from tests.support import wait_for

ASKED = b"GET / HTTP/1.1\r\nHost: here\r\n\r\n"


async def answer_with_length(scope: Any, receive: Any, send: Any) -> None:
    if scope["type"] != "http":
        return
    length, more = 0, True
    while more:
        message = await receive()
        length, more = length + len(message["body"]), message["more_body"]
    await send({"type": "http.response.start", "status": 200, "headers": [(b"x-length", b"%d" % length)]})
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


def test_requests_one_after_the_other_are_answered_however_large_their_bodies(
    server: tuple[str, int],
) -> None:
    size = 5 * MAX_HEAD_BYTES
    body = b"POST / HTTP/1.1\r\nHost: here\r\nContent-Length: %d\r\n\r\n" % size + b"x" * size
    last = ASKED.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")
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
