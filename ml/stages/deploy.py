"""The deploy stage: register the blessed candidate, try it beside the champion, switch, prove it."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ml import trial
from ml.console import say
from ml.errors import GateRefused, MlError
from ml.files import read_json
from ml.project import Project
from ml.registry import signing
from ml.registry.channel import Candidate, Channel
from ml.registry.provenance import provenance
from ml.registry.versions import Registry
from ml.serving import GOLDEN_TOLERANCE
from ml.serving import service as services
from ml.settings import Canary
from ml.targets import Target, open_target
from ml.workspace import StageResult, Workspace


@dataclass(frozen=True)
class Place:
    """Where to deploy: the channel, the services to wait for, and how a candidate is tried there."""

    channel: str
    canary: Canary
    target: str = "local"
    hosts: tuple[str, ...] = ()
    port: int | None = None
    force: bool = False


def deploy_model(project: Project, workspace: Workspace, place: Place) -> StageResult:
    """Bring the candidate into a channel; if a service does not answer as it must, move the pointer back.

    Raises ``GateRefused`` for a candidate that is not blessed, that a person took back before (unless forced)
    or that its trial speaks against, and ``MlError`` if the deployment failed.
    """
    project.check_channel(place.channel)
    verdict, model = (_verified(workspace, stage) for stage in ("quality", "train"))
    if verdict.get("blessed") is not True:
        raise GateRefused(
            "the candidate is not blessed: see the verdict of the quality stage; nothing was deployed"
        )
    if verdict["model_sha256"] != model["outputs"]["model.pkl"]:
        raise GateRefused(
            "the verdict is about another model than the one in the build folder: run quality again"
        )
    identity = {
        "model_sha256": model["outputs"]["model.pkl"],
        "data_sha256": model["data_sha256"]["train.parquet"],
        "lock_sha256": model["provenance"]["lock_sha256"],
    }

    def check_copy(copy: Path) -> None:
        """Verify the copy that is about to be signed: the build folder may have changed meanwhile."""
        for stage, judged in (("quality", verdict), ("train", model)):
            record = copy / workspace.record_file(stage).relative_to(workspace.root)
            if signing.verify(record, signing.build_keys(stage)) != judged:
                raise MlError(f"{workspace.folder(stage)} was changed while it was registered: deploy again")

    def work(folder: Path) -> dict[str, Any]:
        with open_target(place.target, project, place.channel, place.port, place.hosts) as target:
            return bring(target)

    def bring(target: Target) -> dict[str, Any]:
        registry = Registry(project.name, target.moved)
        with registry.lock(place.channel):
            before, version = _register(registry, workspace, identity, place, check_copy)
            serving = target.prepare()
            tried = before.version not in (None, version) and place.canary.mode != "none"
            candidate = trial.begin(registry, version, before, place.canary) if tried else None
        found: dict[str, Any] = {"outcome": "deployed", "why": []}
        if candidate:
            rows = trial.rows_to_replay(workspace, project, registry, before)
            found = trial.run(registry, serving, candidate, before, place.canary, rows)
        elif before.version == version:
            found["outcome"] = "already deployed"
        if found["outcome"] in ("deployed", "already deployed"):
            why = "; ".join(found["why"]) if candidate else ""
            _switch(registry, serving, version, before, place.channel, candidate, why)
            urls = ", ".join(one.url for one in serving)
            say(f"deploy: {place.channel} answers with version {version} at {urls}")
        return {
            "channel": place.channel,
            "version": version,
            "previous_version": before.version,
            "target": place.target,
            "urls": [one.url for one in serving],
            "sha256": identity["model_sha256"],
            **found,
        }

    result = workspace.run("deploy", {"identity": identity}, work, force=True)
    record = result.record
    if record["outcome"] in ("withdrawn", "inconclusive"):
        what = "withdrawn" if record["outcome"] == "withdrawn" else "held back"
        raise GateRefused(
            f"version {record['version']} was {what}: {'; '.join(record['why'])};"
            f" {place.channel} has version {record['previous_version']}"
        )
    return result


def roll_back(
    project: Project, channel: str, to: int | None = None, why: str = "", target: str = "local"
) -> tuple[int | None, int]:
    """Point the channel to version ``to``, else the one before; return the versions left and returned to.

    While a candidate is on trial, the one before is the champion: the trial ends. Raises ``MlError`` if there
    is no such version to return to, it was never blessed, or a service does not follow.
    """
    project.check_channel(channel)
    with open_target(target, project, channel, None, ()) as place:
        return _roll_back(project, Registry(project.name, place.moved), channel, place, to, why)


def _roll_back(
    project: Project, registry: Registry, channel: str, place: Target, to: int | None, why: str
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
            raise MlError(f"channel '{channel}' of {project.name} already has version {earlier}")
        registry.read(earlier)
        if read_json(registry.folder(earlier) / "quality" / "verdict.json").get("blessed") is not True:
            raise MlError(
                f"version {earlier} of {project.name} was never blessed: only what passed may serve"
            )
        registry.move(channel, earlier, "rollback", why, before=now)
        for running in place.known():
            services.wait_for_version(running, earlier)
    return now.version, earlier


def _readable(registry: Registry, channel: str, to: int | None) -> Channel:
    """Return the channel; who says where it shall point does not need what an unsigned pointer tells."""
    try:
        return registry.channel(channel)
    except MlError as error:
        if to is None:
            raise
        say(f"rollback: {error}; what it told is left out")
        return Channel(channel, None, [])


def take_out(
    project: Project, channel: str, version: int | None = None, why: str = "", target: str = "local"
) -> int:
    """Take a version out of service, by default the one that answers, and return its number.

    If it answers, the channel then has none; a retired one is no longer returned to by itself. Either can be
    brought back with ``rollback``. Raises ``MlError`` if there is none, or a service does not follow.
    """
    project.check_channel(channel)
    with open_target(target, project, channel, None, ()) as place:
        registry = Registry(project.name, place.moved)
        return _take_out(project, registry, channel, place, version, why)


def _take_out(
    project: Project, registry: Registry, channel: str, place: Target, version: int | None, why: str
) -> int:
    with registry.lock(channel):
        now = registry.channel(channel)
        left = now.version if version is None else version
        if left is None:
            raise MlError(f"channel '{channel}' of {project.name} serves no version")
        registry.folder(left)
        if not any(move["version"] == left for move in now.history):
            raise MlError(f"version {left} never served in channel '{channel}' of {project.name}")
        kept = None if left == now.version else now.version
        registry.move(channel, kept, "undeploy", why, left=left)
        for running in place.known():
            services.wait_for_version(running, kept)
    return left


def _verified(workspace: Workspace, stage: str) -> dict[str, Any]:
    workspace.record(stage)  # which tells what is missing in more words
    return signing.verify(workspace.record_file(stage), signing.build_keys(stage))


def _register(
    registry: Registry,
    workspace: Workspace,
    identity: dict[str, Any],
    place: Place,
    check_copy: Callable[[Path], None],
) -> tuple[Channel, int]:
    before = registry.channel(place.channel)
    if before.candidate and not before.candidate.over():
        raise MlError(
            f"version {before.candidate.version} is on trial in {place.channel}: wait until that deploy has "
            "ended, or end the trial with `rollback`"
        )
    version = registry.find(identity)
    if version is None:
        version = registry.register(
            {"model": workspace.folder("train"), "quality": workspace.folder("quality")},
            identity,
            {"provenance": provenance()},
            check_copy,
        )
        say(f"deploy: registered version {version}")
    if before.withdrawn(version) and not place.force:
        raise GateRefused(
            f"version {version} was taken back from {place.channel} before: --force deploys it all the same"
        )
    return before, version


def _switch(
    registry: Registry,
    serving: list[services.Service],
    version: int,
    before: Channel,
    channel: str,
    tried: Candidate | None,
    why: str,
) -> None:
    """Point the channel to the version and prove that every service answers with it, else move back."""
    with registry.lock(channel):
        now = registry.channel(channel)
        if tried and now.candidate != tried:
            raise GateRefused(f"version {version} was taken back while it was tried")
        if not tried and now.version != before.version:
            raise MlError(f"{channel} was moved to version {now.version} meanwhile: deploy again")
        if before.version != version:
            registry.move(channel, version, "deploy", why)
        try:
            for running in serving:
                _prove(running, registry, version)
        except BaseException as error:
            if before.version != version:
                _move_back(registry, serving, before)
            if not isinstance(error, MlError):
                raise
            kept = f"version {before.version}" if before.version is not None else "no version"
            raise MlError(f"deploying version {version} failed: {error}; {channel} has {kept}") from error


def _prove(running: services.Service, registry: Registry, version: int) -> None:
    """Wait until the service has the version, then compare its answers with the golden predictions."""
    services.wait_for_version(running, version)
    golden = read_json(registry.folder(version) / "model" / "golden.json")
    answer = running.predict(golden["rows"])
    if answer["version"] != version:
        raise MlError(f"a smoke request was answered by version {answer['version']}")
    for got, expected in zip(answer["predictions"], golden["predictions"], strict=True):
        if any(not _same(got.get(key), value) for key, value in expected.items()):
            raise MlError(f"a smoke request was answered wrongly: {got} instead of {expected}")


def _same(got: Any, expected: Any) -> bool:
    if isinstance(expected, float) and isinstance(got, float | int):
        return math.isclose(got, expected, abs_tol=GOLDEN_TOLERANCE, rel_tol=0)
    return bool(got == expected)


def _move_back(registry: Registry, serving: list[services.Service], before: Channel) -> None:
    registry.move(before.name, before.version, "revert")
    say(f"deploy: moved {before.name} back")
    if before.version is None:
        return
    for running in serving:
        try:
            services.wait_for_version(running, before.version)
        except MlError as error:
            say(f"deploy: {error}")
