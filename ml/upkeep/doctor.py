"""A look at the machine before a build: one line for each thing, and whether a build can go well."""

from collections.abc import Iterator
from pathlib import Path

from ml.errors import MlError
from ml.project import Project
from ml.results import results
from ml.upkeep import host, reach
from ml.upkeep.findings import REFUSED, Finding
from ml.upkeep.host import MEGABYTE
from ml.upkeep.prune import Removable, removable, remove

MAX_SHOWN = 10


def examine(project: Project, channel: str, build: Path, *, ask_source: bool) -> None:
    """Print what was found, a line each; raise ``MlError`` if no build can go well here.

    ``ask_source`` asks the tables of the project's source, too, which can take as long as to count them.
    """
    refused = []
    for one in _findings(project, channel, build, ask_source):
        results.print(f"{one.outcome:<7}  {one.topic:<8}  {one.told}", markup=False)
        refused += [one] if one.outcome == REFUSED else []
    if refused:
        raise MlError("; ".join(f"{one.topic}: {one.told}" for one in refused))


def prune(build: Path, *, really: bool) -> str:
    """Show what could go and, ``really``, take it away; return what was done in a line."""
    found = sorted(removable(build), key=lambda one: one.size, reverse=True)
    for one in found[:MAX_SHOWN]:
        results.print(f"{one.size / MEGABYTE:10,.1f} MB  {one.path}  ({one.why})", markup=False)
    if len(found) > MAX_SHOWN:
        results.print(f"{_megabytes(found[MAX_SHOWN:])}  in {len(found) - MAX_SHOWN} more", markup=False)
    if not found:
        return "nothing could go"
    if not really:
        return f"{len(found)} could go, {_megabytes(found)}: `doctor --prune --yes` takes them away"
    return f"{remove(found) / MEGABYTE:,.1f} MB are free again"


def _findings(project: Project, channel: str, build: Path, ask_source: bool) -> Iterator[Finding]:
    yield from host.disk(build / project.name)
    yield from host.growth(build / project.name)
    yield from host.memory()
    yield from host.ports(project)
    yield from host.clock()
    yield from reach.keys()
    yield from reach.packages()
    yield from reach.registry()
    yield from reach.store(project, channel)
    yield from reach.services(project)
    if ask_source:
        yield from reach.source(project)


def _megabytes(found: list[Removable]) -> str:
    return f"{sum(one.size for one in found) / MEGABYTE:10,.1f} MB".strip()
