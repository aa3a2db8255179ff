"""The deploy stage: register the blessed candidate, move the channel, prove that the service answers."""

import math
from pathlib import Path
from typing import Any

from ml import signing
from ml.console import say
from ml.errors import GateRefused, MlError
from ml.project import Project
from ml.provenance import provenance
from ml.registry import Channel, Registry
from ml.serving import GOLDEN_TOLERANCE
from ml.serving import service as services
from ml.workspace import StageResult, Workspace, code_digest, read_json


def deploy_model(
    project: Project, workspace: Workspace, channel: str, *, port: int | None = None, force: bool = False
) -> StageResult:
    """Bring the candidate into a channel; if the service does not answer as it must, move the pointer back.

    Raises ``GateRefused`` for a candidate that is not blessed, or that a person rolled back before (unless
    forced), and ``MlError`` if the deployment failed.
    """
    project.check_channel(channel)
    verdict, model = workspace.record("quality"), workspace.record("train")
    signing.verify(workspace.record_file("quality"))
    signing.verify(workspace.record_file("train"))
    if verdict.get("blessed") is not True:
        raise GateRefused(
            "the candidate is not blessed: see the verdict of the quality stage; nothing was deployed"
        )
    if verdict["model_sha256"] != model["outputs"]["model.pkl"]:
        raise GateRefused(
            "the verdict is about another model than the one in the build folder: run quality again"
        )
    registry = Registry(project.name)
    identity = {
        "model_sha256": model["outputs"]["model.pkl"],
        "data_sha256": model["data_sha256"]["train.parquet"],
        "lock_sha256": model["provenance"]["lock_sha256"],
    }

    def work(folder: Path) -> dict[str, Any]:
        with registry.lock(channel):
            version = registry.find(identity)
            if version is None:
                version = registry.register(
                    {"model": workspace.folder("train"), "quality": workspace.folder("quality")},
                    identity,
                    {"provenance": provenance()},
                )
                say(f"deploy: registered version {version}")
            before = registry.channel(channel)
            if before.withdrawn(version) and not force:
                raise GateRefused(
                    f"version {version} was taken back from {channel} before: --force deploys it all the same"
                )
            serving = _serving(project.name, channel, port or project.channels[channel])
            if before.version != version:
                registry.move(channel, version, "deploy")
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
        urls = [running.url for running in serving]
        say(f"deploy: {channel} answers with version {version} at {', '.join(urls)}")
        return {
            "channel": channel,
            "version": version,
            "previous_version": before.version,
            "urls": urls,
            "sha256": identity["model_sha256"],
            "outcome": "already deployed" if before.version == version else "deployed",
        }

    return workspace.run("deploy", {"identity": identity}, work, force=True)


def roll_back(project: Project, channel: str, to: int | None = None) -> tuple[int, int]:
    """Point the channel to version ``to``, else the one before; return the versions left and returned to.

    Raises ``MlError`` if there is no such version to return to, or a service does not follow.
    """
    project.check_channel(channel)
    registry = Registry(project.name)
    with registry.lock(channel):
        now = registry.channel(channel)
        target = now.previous if to is None else to
        if now.version is None or target is None:
            raise MlError(f"channel '{channel}' of {project.name} has no earlier version to return to")
        if target == now.version:
            raise MlError(f"channel '{channel}' of {project.name} already has version {target}")
        registry.read(target)
        registry.move(channel, target, "rollback")
        local = services.find(project.name, channel)
        for running in services.elsewhere(project.name, channel) or ([local] if local else []):
            services.wait_for_version(running, target)
    return now.version, target


def _serving(project: str, channel: str, port: int) -> list[services.Service]:
    """Return the services of a channel: those that run elsewhere, or else the one on this machine.

    The latter is started anew if there is none or its code is not that of this build.
    """
    if elsewhere := services.elsewhere(project, channel):
        for one in elsewhere:
            if one.get("/health").get("code") != code_digest():
                say(f"deploy: {one.url} runs other code than this build: renew it when it suits")
        return elsewhere
    running = services.find(project, channel)
    if running and running.get("/health").get("code") != code_digest():
        say("deploy: the service runs other code than this build: restarting it")
        port = int(running.url.rsplit(":", 1)[1])
        services.stop(project, channel)
        running = None
    return [running or services.start(project, channel, port)]


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
