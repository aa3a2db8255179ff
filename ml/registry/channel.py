"""Channels: pointers to versions, a candidate on trial beside them, and every move that was made."""

import getpass
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

Action = Literal["deploy", "rollback", "revert", "undeploy", "canary", "shadow", "withdraw", "hold"]


@dataclass(frozen=True)
class Challenger:
    """A version on trial: the share of the requests it answers (0: a shadow), until when (Unix time)."""

    version: int
    share: float
    until: float

    def over(self) -> bool:
        """Tell whether the trial has ended; nobody needs to be alive to end it."""
        return time.time() > self.until


class Move(BaseModel):
    """One move of a pointer: where to, from where (or which version it is about), who did it and why."""

    model_config = ConfigDict(extra="ignore", frozen=True, populate_by_name=True)

    version: int | None
    left: int | None = Field(alias="from")
    action: Action
    at: str
    by: str = ""
    why: str = ""
    candidate: int | None = None

    def about(self, version: int) -> bool:
        """Tell whether a version came, went or was tried in this move."""
        return version in (self.version, self.left, self.candidate)

    def __str__(self) -> str:
        """Read like a line of a history."""
        by = f"by {self.by}" if self.by else ""
        return " ".join(filter(None, [self.at, self.action, f"{self.left} -> {self.version}", by, self.why]))


class Pointer(BaseModel):
    """The content of a channel's file, but for its signature."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    format: Literal[1] = 1
    version: int | None
    candidate: Challenger | None = None
    history: tuple[Move, ...]

    def content(self) -> dict[str, Any]:
        """Return what is written, and signed: what a service of older code reads, too."""
        return self.model_dump(mode="json", by_alias=True, exclude_unset=True)


Stack = list[int]


def _deployed(stack: Stack, move: Move) -> Stack:
    return [*stack, move.version] if move.version is not None else stack


def _returned(stack: Stack, move: Move) -> Stack:
    """Unstack down to the version that was returned to."""
    kept = stack[:-1] if move.left is not None else stack
    while kept and kept[-1] != move.version:
        kept = kept[:-1]
    return kept or ([move.version] if move.version is not None else [])


def _retired(stack: Stack, move: Move) -> Stack:
    """Forget a version that was taken out while another one served; the one that served is kept in mind."""
    return stack if move.version is None else [version for version in stack if version != move.left]


# What each action does to the stack of versions that a rollback walks down; a trial does nothing to it.
EFFECTS: dict[Action, Callable[[Stack, Move], Stack]] = {
    "deploy": _deployed,
    "rollback": _returned,
    "revert": _returned,
    "undeploy": _retired,
}


@dataclass(frozen=True)
class Channel:
    """A pointer to a version, and every move it made."""

    name: str
    version: int | None
    history: tuple[Move, ...] = ()
    candidate: Challenger | None = None

    @property
    def previous(self) -> int | None:
        """The version that a rollback returns to: deploys stack up, rollback and revert unstack.

        After ``undeploy`` it is the version that was taken out of service.
        """
        stack: Stack = []
        for move in self.history:
            if effect := EFFECTS.get(move.action):
                stack = effect(stack, move)
        if self.version is None:
            return stack[-1] if stack else None
        return stack[-2] if len(stack) > 1 else None

    def withdrawn(self, version: int) -> bool:
        """Tell whether a person took this version back and nobody brought it back since."""
        for move in reversed(self.history):
            if move.action in ("deploy", "rollback") and move.version == version:
                return False
            if move.action in ("rollback", "undeploy") and move.left == version:
                return True
        return False


def person() -> str:
    """Return who moves a pointer: the build, and who started it if Jenkins tells, or else the user here."""
    if build := os.environ.get("BUILD_URL") or os.environ.get("BUILD_TAG"):
        return f"{os.environ['BUILD_USER']}, {build}" if os.environ.get("BUILD_USER") else build
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container may run as a user without a name
        return f"user {os.getuid()}"
