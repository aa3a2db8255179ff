"""What the paths of an application share."""

from dataclasses import dataclass
from typing import Any

from ml.serving.openapi import Problem
from ml.serving.predictor import Predictor
from ml.serving.worker_state import WorkerState


@dataclass(frozen=True)
class Parts:
    """The channel that is served, and what serves it; ``guard`` refuses who has no key."""

    project: str
    channel: str
    state: WorkerState
    predictor: Predictor
    guard: list[Any]

    def problems(self, *statuses: int) -> dict[int | str, dict[str, Any]]:
        """Return the description of answers that are errors."""
        retry = {"Retry-After": {"description": "seconds", "schema": {"type": "integer"}}}
        found: dict[int | str, dict[str, Any]] = {
            code: {"model": Problem} for code in ((401,) if self.guard else ()) + statuses
        }
        found[503]["headers"] = retry
        return found
