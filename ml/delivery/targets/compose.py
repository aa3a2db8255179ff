"""Containers of this machine, behind a front."""

import contextlib
import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from ml import locations
from ml.console import say
from ml.delivery.targets.command import call, compose
from ml.delivery.targets.interface import Target
from ml.errors import MlError
from ml.files import digest
from ml.project import Project
from ml.records import ModelManifest
from ml.registry.versions import Registry
from ml.serving.client import Service, wait_until

DOCKER = locations.ROOT / "docker"
COMPOSE_FILE = DOCKER / "serving.yaml"
COMPOSE_INSTANCES = ("serving-1", "serving-2")
COMPOSE_PORT = "8000"  # of an instance, inside its container
START_SECONDS = 120.0
FRONT_SECONDS = 15


@dataclass(frozen=True)
class Compose:
    """Two containers behind a front, made by ``docker/serving.yaml``; they see the registry read-only."""

    project: Project
    channel: str
    port: int | None = None  # of the front, if not the channel's own

    def prepare(self) -> list[Service]:
        """Bring the containers up and return both instances; without API keys raises ``MlError``.

        An instance whose image changed is replaced while the other answers.
        """
        keys = locations.api_keys()
        if keys is None or not keys.exists():
            raise MlError("containers listen on a network: name a file of API keys in ML_API_KEYS first")
        locations.registry().mkdir(parents=True, exist_ok=True)
        for name in (COMPOSE_INSTANCES[0], "front"):  # one after the other: they share most of their layers
            say(f"deploy: building the image of {name}, which takes minutes the first time")
            self._call("build", name)
        serving = []
        for name in COMPOSE_INSTANCES:
            say(f"deploy: bringing up {name}")
            before = self._known(name)
            self._call("up", "--detach", "--no-deps", name)
            serving.append(self._wait_for(name))
            if before and serving[-1].url != before.url:
                self._wait_for_front(name)
        self._call("up", "--detach", "--no-deps", "front")
        return serving

    def known(self) -> list[Service]:
        """Return the instances that run."""
        return [found for name in COMPOSE_INSTANCES if (found := self._known(name))]

    def _known(self, name: str) -> Service | None:
        with contextlib.suppress(MlError):
            return self._instance(name)
        return None

    def _wait_for(self, name: str) -> Service:
        """Return an instance once it answers; raises ``MlError`` with its last words if it does not."""
        instance = self._instance(name)

        def answering() -> bool | None:
            with contextlib.suppress(MlError):
                instance.health(self.project.name, self.channel)
                return True
            return None

        if not wait_until(answering, START_SECONDS):
            said = self._call("logs", "--tail", "5", name).strip()
            raise MlError(f"{name} does not answer after {START_SECONDS:.0f} s: {said}")
        return instance

    def _wait_for_front(self, name: str) -> None:
        """Wait until the front asks an instance where it is now, or no longer: else none is left to ask."""
        address = f"$(getent ahostsv4 {name} | head -n 1 | cut -d ' ' -f 1)"
        command = ("exec", "-T", "front", "sh", "-c", f'grep -qF "{address}:" /tmp/front.conf && sleep 1')

        def known() -> bool | None:
            with contextlib.suppress(MlError):
                self._call(*command)
                return True
            return None

        wait_until(known, FRONT_SECONDS)

    def _instance(self, name: str) -> Service:
        """Return an instance at the port of loopback that the engine chose for it."""
        port = self._call("port", name, COMPOSE_PORT).strip().rpartition(":")[2]
        return Service(f"http://127.0.0.1:{port}")

    def _call(self, *command: str) -> str:
        whole = f"{self.project.name}-{self.channel}"
        return call([*self._program, "-f", str(COMPOSE_FILE), "-p", whole, *command], self._environment)

    @cached_property
    def _program(self) -> list[str]:
        """The command for compose files, looked for once: asking `podman-compose` alone takes a second."""
        return compose()

    @cached_property
    def _environment(self) -> dict[str, str]:
        """What the compose file takes from here; the images of one deploy are named once."""
        catboost = "yes" if self._uses_catboost() else "no"
        service = _content(locations.LOCK_FILE, DOCKER, locations.ROOT / "ml")
        return os.environ | {
            "ML_REGISTRY": str(locations.registry()),
            "ML_VERIFY_KEY": str(locations.verify_key()),
            "ML_API_KEYS": str(locations.api_keys() or os.devnull),
            "PROJECT": self.project.name,
            "PROJECT_FOLDER": str(self.project.folder),
            "CHANNEL": self.channel,
            "FRONT_PORT": str(self.port or self.project.channels[self.channel].port),
            "CATBOOST": catboost,
            "SERVING_TAG": f"{service}-catboost-{catboost}",
            # Without the code of the service: the front is not replaced when that changes.
            "FRONT_TAG": _content(locations.LOCK_FILE, DOCKER),
        }

    def _uses_catboost(self) -> bool:
        """Tell whether a version that the channel may be pointed to needs CatBoost."""
        registry = Registry(self.project.name)
        for version in registry.versions():
            with contextlib.suppress(MlError):
                if registry.record(ModelManifest, version).estimator.startswith("CatBoost"):
                    return True
        return False

    def bring(self) -> None:
        """Do nothing: the containers see the registry itself."""

    def moved(self) -> None:
        """Do nothing: the containers look at the pointer itself."""


def _content(*places: Path) -> str:
    """Return a tag for what goes into an image: other content is another image, which each engine notices."""
    files = {file for place in places for file in ([place] if place.is_file() else place.rglob("*"))}
    kept = sorted(file for file in files if file.is_file() and file.parent.name != "__pycache__")
    listing = "\n".join(f"{file.relative_to(locations.ROOT)} {digest(file)}" for file in kept)
    return hashlib.sha256(listing.encode()).hexdigest()[:12]


def open_compose(
    text: str, project: Project, channel: str, port: int | None, hosts: tuple[str, ...]
) -> Iterator[Target]:
    """Yield the containers of a channel."""
    yield Compose(project, channel, port)
