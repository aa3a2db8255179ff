"""One wait for the scoring thread: what can go wrong there, as errors that a client can be told."""

import asyncio
from collections.abc import Callable
from typing import Any

from ml.console import say
from ml.errors import MlError
from ml.serving.batching import Batcher, Full

SCORE_SECONDS = 10.0


class Unavailable(MlError):
    """No answer can be had now; asked again later, there may be one."""


class Busy(Unavailable):
    """Too much waits already."""

    def __init__(self) -> None:
        """Say so."""
        super().__init__("too many requests wait already: ask again in a moment")


class ModelFailed(MlError):
    """The model raised an error on rows that its contract admits."""


async def score_in_time(
    batcher: Batcher, version: int, score: Callable[[list[Any]], list[Any]], rows: list[Any]
) -> list[Any]:
    """Return what ``score`` says of rows, or raise ``Unavailable``, ``ModelFailed`` or its ``MlError``."""
    try:
        return await asyncio.wait_for(batcher.score(score, rows), SCORE_SECONDS)
    except Full:
        raise Busy from None
    except TimeoutError:
        raise Unavailable(f"not predicted within {SCORE_SECONDS:g} s: ask again later") from None
    except MlError:
        raise
    except Exception as error:
        say(f"serve: version {version} fails: {type(error).__name__}")  # its text may show a row
        raise ModelFailed(f"version {version} cannot predict this") from error
