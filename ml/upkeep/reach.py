"""What a build needs beside the machine: keys, packages, registry, store, source, services, Jenkins."""

import os
import time
from collections.abc import Iterator
from email.utils import parsedate_to_datetime

import httpx2

from ml import locations
from ml.errors import MlError
from ml.project import Project
from ml.serving import service
from ml.serving.client import Service
from ml.stages.lint import unlocked
from ml.upkeep.findings import OK, REFUSED, WARNING, Finding
from ml.upkeep.host import MAX_CLOCK_SECONDS

SECONDS = 5.0


def keys() -> Iterator[Finding]:
    """Tell whether the keys that are named are there, and nobody but their owner reads the private ones."""
    named = {
        "ML_SIGNING_KEY": locations.signing_key(),
        "ML_VERIFY_KEY": locations.verify_key(),
        "ML_API_KEYS": locations.api_keys(),
    }
    missing = [
        name for name, file in named.items() if locations.is_named(name) and file and not file.is_file()
    ]
    yield from (Finding(REFUSED, "keys", f"{named[name]} is missing: {name} names it") for name in missing)
    verify = locations.verify_key()
    if not missing and not verify.is_file() and any(locations.registry().glob("*/versions/*")):
        missing = ["ML_VERIFY_KEY"]
        told = f"{verify} is missing, by which versions are read: bring it back (`restore --keys`)"
        yield Finding(REFUSED, "keys", told)
    private = [locations.signing_key(), locations.personal_key(), *locations.build_keys().glob("*.pem")]
    there = [file for file in private if file.is_file()]
    for file in there:
        if file.stat().st_mode & 0o077:
            yield Finding(WARNING, "keys", f"others can read {file}: chmod 600 {file}")
    if not missing:
        yield Finding(OK, "keys", f"{len(there)} private keys here")


def packages() -> Iterator[Finding]:
    """Tell whether what is installed is what the lock file says."""
    if found := unlocked():
        yield Finding(REFUSED, "packages", f"{found[0]} ({len(found)} in all): make install")
    else:
        yield Finding(OK, "packages", f"as {locations.LOCK_FILE.name} says")


def registry() -> Iterator[Finding]:
    """Tell whether versions can be read; where a build does not deploy, they need not be written."""
    place = locations.registry()
    there = next(one for one in (place, *place.parents) if one.exists())
    if not os.access(there, os.R_OK | os.X_OK):
        yield Finding(REFUSED, "registry", f"{there} cannot be read: check its owner (ML_REGISTRY)")
    elif not os.access(there, os.W_OK):
        yield Finding(OK, "registry", f"{place}, to read only: nothing is deployed from here")
    else:
        yield Finding(OK, "registry", str(place) if place.exists() else f"{place}, made at the first deploy")


def store(project: Project, channel: str) -> Iterator[Finding]:
    """Tell whether the store answers; a build goes on without it."""
    from sqlalchemy.exc import SQLAlchemyError

    from ml.store.database import open_store, reason_of

    if (url := locations.store(project.name, channel)) is None:
        yield Finding(OK, "store", "off")
        return
    started = time.monotonic()
    try:
        open_store(url).dispose()
    except (SQLAlchemyError, MlError, OSError) as error:
        yield Finding(WARNING, "store", f"does not answer: {reason_of(error)}")
        return
    kind = url.partition(":")[0].partition("+")[0]
    yield Finding(OK, "store", f"{kind} answers in {1000 * (time.monotonic() - started):.0f} ms")


def source(project: Project) -> Iterator[Finding]:
    """Tell whether every table of the source is there, fresh and as agreed."""
    from ml.data.sources.probe import probe

    stands_in = "; its snapshot stands in" if project.source.snapshot else ""
    for one in probe(project):
        if one.problem:
            yield Finding(WARNING, "source", f"{one.told}: {one.problem}{stands_in}")
        else:
            yield Finding(OK, "source", ", ".join(filter(None, [one.told, one.size, one.age])))


def services(project: Project) -> Iterator[Finding]:
    """Tell which services of the project answer, with what version, and whether their clocks agree."""
    for channel, settings in project.channels.items():
        hosts = tuple(project.hosts.get(channel, ()))
        here = service.find(project.name, channel)
        for running in service.elsewhere(project.name, channel, hosts) or ([here] if here else []):
            yield _service(project.name, channel, running)
    if jenkins := os.environ.get("JENKINS_URL"):
        yield _page("jenkins", jenkins)


def _service(project: str, channel: str, running: Service) -> Finding:
    try:
        health = running.health(project, channel)
    except MlError as error:
        return Finding(WARNING, "service", f"{channel}: {error}")
    told = f"{channel}: {running.url} answers with version {health.get('version')}"
    if apart := _seconds_apart(running.url):
        return Finding(WARNING, "service", f"{told}; its clock is {apart:.0f} s from ours: let NTP set both")
    return Finding(OK if health.get("ready") else WARNING, "service", told)


def _seconds_apart(url: str) -> float | None:
    """Return how far the clock of a server is from this one, if that is more than it may be."""
    try:
        told = httpx2.head(f"{url}/health", timeout=SECONDS, trust_env=False).headers.get("Date")
        apart = abs(parsedate_to_datetime(told).timestamp() - time.time()) if told else 0.0
    except (httpx2.HTTPError, ValueError):
        return None
    return apart if apart > MAX_CLOCK_SECONDS else None


def _page(topic: str, url: str) -> Finding:
    try:
        code = httpx2.get(f"{url.rstrip('/')}/login", timeout=SECONDS, trust_env=False).status_code
    except httpx2.HTTPError as error:
        return Finding(WARNING, topic, f"{url} does not answer: {error}")
    return Finding(OK if code < 500 else WARNING, topic, f"{url} answers {code}")
