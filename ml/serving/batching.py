"""Micro-batches: scoring hundreds of rows takes as long as one, so waiting requests are scored together."""

import asyncio
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import sklearn

Score = Callable[[list[Any]], list[Any]]


class Full(Exception):
    """So many rows wait already that another request would wait too long."""


@dataclass(frozen=True)
class _Waiting:
    score: Score
    rows: list[Any]
    answer: "asyncio.Future[list[Any]]"


class Batcher:
    """Scores what came in while the last batch was being scored; an idle service adds no waiting."""

    def __init__(
        self,
        max_rows: int = 2048,
        max_waiting: int = 8192,
        *,
        scored: Callable[[int], None] = lambda rows: None,
    ) -> None:
        """Limit a batch to about ``max_rows`` rows, and what waits to ``max_waiting``; then it is ``Full``.

        ``scored`` is told the number of rows of each batch.
        """
        self.max_rows, self.max_waiting, self.scored = max_rows, max_waiting, scored
        self.waiting_rows = 0
        self._waiting: deque[_Waiting] = deque()
        self._arrived = asyncio.Event()
        # One thread: scoring holds the interpreter most of the time, so a second would only get in its way.
        self._thread = ThreadPoolExecutor(1, "scoring", initializer=_trust_checked_rows)

    async def score(self, score: Score, rows: list[Any]) -> list[Any]:
        """Score rows together with all others that wait for the same function; raise what it raises.

        Raises ``Full`` at once if too many rows wait.
        """
        if self.waiting_rows and self.waiting_rows + len(rows) > self.max_waiting:
            raise Full
        answer: asyncio.Future[list[Any]] = asyncio.get_running_loop().create_future()
        self._waiting.append(_Waiting(score, rows, answer))
        self.waiting_rows += len(rows)
        self._arrived.set()
        return await answer

    async def run(self) -> None:
        """Score batches until cancelled."""
        while True:
            await self._arrived.wait()
            batch: list[_Waiting] = []
            while self._waiting and sum(len(one.rows) for one in batch) < self.max_rows:
                batch.append(self._waiting.popleft())
            if not self._waiting:
                self._arrived.clear()
            asked = [one for one in batch if not one.answer.done()]  # the others went away
            for score in dict.fromkeys(one.score for one in asked):
                await self._score_together(score, [one for one in asked if one.score == score])
            self.waiting_rows -= sum(len(one.rows) for one in batch)

    async def _score_together(self, score: Score, batch: list[_Waiting]) -> None:
        rows = [row for one in batch for row in one.rows]
        try:
            scored = await asyncio.get_running_loop().run_in_executor(self._thread, score, rows)
        except Exception as error:
            if len(batch) == 1:
                _settle(batch[0].answer, error)
                return
            for one in batch:  # only those that are to blame shall fail
                await self._score_together(score, [one])
            return
        self.scored(len(rows))
        start = 0
        for one in batch:
            _settle(one.answer, scored[start : start + len(one.rows)])
            start += len(one.rows)


def _trust_checked_rows() -> None:
    """Leave out scikit-learn's own checks, in this thread: the contract has checked every row already."""
    sklearn.set_config(assume_finite=True, skip_parameter_validation=True)


def _settle(answer: "asyncio.Future[list[Any]]", outcome: list[Any] | Exception) -> None:
    if answer.done():  # the client went away
        return
    if isinstance(outcome, Exception):
        answer.set_exception(outcome)
    else:
        answer.set_result(outcome)
