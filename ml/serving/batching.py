"""Micro-batches: scoring hundreds of rows takes as long as one, so waiting requests are scored together."""

import asyncio
from collections.abc import Callable

import pandas as pd

Score = Callable[[pd.DataFrame], pd.DataFrame]


class Batcher:
    """Scores what came in while the last batch was being scored; an idle service adds no waiting."""

    def __init__(self, most_rows: int = 4096) -> None:
        """Limit one batch to about ``most_rows`` rows."""
        self.most_rows = most_rows
        self._waiting: asyncio.Queue[tuple[Score, pd.DataFrame, asyncio.Future[pd.DataFrame]]] = (
            asyncio.Queue()
        )

    async def score(self, score: Score, rows: pd.DataFrame) -> pd.DataFrame:
        """Score rows, computed together with other waiting calls of the same ``score``."""
        answer: asyncio.Future[pd.DataFrame] = asyncio.get_running_loop().create_future()
        await self._waiting.put((score, rows, answer))
        return await answer

    async def run(self) -> None:
        """Score batches until cancelled."""
        while True:
            batch = [await self._waiting.get()]
            while not self._waiting.empty() and sum(len(rows) for _, rows, _ in batch) < self.most_rows:
                batch.append(self._waiting.get_nowait())
            for score in {id(score): score for score, _, _ in batch}.values():
                mine = [(rows, answer) for asked, rows, answer in batch if asked is score]
                await self._score_together(score, mine)

    async def _score_together(
        self, score: Score, mine: list[tuple[pd.DataFrame, "asyncio.Future[pd.DataFrame]"]]
    ) -> None:
        try:
            scored = await asyncio.to_thread(score, pd.concat([rows for rows, _ in mine], ignore_index=True))
        except Exception as error:
            for _, answer in mine:
                if not answer.done():
                    answer.set_exception(error)
            return
        start = 0
        for rows, answer in mine:
            if not answer.done():
                answer.set_result(scored.iloc[start : start + len(rows)])
            start += len(rows)
