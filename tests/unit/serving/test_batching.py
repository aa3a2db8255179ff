"""Requests that wait are scored together, and each gets its own rows back."""

import asyncio
import threading
from typing import Any

import pandas as pd
import pytest

from ml.serving.batching import Batcher


def frame(*values: int) -> pd.DataFrame:
    return pd.DataFrame({"x": values})


async def gather(runner: "asyncio.Task[None]", *requests: Any) -> list[Any]:
    try:
        return await asyncio.gather(*requests, return_exceptions=True)
    finally:
        runner.cancel()


def test_waiting_requests_become_one_batch() -> None:
    sizes: list[int] = []
    first_is_under_way, go_on = threading.Event(), threading.Event()

    def double(rows: pd.DataFrame) -> pd.DataFrame:
        sizes.append(len(rows))
        first_is_under_way.set()
        go_on.wait(timeout=10)
        return rows * 2

    async def run() -> list[Any]:
        batcher = Batcher()
        runner = asyncio.create_task(batcher.run())
        first = asyncio.create_task(batcher.score(double, frame(0)))
        await asyncio.to_thread(first_is_under_way.wait, 10)
        others = [asyncio.create_task(batcher.score(double, frame(n, n + 100))) for n in range(1, 6)]
        await asyncio.sleep(0)
        go_on.set()
        return await gather(runner, first, *others)

    answers = asyncio.run(run())
    assert sizes == [1, 10]
    assert [list(answer["x"]) for answer in answers[1:]] == [[n * 2, (n + 100) * 2] for n in range(1, 6)]


def test_a_failing_batch_fails_its_requests_and_nothing_else() -> None:
    def fail(rows: pd.DataFrame) -> pd.DataFrame:
        raise ValueError("no")

    async def run() -> list[Any]:
        batcher = Batcher()
        runner = asyncio.create_task(batcher.run())
        return await gather(runner, batcher.score(fail, frame(1)), batcher.score(lambda rows: rows, frame(2)))

    failed, answered = asyncio.run(run())
    assert isinstance(failed, ValueError)
    assert list(answered["x"]) == [2]


@pytest.mark.parametrize("most_rows", [1, 3])
def test_a_batch_is_limited(most_rows: int) -> None:
    sizes: list[int] = []

    def note(rows: pd.DataFrame) -> pd.DataFrame:
        sizes.append(len(rows))
        return rows

    async def run() -> None:
        batcher = Batcher(most_rows)
        asked = [asyncio.create_task(batcher.score(note, frame(n))) for n in range(6)]
        await asyncio.sleep(0)
        await gather(asyncio.create_task(batcher.run()), *asked)

    asyncio.run(run())
    assert sizes == [most_rows] * (6 // most_rows)
