"""Moves of a pointer: to a new version and back if a service does not follow; by a person, too."""

import math
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ml.console import say
from ml.delivery.targets import open_target
from ml.delivery.targets.interface import Target
from ml.delivery.waiting import follows, wait_for_version
from ml.errors import GateRefused, MlError
from ml.files import read_json
from ml.project import Project
from ml.records import Verdict
from ml.registry.channel import Challenger, Channel
from ml.registry.recalls import recall_of
from ml.registry.versions import Registry
from ml.serving import GOLDEN_TOLERANCE
from ml.serving.client import Service


def roll_back(
    project: Project,
    channel: str,
    to: int | None = None,
    why: str = "",
    target: str = "local",
    port: int | None = None,
) -> tuple[int | None, int]:
    """Point the channel to version ``to``, else the one before; return the versions left and returned to.

    While a candidate is on trial, the one before is the champion: the trial ends. A channel that points to
    ``to`` already is told once more to services that did not follow. Raises ``MlError`` if there is no such
    version to return to, it was never blessed, or a service does not follow; the others have followed then.
    """
    project.check_channel(channel)
    with open_target(target, project, channel, port, ()) as opened:
        return _roll_back(project, Registry(project.name, opened.moved), channel, opened, to, why)


def _roll_back(
    project: Project, registry: Registry, channel: str, target: Target, to: int | None, why: str
) -> tuple[int | None, int]:
    with registry.lock(channel):
        now = _readable(registry, channel, to)
        if to is None and now.candidate and not now.candidate.over() and now.version is not None:
            registry.move(channel, now.version, "rollback", why, left=now.candidate.version)
            return now.candidate.version, now.version
        earlier = now.previous if to is None else to
        if earlier is None:
            raise MlError(f"channel '{channel}' of {project.name} has no earlier version to return to")
        if earlier == now.version:
            if all(follows(running, earlier) for running in target.known()):
                raise MlError(f"channel '{channel}' of {project.name} already has version {earlier}")
            _tell_again(target, channel, earlier)
            return now.version, earlier
        registry.read(earlier)
        if not registry.record(Verdict, earlier).blessed:
            raise MlError(
                f"version {earlier} of {project.name} was never blessed: only what passed may serve"
            )
        if bad := recall_of(registry, earlier):
            raise MlError(
                f"version {earlier} of {project.name} was trained on recalled data (recall {bad.number}: "
                f"{bad.why}): return to another version, or `recall --undo {bad.number}` first"
            )
        if open_again := _not_personal_then(project, registry.folder(earlier)):
            say(f"rollback: version {earlier} keeps {open_again} with its answers, which is personal by now")
        target.bring()
        again = f"`rollback --to {earlier}`"
        with _said_who_lags(registry, channel, earlier, again):
            registry.move(channel, earlier, "rollback", why, before=now)
            _wait_for_all(target, earlier)
    return now.version, earlier


def _tell_again(target: Target, channel: str, version: int | None) -> None:
    """Bring a pointer, which moved before, to services that did not hear of it."""
    say(f"{channel} points there already, and not every service follows: they are told once more")
    target.bring()
    target.moved()
    _wait_for_all(target, version)


def _wait_for_all(target: Target, version: int | None) -> None:
    """Wait until every service has a version; those that do not are named together (``MlError``)."""
    lagging = []
    for running in target.known():
        try:
            wait_for_version(running, version)
        except MlError as error:
            lagging.append(str(error))
    if lagging:
        raise MlError("; ".join(lagging))


@contextmanager
def _said_who_lags(registry: Registry, channel: str, version: int | None, again: str) -> Iterator[None]:
    """Let an error say that the pointer has moved all the same, and what brings the others along."""
    try:
        yield
    except MlError as error:
        if registry.channel(channel).version != version:
            raise
        has = f"version {version}" if version is not None else "no version"
        raise MlError(
            f"{channel} has {has} now, but not everywhere: {error}; with the same target {again} brings the "
            "rest along"
        ) from error


def _not_personal_then(project: Project, version: Path) -> str:
    """Return the columns that are personal by now and were not when a version was made."""
    settings = (version / "model" / "project" / "project.toml").read_text(encoding="utf-8-sig")
    then = tomllib.loads(settings).get("personal", [])
    personal = dict.fromkeys((*project.personal, *project.personal_rules))  # what is hashed stands in both
    return ", ".join(name for name in personal if name not in then)


def _readable(registry: Registry, channel: str, to: int | None) -> Channel:
    """Return the channel; who says where it shall point does not need what an unsigned pointer tells."""
    try:
        return registry.channel(channel)
    except MlError as error:
        if to is None:
            raise
        say(f"rollback: {error}; what it told is left out")
        return Channel(channel, None)


def take_out(
    project: Project,
    channel: str,
    version: int | None = None,
    why: str = "",
    target: str = "local",
    port: int | None = None,
) -> int:
    """Take a version out of service, by default the one that answers, and return its number.

    If it answers, the channel then has none; a retired one is no longer returned to by itself. Either can be
    brought back with ``rollback``. Raises ``MlError`` if there is none, or a service does not follow.
    """
    project.check_channel(channel)
    with open_target(target, project, channel, port, ()) as opened:
        registry = Registry(project.name, opened.moved)
        return _take_out(project, registry, channel, opened, version, why)


def _take_out(
    project: Project, registry: Registry, channel: str, target: Target, version: int | None, why: str
) -> int:
    with registry.lock(channel):
        now = registry.channel(channel)
        left = now.version if version is None else version
        if left is None and now.history and not all(follows(one, None) for one in target.known()):
            _tell_again(target, channel, None)
            return now.history[-1].left or 0
        if left is None:
            raise MlError(f"channel '{channel}' of {project.name} serves no version")
        registry.folder(left)
        if not any(move.version == left for move in now.history):
            raise MlError(f"version {left} never served in channel '{channel}' of {project.name}")
        kept = None if left == now.version else now.version
        again = "`undeploy`" if kept is None else f"`rollback --to {kept}`"
        with _said_who_lags(registry, channel, kept, again):
            registry.move(channel, kept, "undeploy", why, left=left)
            _wait_for_all(target, kept)
    return left


def switch(
    registry: Registry,
    serving: list[Service],
    version: int,
    before: Channel,
    channel: str,
    tried: Challenger | None,
    why: str,
) -> None:
    """Point the channel to the version and prove that every service answers with it, else move back."""
    with registry.lock(channel):
        now = registry.channel(channel)
        if tried and now.candidate != tried:
            raise GateRefused(f"version {version} was taken back while it was tried")
        is_there = now.version == version  # by another deploy of the same, or by this one before
        if not tried and not is_there:
            still_at(now, before)
        try:
            if not is_there:
                registry.move(channel, version, "deploy", why)
            for running in serving:
                _prove(running, registry, version)
        except BaseException as error:
            if not is_there:
                _move_back(registry, serving, before)
            if not isinstance(error, MlError):
                raise
            kept = f"version {before.version}" if before.version is not None else "no version"
            raise MlError(f"deploying version {version} failed: {error}; {channel} has {kept}") from error


def still_at(now: Channel, before: Channel) -> None:
    """Raise ``MlError`` if a channel has another version by now than it had."""
    if now.version != before.version:
        raise MlError(f"{now.name} was moved to version {now.version} meanwhile: deploy again")


def _prove(running: Service, registry: Registry, version: int) -> None:
    """Wait until the service has the version, then compare its answers with the golden predictions."""
    wait_for_version(running, version)
    golden = read_json(registry.folder(version) / "model" / "golden.json")
    answer = running.predict(golden["rows"])
    if answer["version"] != version:
        raise MlError(f"a smoke request was answered by version {answer['version']}")
    predicted = (one["prediction"] for one in golden["predictions"])
    largest = max((abs(one) for one in predicted if isinstance(one, float)), default=1)
    near = GOLDEN_TOLERANCE * (largest or 1)
    for got, expected in zip(answer["predictions"], golden["predictions"], strict=True):
        if any(not _same(got.get(key), value, near) for key, value in expected.items()):
            raise MlError(f"a smoke request was answered wrongly: {got} instead of {expected}")


def _same(got: Any, expected: Any, near: float) -> bool:
    if isinstance(expected, float) and isinstance(got, float | int):
        return math.isclose(got, expected, abs_tol=near, rel_tol=0)
    return bool(got == expected)


def _move_back(registry: Registry, serving: list[Service], before: Channel) -> None:
    try:
        registry.move(before.name, before.version, "revert")
    except MlError as error:  # of a host that does not hear of it: the others have, and go back
        say(f"deploy: {error}")
    say(f"deploy: moved {before.name} back")
    if before.version is None:
        return
    for running in serving:
        try:
            wait_for_version(running, before.version)
        except MlError as error:
            say(f"deploy: {error}")
