"""Micro-batches: scoring hundreds of rows takes as long as one, so waiting requests are scored together."""

import asyncio
from collections.abc import Callable
from typing import Any

Score = Callable[[list[Any]], list[Any]]
Waiting = tuple[Score, list[Any], "asyncio.Future[list[Any]]"]


class Batcher:
    """Scores what came in while the last batch was being scored; an idle service adds no waiting."""

    def __init__(self, most_rows: int = 4096) -> None:
        """Limit one batch to about ``most_rows`` rows."""
        self.most_rows = most_rows
        self._waiting: asyncio.Queue[Waiting] = asyncio.Queue()

    async def score(self, score: Score, rows: list[Any]) -> list[Any]:
        """Score rows together with all others that wait for the same function; raise what it raises."""
        answer: asyncio.Future[list[Any]] = asyncio.get_running_loop().create_future()
        await self._waiting.put((score, rows, answer))
        return await answer

    async def run(self) -> None:
        """Score batches until cancelled."""
        while True:
            batch = [await self._waiting.get()]
            while not self._waiting.empty() and sum(len(rows) for _, rows, _ in batch) < self.most_rows:
                batch.append(self._waiting.get_nowait())
            for score in dict.fromkeys(score for score, _, _ in batch):
                await self._score_together(score, [waiting for waiting in batch if waiting[0] == score])

    async def _score_together(self, score: Score, batch: list[Waiting]) -> None:
        try:
            scored = await asyncio.to_thread(score, [row for _, rows, _ in batch for row in rows])
        except Exception as error:
            if len(batch) == 1:
                _settle(batch[0][2], error)
                return
            for waiting in batch:  # only those that are to blame shall fail
                await self._score_together(score, [waiting])
            return
        start = 0
        for _, rows, answer in batch:
            _settle(answer, scored[start : start + len(rows)])
            start += len(rows)


def _settle(answer: "asyncio.Future[list[Any]]", outcome: list[Any] | Exception) -> None:
    if answer.done():  # the client went away
        return
    if isinstance(outcome, Exception):
        answer.set_exception(outcome)
    else:
        answer.set_result(outcome)
