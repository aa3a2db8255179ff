"""Connections that wait for a busy worker are taken in, some at once; an idle one leaves them to others."""

import asyncio
import socket
from collections.abc import Iterator

import pytest

from ml.serving.accepting import AT_ONCE, accept_who_waits, waiting


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0), backlog=100) as made:
        made.setblocking(False)
        yield made


@pytest.fixture
def clients(listener: socket.socket) -> Iterator[list[socket.socket]]:
    """Fifty that have called, and that nobody has taken in."""
    made = [socket.create_connection(listener.getsockname()) for _ in range(50)]
    yield made
    for one in made:
        one.close()


def test_who_waits_is_found_and_nobody_is_waited_for(
    listener: socket.socket, clients: list[socket.socket]
) -> None:
    found = [len(taken) for taken in (waiting(listener, 20), waiting(listener, 40), waiting(listener, 40))]
    assert found == [20, 30, 0]


class Greeting(asyncio.Protocol):
    """Tells each client that it was taken in."""

    count = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        transport.write(b"hello")
        transport.close()
        Greeting.count += 1


@pytest.mark.parametrize("busy", [True, False])
def test_a_busy_worker_takes_in_some_at_once_and_an_idle_one_none(
    listener: socket.socket, clients: list[socket.socket], busy: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ml.serving.accepting.BUSY_SECONDS", 0.0 if busy else 1e9)
    counts: list[int] = []

    def ended() -> bool:
        counts.append(Greeting.count)
        return len(counts) > 3

    Greeting.count = 0
    asyncio.run(accept_who_waits(listener, Greeting, ended))
    if busy:
        assert counts[-1] == len(clients) and counts[1] <= AT_ONCE, counts
        assert {client.recv(5) for client in clients} == {b"hello"}
    else:
        assert counts[-1] == 0, "uvloop takes them in"
