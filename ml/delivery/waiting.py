"""Waiting until a service has taken what a pointer says."""

import contextlib

from ml.errors import MlError
from ml.serving.client import Service, wait_until


def wait_for_version(service: Service, version: int | None, seconds: float = 30.0) -> None:
    """Wait until all workers of the service report a version; a refusal or silence raises ``MlError``."""
    _wait_for_workers(service, version, "version", seconds)


def follows(service: Service, version: int | None, seconds: float = 5.0) -> bool:
    """Tell whether all workers of a service report a version; a tunnel to it may take a moment to open."""

    def reached() -> bool | None:
        with contextlib.suppress(MlError):
            return all(worker["version"] == version for worker in service.health()["workers"])
        return None

    return bool(wait_until(reached, seconds))


def wait_for_candidate(service: Service, version: int | None, seconds: float = 30.0) -> None:
    """Wait until all workers of the service have a candidate; a refusal or silence raises ``MlError``."""
    _wait_for_workers(service, version, "candidate", seconds)


def _wait_for_workers(service: Service, version: int | None, role: str, seconds: float) -> None:
    def reached() -> bool | None:
        workers = service.health()["workers"]
        for worker in workers:
            if reason := worker["refused"].get(str(version)):
                raise MlError(f"the service at {service.place} refuses version {version}: {reason}")
        return all(worker[role] == version for worker in workers) or None

    if not wait_until(reached, seconds):
        raise MlError(f"the service at {service.place} did not take version {version} within {seconds:g} s")
