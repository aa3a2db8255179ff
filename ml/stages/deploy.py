"""The deploy stage: register the blessed candidate, try it beside the champion, switch, prove it."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ml.console import say
from ml.delivery import trial
from ml.delivery.moves import switch
from ml.delivery.targets import open_target
from ml.delivery.targets.interface import Target
from ml.errors import GateRefused, MlError
from ml.project import Project
from ml.registry import signing
from ml.registry.channel import Channel
from ml.registry.provenance import provenance
from ml.registry.versions import Registry
from ml.settings import Canary
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
            switch(registry, serving, version, before, place.channel, candidate, why)
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
