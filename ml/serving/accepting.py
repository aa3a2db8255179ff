"""Taking in connections that wait for a worker with much to do."""

import asyncio
import contextlib
import socket
from collections.abc import Callable
from typing import Any

LOOK_SECONDS = 0.01
BUSY_SECONDS = 0.015  # a look that comes no sooner is of a worker with much to do
AT_ONCE = 32


async def accept_who_waits(
    listener: socket.socket, protocol: Callable[[], Any], ended: Callable[[], bool]
) -> None:
    """Take in those who wait, some at once, while the worker is busy, until it has ``ended``.

    uvloop takes in one connection each time around: with hundreds of clients each time takes so long that
    others wait for seconds. An idle worker takes in one at a time, so that all workers get their share.
    """
    loop, coming = asyncio.get_running_loop(), set[asyncio.Task[Any]]()
    while not ended():
        began = loop.time()
        await asyncio.sleep(LOOK_SECONDS)
        if loop.time() - began < BUSY_SECONDS:
            continue
        for one in waiting(listener, AT_ONCE):
            task = loop.create_task(loop.connect_accepted_socket(protocol, one))
            coming.add(task)
            task.add_done_callback(coming.discard)


def waiting(listener: socket.socket, most: int) -> list[socket.socket]:
    """Return connections to a listener that does not block, so many at most; none if nobody waits."""
    found: list[socket.socket] = []
    with contextlib.suppress(OSError):  # no more of them, or no more files may be open
        while len(found) < most:
            found.append(listener.accept()[0])
            found[-1].setblocking(False)
    return found
