"""Channels: pointers to versions, a candidate on trial beside them, and every move that was made."""

import getpass
import os
import time
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

Action = Literal["deploy", "rollback", "revert", "undeploy", "canary", "shadow", "withdraw", "hold"]
RETURNS = ("rollback", "revert")


@dataclass(frozen=True)
class Candidate:
    """A version on trial: the share of the requests it answers (0: a shadow), until when (Unix time)."""

    version: int
    share: float
    until: float

    def over(self) -> bool:
        """Tell whether the trial has ended; nobody needs to be alive to end it."""
        return time.time() > self.until


class Pointer(BaseModel):
    """The content of a channel's file, but for its signature."""

    model_config = ConfigDict(extra="forbid", strict=True)

    version: int | None
    candidate: Candidate | None = None
    history: list[dict[str, Any]]


@dataclass(frozen=True)
class Channel:
    """A pointer to a version, and every move it made."""

    name: str
    version: int | None
    history: list[dict[str, Any]]
    candidate: Candidate | None = None

    @property
    def previous(self) -> int | None:
        """The version that a rollback returns to: deploys stack up, rollback and revert unstack.

        After ``undeploy`` it is the version that was taken out of service.
        """
        stack: list[int] = []
        for move in self.history:
            if move["action"] == "deploy":
                stack.append(move["version"])
            elif move["action"] == "undeploy" and move["version"] is not None:  # a retired one
                stack = [version for version in stack if version != move["from"]]
            elif move["action"] in RETURNS:
                stack = stack[:-1] if move["from"] is not None else stack
                while stack and stack[-1] != move["version"]:
                    stack.pop()
                if not stack and move["version"] is not None:
                    stack = [move["version"]]
        if self.version is None:
            return stack[-1] if stack else None
        return stack[-2] if len(stack) > 1 else None

    def withdrawn(self, version: int) -> bool:
        """Tell whether a person took this version back and nobody brought it back since."""
        for move in reversed(self.history):
            if move["action"] in ("deploy", "rollback") and move["version"] == version:
                return False
            if move["action"] in ("rollback", "undeploy") and move["from"] == version:
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
