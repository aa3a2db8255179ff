"""Requests that wait are scored together, and each gets its own rows back."""

import asyncio
import threading
from typing import Any

import pytest

from ml.serving.batching import Batcher, Full


async def gather(runner: "asyncio.Task[None]", *requests: Any) -> list[Any]:
    try:
        return await asyncio.gather(*requests, return_exceptions=True)
    finally:
        runner.cancel()


def test_waiting_requests_become_one_batch() -> None:
    sizes: list[int] = []
    first_is_under_way, go_on = threading.Event(), threading.Event()

    def double(rows: list[int]) -> list[int]:
        sizes.append(len(rows))
        first_is_under_way.set()
        go_on.wait(timeout=10)
        return [row * 2 for row in rows]

    async def run() -> list[Any]:
        batcher = Batcher()
        runner = asyncio.create_task(batcher.run())
        first = asyncio.create_task(batcher.score(double, [0]))
        await asyncio.to_thread(first_is_under_way.wait, 10)
        others = [asyncio.create_task(batcher.score(double, [n, n + 100])) for n in range(1, 6)]
        await asyncio.sleep(0)
        go_on.set()
        return await gather(runner, first, *others)

    answers = asyncio.run(run())
    assert sizes == [1, 10]
    assert answers == [[0], *([n * 2, (n + 100) * 2] for n in range(1, 6))]


def test_only_the_request_that_is_to_blame_fails() -> None:
    def refuse_negative(rows: list[int]) -> list[int]:
        if min(rows) < 0:
            raise ValueError("negative")
        return rows

    async def run() -> list[Any]:
        batcher = Batcher()
        asked = [asyncio.create_task(batcher.score(refuse_negative, [n])) for n in (1, -1, 2)]
        await asyncio.sleep(0)
        return await gather(asyncio.create_task(batcher.run()), *asked)

    first, failed, last = asyncio.run(run())
    assert (first, last) == ([1], [2])
    assert isinstance(failed, ValueError)


def test_rows_of_two_versions_are_not_mixed() -> None:
    async def run() -> list[Any]:
        batcher = Batcher()
        asked = [
            asyncio.create_task(batcher.score(score, [1]))
            for score in (lambda rows: ["old"] * len(rows), lambda rows: ["new"] * len(rows))
        ]
        await asyncio.sleep(0)
        return await gather(asyncio.create_task(batcher.run()), *asked)

    assert asyncio.run(run()) == [["old"], ["new"]]


@pytest.mark.parametrize("max_rows", [1, 3])
def test_a_batch_is_limited(max_rows: int) -> None:
    sizes: list[int] = []

    def note(rows: list[int]) -> list[int]:
        sizes.append(len(rows))
        return rows

    async def run() -> None:
        batcher = Batcher(max_rows)
        asked = [asyncio.create_task(batcher.score(note, [n])) for n in range(6)]
        await asyncio.sleep(0)
        await gather(asyncio.create_task(batcher.run()), *asked)

    asyncio.run(run())
    assert sizes == [max_rows] * (6 // max_rows)


def test_a_full_queue_refuses_at_once_and_takes_again_when_it_is_worked_off() -> None:
    async def ask() -> list[Any]:
        batcher = Batcher(max_waiting=3)
        waiting = [asyncio.create_task(batcher.score(lambda rows: rows, [1, 2])) for _ in range(2)]
        with pytest.raises(Full):
            await asyncio.wait_for(waiting[1], 1)
        runner = asyncio.create_task(batcher.run())
        assert await waiting[0] == [1, 2]
        await asyncio.sleep(0)
        return await gather(runner, batcher.score(lambda rows: rows, [3, 4, 5]))

    assert asyncio.run(ask()) == [[3, 4, 5]]
