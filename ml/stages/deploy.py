"""The deploy stage: register the blessed candidate, try it beside the champion, switch, prove it."""

import hashlib
import json
import os
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from ml.console import say
from ml.delivery.moves import still_at, switch
from ml.delivery.targets import open_target
from ml.delivery.targets.interface import Target
from ml.errors import GateRefused, MlError
from ml.project import ROW_FILE
from ml.records import ALREADY_DEPLOYED, Deployment, ModelManifest, Record, Verdict, parse
from ml.registry import signing
from ml.registry.channel import Channel
from ml.registry.provenance import provenance
from ml.registry.versions import Registry
from ml.serving.client import Service
from ml.stages import Context
from ml.workspace import Outcome


def run(context: Context) -> Outcome[Deployment]:
    """Bring the candidate into a channel; if a service does not answer as it must, move the pointer back.

    Raises ``GateRefused`` for a candidate that is not blessed, that a person took back before (unless forced)
    or that its trial speaks against, and ``MlError`` if the deployment failed.
    """
    project, workspace = context.project, context.workspace
    project.check_channel(context.channel)
    verdict, model = workspace.record(Verdict, signed=True), workspace.record(ModelManifest, signed=True)
    if not verdict.blessed:
        raise GateRefused(
            "the candidate is not blessed: see the verdict of the quality stage; nothing was deployed"
        )
    if verdict.model_sha256 != model.outputs["model.pkl"]:
        raise GateRefused(
            "the verdict is about another model than the one in the build folder: run quality again"
        )
    identity = identity_of(model)

    def work(_: Path) -> dict[str, Any]:
        ends = (context.target, project, context.channel, context.port, context.hosts)
        with open_target(*ends) as target:
            return _bring(context, target, identity, (verdict, model))

    result = workspace.run(Deployment, {"identity": identity}, work, force=True)
    told = result.record
    # What was asked for is noted even if nothing came of it: who asked would wait for it.
    if told.outcome != ALREADY_DEPLOYED or os.environ.get("WHY"):
        from ml.store.history import note_build

        why = "; ".join(told.why)
        note_build(project.name, context.channel, "deploy", told.outcome, told.version, why)
    if told.outcome in ("withdrawn", "inconclusive"):
        what = "withdrawn" if told.outcome == "withdrawn" else "held back"
        raise GateRefused(
            f"version {told.version} was {what}: {'; '.join(told.why)};"
            f" {context.channel} has version {told.previous_version}"
        )
    return result


def identity_of(model: ModelManifest) -> dict[str, str]:
    """Return what makes a version another one: its hashes, and what is read beside the pickle."""
    settings = model.inputs["settings"]
    read = {name: settings.get(name) for name in ("title", "personal", "personal_rules", "format")}
    identity = {
        "model_sha256": model.outputs["model.pkl"],
        "data_sha256": model.data_sha256["train.parquet"],
        "lock_sha256": model.provenance.lock_sha256,
        "test_sha256": model.data_sha256["test.parquet"],
        "contract_sha256": model.outputs["project/contract.py"],
        "settings_sha256": hashlib.sha256(json.dumps(read, sort_keys=True).encode()).hexdigest(),
    }
    if row_functions := model.outputs.get(f"project/{ROW_FILE}"):
        identity["features_row_sha256"] = row_functions
    return identity


def _bring(
    context: Context, target: Target, identity: dict[str, str], judged: tuple[Record, ...]
) -> dict[str, Any]:
    """Register, try and switch; return what the record tells of it."""
    project, canary = context.project, context.canary or context.project.canary
    registry = Registry(project.name, target.moved)
    with ExitStack() as watching:
        # For this one another deploy waits, and no rollback: images may be built, packages installed.
        with registry.lock(f"{context.channel}.services"):
            with registry.lock(context.channel):
                before = registry.channel(context.channel)
                if before.candidate or (before.version is not None and canary.mode != "none"):
                    watching.enter_context(registry.watch(context.channel))
                before = _on_no_trial(registry, before)
                version = _register(registry, context, before, identity, judged)
            serving = target.prepare()
            candidate = None
            if before.version not in (None, version) and canary.mode != "none":
                from ml.delivery import trial  # with the statistics that judge it

                with registry.lock(context.channel):
                    still_at(registry.channel(context.channel), before)
                    candidate = trial.begin(registry, version, before, canary)
        found: dict[str, Any] = {"outcome": "deployed", "why": []}
        if candidate:
            rows = trial.rows_to_replay(context.workspace, project, registry, before)
            found = trial.run(registry, serving, candidate, before, canary, rows)
        elif before.version == version:
            found["outcome"] = ALREADY_DEPLOYED
        if found["outcome"] in ("deployed", ALREADY_DEPLOYED):
            why = "; ".join(filter(None, [provenance().why, *(found["why"] if candidate else [])]))
            switch(registry, serving, version, before, context.channel, candidate, why)
    if found["outcome"] in ("deployed", ALREADY_DEPLOYED):
        _tell_where(serving, context.channel, version)
    return {
        "channel": context.channel,
        "version": version,
        "previous_version": before.version,
        "target": context.target,
        "urls": [one.place for one in serving],
        "sha256": identity["model_sha256"],
        **found,
    }


def _tell_where(serving: list[Service], channel: str, version: int) -> None:
    urls = ", ".join(one.place for one in serving)
    say(f"deploy: {channel} answers with version {version} at {urls}")
    if serving and (scoring := serving[0].health().get("scoring")):
        say(f"deploy: version {version} is scored by {scoring}")


def _register(
    registry: Registry,
    context: Context,
    before: Channel,
    identity: dict[str, str],
    judged: tuple[Record, ...],
) -> int:
    workspace = context.workspace

    def check_copy(copy: Path) -> None:
        """Verify the copy that is about to be signed: the build folder may have changed meanwhile."""
        for one in judged:
            content = signing.verify(copy / one.path, signing.build_keys(one.made_by))
            if parse(type(one), content, str(copy / one.path)) != one:
                folder = workspace.folder(one.made_by)
                raise MlError(f"{folder} was changed while it was registered: deploy again")

    version, same = registry.find(identity), set[int]()
    if version is None:
        same = registry.with_model(identity["model_sha256"])
        folders = {"model": workspace.folder("train"), "quality": workspace.folder("quality")}
        version = registry.register(folders, identity, check_copy)
        say(f"deploy: registered version {version}")
    # A comment in a contract makes another version, and no other model.
    same = {version} if before.version in same else same | {version}
    if (taken_back := next(filter(before.withdrawn, sorted(same)), None)) and not context.force:
        model = "" if taken_back == version else f" has the model of version {taken_back}, which"
        raise GateRefused(
            f"version {version}{model} was taken back from {context.channel} before: "
            "--force (a build: the parameter FORCE) deploys it all the same"
        )
    return version


def _on_no_trial(registry: Registry, before: Channel) -> Channel:
    """Return the channel without a candidate: who watches knows that the deploy of a trial has died."""
    if not before.candidate or before.candidate.over():
        return before
    tried, why = before.candidate.version, "the deploy that tried it came to no end"
    say(f"deploy: held back version {tried}: {why}")
    return registry.move(before.name, before.version, "hold", why, left=tried)


def tell(context: Context, record: Deployment) -> str:
    """Return which version is where, and what of its trial deserves a look."""
    told = f"deploy: {context.project.name} version {record.version} in {record.channel}, {record.outcome}"
    doubts = [why for why in record.why if "inconclusive" in why] + record.warnings
    return "; ".join([f"{told}, answers at {' '.join(record.urls)}", *doubts])
