"""Containers of this machine, behind nginx."""

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass

from ml import locations
from ml.delivery.targets.command import call
from ml.delivery.targets.interface import Target
from ml.errors import MlError
from ml.project import Project
from ml.serving.client import Service

COMPOSE_FILE = locations.ROOT / "docker" / "serving.yaml"
COMPOSE_INSTANCES = ("serving-1", "serving-2")
COMPOSE_PORT = "8000"  # of an instance, inside its container


@dataclass(frozen=True)
class Compose:
    """Two containers behind nginx, made by ``docker/serving.yaml``; they see the registry read-only."""

    project: Project
    channel: str

    def prepare(self) -> list[Service]:
        """Bring the containers up and return both instances; without API keys raises ``MlError``."""
        keys = locations.api_keys()
        if keys is None or not keys.exists():
            raise MlError("containers listen on a network: name a file of API keys in ML_API_KEYS first")
        locations.registry().mkdir(parents=True, exist_ok=True)
        self._call("up", "--detach", "--build", "--wait")
        return [self._instance(name) for name in COMPOSE_INSTANCES]

    def known(self) -> list[Service]:
        """Return the instances that run."""
        found = []
        for name in COMPOSE_INSTANCES:
            with contextlib.suppress(MlError):
                found.append(self._instance(name))
        return found

    def _instance(self, name: str) -> Service:
        """Return an instance at the port of loopback that the engine chose for it."""
        return Service(f"http://{self._call('port', name, COMPOSE_PORT).strip()}")

    def _call(self, *command: str) -> str:
        environment = os.environ | {
            "ML_REGISTRY": str(locations.registry()),
            "ML_VERIFY_KEY": str(locations.verify_key()),
            "ML_API_KEYS": str(locations.api_keys() or os.devnull),
            "PROJECT": self.project.name,
            "CHANNEL": self.channel,
            "FRONT_PORT": str(self.project.channels[self.channel].port),
        }
        whole = f"{self.project.name}-{self.channel}"
        return call(["docker", "compose", "-f", str(COMPOSE_FILE), "-p", whole, *command], environment)

    def moved(self) -> None:
        """Do nothing: the containers look at the pointer itself."""


def open_compose(
    text: str, project: Project, channel: str, port: int | None, hosts: tuple[str, ...]
) -> Iterator[Target]:
    """Yield the containers of a channel."""
    yield Compose(project, channel)
