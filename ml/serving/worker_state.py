"""What one worker serves, told to Prometheus, to clients and to the other workers."""

import asyncio
import contextlib
import os
from pathlib import Path
from typing import Any

from ml.console import say
from ml.errors import MlError
from ml.files import read_json, write_json
from ml.registry.versions import Registry
from ml.serving.follower import ChannelFollower
from ml.serving.loaded import Routing
from ml.serving.predictor import Predictor
from ml.serving.scoring import Unavailable
from ml.serving.workers import running_code

FOLLOW_SECONDS = 0.05
NO_MODEL = "channel '{}' serves no model: deploy one"


class WorkerState:
    """The channel as this worker serves it; Prometheus, clients and the other workers are told."""

    def __init__(
        self,
        project: str,
        channel: str,
        follower: ChannelFollower | None,
        status: Path | None,
        predictor: Predictor,
    ) -> None:
        """Follow a channel, unless a ``follower`` is given that holds a model already."""
        self.project, self.channel, self.status = project, channel, status
        self.follower = follower or ChannelFollower(Registry(project), channel)
        self.follows = follower is None
        self.metrics, self.batcher = predictor.metrics, predictor.batcher
        self._predictor = predictor
        self.code = running_code()
        self._swaps: int | None = None
        self._state: dict[str, Any] = {}
        self._told = False

    def ready(self) -> Routing:
        """Return the versions that answer, or raise ``Unavailable`` if there is none."""
        if self.follower.routing.champion is None:
            raise Unavailable(NO_MODEL.format(self.channel))
        return self.follower.routing

    def follow(self) -> None:
        """Take what the pointer says, and tell everybody what is served."""
        if self.follows:
            self.follower.follow()
        champion, candidate = self.follower.routing.champion, self.follower.routing.candidate
        state = {
            "pid": os.getpid(),
            "code": self.code,
            "version": champion.version if champion else None,
            "scoring": champion.scoring if champion else None,
            "candidate": candidate.version if candidate else None,
            "since": self.follower.since,
            "refused": {str(version): reason for version, reason in self.follower.refused.items()},
            "trouble": self._predictor.trouble,
        }
        if self._swaps is not None:  # what it begins with is no change
            self.metrics.swaps.inc(self.follower.swaps - self._swaps)
        self._swaps = self.follower.swaps
        self.metrics.version.set(champion.version if champion else 0)
        self.metrics.queue.set(self.batcher.waiting_rows)
        self.metrics.measure_process()
        if state != self._state:
            self._state, self._told = state, False
        if self.status and not self._told:
            with contextlib.suppress(OSError):  # a full disk: told at the next look
                write_json(self.status / f"{os.getpid()}.json", state, lasting=False)
                self._told = True

    async def follow_forever(self) -> None:
        """Follow again and again, until cancelled."""
        while True:
            await asyncio.sleep(FOLLOW_SECONDS)
            try:
                await asyncio.to_thread(self.follow)
            except Exception as error:  # following must not end, whatever happens
                say(f"serve: cannot follow the channel: {type(error).__name__}: {error}")

    def health(self) -> dict[str, Any]:
        """Return what this worker serves, and what each worker of the service does."""
        workers = [self._state]
        if self.status:
            with contextlib.suppress(OSError, MlError):
                workers = [read_json(file) for file in sorted(self.status.glob("[0-9]*.json"))] or workers
        return {
            "live": True,
            "ready": self.follower.routing.champion is not None,
            "project": self.project,
            "channel": self.channel,
            **{
                key: self._state.get(key)
                for key in ("pid", "code", "version", "scoring", "candidate", "since", "refused")
            },
            "workers": workers,
        }
