"""Waiting until a service has taken what a pointer says."""

from ml.errors import MlError
from ml.serving.client import Service, wait_until


def wait_for_version(service: Service, version: int | None, seconds: float = 30.0) -> None:
    """Wait until all workers of the service report a version; a refusal or silence raises ``MlError``."""
    _wait_for_workers(service, version, "version", seconds)


def follows(service: Service, version: int | None) -> bool:
    """Tell whether all workers of a service report a version; one that does not answer does not."""
    try:
        return all(worker["version"] == version for worker in service.health()["workers"])
    except MlError:
        return False


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
