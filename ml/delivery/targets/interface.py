"""What a deploy needs of a place that serves."""

from typing import Protocol

from ml.serving.client import Service


class Target(Protocol):
    """What a deploy needs of a place: its services, ready to answer, and that it hears of a moved pointer."""

    def prepare(self) -> list[Service]:
        """Bring what is registered there, start what does not run, and return the services."""

    def bring(self) -> None:
        """Bring the versions of the registry there, as far as the place can be reached, or say why not."""

    def known(self) -> list[Service]:
        """Return the services, and start none."""

    def moved(self) -> None:
        """Tell the place that the channel's pointer has moved."""
