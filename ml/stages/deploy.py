"""The deploy stage: register the blessed candidate, try it beside the champion, switch, prove it."""

import contextlib
import itertools
import math
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from ml import signing
from ml.canary import Judgement, judge, observe, pair_up, read_counts
from ml.console import say
from ml.contracts import records
from ml.errors import GateRefused, MlError
from ml.project import Canary, Project
from ml.provenance import provenance
from ml.registry import Action, Candidate, Channel, Registry
from ml.serving import GOLDEN_TOLERANCE
from ml.serving import service as services
from ml.targets import Target, open_target
from ml.workspace import StageResult, Workspace, read_json

# How long a trial may outlive the deploy that judges it, and how much longer a replay may take than it said.
SLACK_SECONDS = 60.0
LOOK_SECONDS = 0.5
REPLAYED_AT_ONCE = 20


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
    verdict, model = workspace.record("quality"), workspace.record("train")
    for stage in ("quality", "train"):
        signing.verify(workspace.record_file(stage), signing.build_keys(stage))
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

    def work(folder: Path) -> dict[str, Any]:
        with open_target(place.target, project, place.channel, place.port, place.hosts) as target:
            return bring(target)

    def bring(target: Target) -> dict[str, Any]:
        registry = Registry(project.name, target.moved)
        with registry.lock(place.channel):
            before, version = _register(registry, workspace, identity, place)
            serving = target.prepare()
            tried = before.version not in (None, version) and place.canary.mode != "none"
            trial = _begin_trial(registry, version, before, place) if tried else None
        found: dict[str, Any] = {"outcome": "deployed", "why": []}
        if trial:
            rows = _replayed(workspace, project, registry, before)
            found = _try(registry, serving, trial, before, place, rows)
        elif before.version == version:
            found["outcome"] = "already deployed"
        if found["outcome"] in ("deployed", "already deployed"):
            why = "; ".join(found["why"]) if trial else ""
            _switch(registry, serving, version, before, place.channel, trial, why)
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


def _register(
    registry: Registry, workspace: Workspace, identity: dict[str, Any], place: Place
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
            _check_copy,
        )
        say(f"deploy: registered version {version}")
    if before.withdrawn(version) and not place.force:
        raise GateRefused(
            f"version {version} was taken back from {place.channel} before: --force deploys it all the same"
        )
    return before, version


def _check_copy(copy: Path) -> None:
    """Verify what is about to be signed, as it was copied: the build folder may have changed meanwhile."""
    for record, stage in (("model/manifest.json", "train"), ("quality/verdict.json", "quality")):
        signing.verify(copy / record, signing.build_keys(stage))


def _begin_trial(registry: Registry, version: int, before: Channel, place: Place) -> Candidate:
    shadow = place.canary.mode == "shadow"
    until = time.time() + place.canary.seconds + 2 * SLACK_SECONDS
    trial = Candidate(version, 0.0 if shadow else place.canary.share, until)
    how = "as a shadow" if shadow else f"with {trial.share:.0%} of the requests"
    registry.move(before.name, before.version, "shadow" if shadow else "canary", candidate=trial)
    say(f"deploy: version {version} is tried beside version {before.version}, {how}")
    return trial


def _try(
    registry: Registry,
    serving: list[services.Service],
    trial: Candidate,
    before: Channel,
    place: Place,
    rows: list[dict[str, Any]],
) -> dict[str, Any]:
    """Watch champion and candidate until there is enough to judge by; end the trial if it loses."""
    assert before.version is not None
    limits, version = place.canary, trial.version
    replayed = itertools.cycle(rows) if limits.replay and rows else None
    try:
        for running in serving:
            services.wait_for_candidate(running, version)
        start, began = read_counts([running.metrics() for running in serving]), time.monotonic()
        while True:
            if replayed:
                for running in serving:
                    running.replay(itertools.islice(replayed, REPLAYED_AT_ONCE))
            else:
                time.sleep(LOOK_SECONDS)
            if registry.channel(place.channel).candidate != trial:
                raise GateRefused(f"version {version} was taken back while it was tried")
            counts, seconds = read_counts([one.metrics() for one in serving]), time.monotonic() - began
            champion, candidate = (observe(start, counts, one) for one in (before.version, version))
            pairs = pair_up(start, counts, version)
            enough = replayed is not None and min(candidate.requests, pairs.rows) >= limits.min_requests
            over = seconds >= limits.seconds + (SLACK_SECONDS if replayed else 0)
            judgement = judge(champion, candidate, pairs, limits, final=enough or over)
            if judgement.against or enough or over:
                break
        trouble = _trouble(serving, version) if candidate.failed else ""
    except BaseException as error:
        taken_back = registry.channel(place.channel).candidate != trial
        _end_trial(registry, serving, trial, before, f"{type(error).__name__}: {error}")
        if taken_back:
            raise GateRefused(f"version {version} was taken back while it was tried") from error
        if isinstance(error, GateRefused) or not isinstance(error, MlError):
            raise
        raise MlError(
            f"deploying version {version} failed: {error}; {before.name} has version {before.version}"
        ) from error
    well = f"{pairs.rows} rows answered by both in {seconds:.0f} s: nothing against it"
    outcome, why = _outcome(judgement, limits, well, trouble)
    for warning in judgement.warnings:
        say(f"deploy: warning: {warning}")
    if outcome != "deployed":
        action: Action = "hold" if outcome == "inconclusive" else "withdraw"
        _end_trial(registry, serving, trial, before, "; ".join(why), action)
    figures = {"champion": champion.told(), "candidate": candidate.told(), "pairs": pairs.told()}
    return {
        "outcome": outcome,
        "why": why,
        "warnings": judgement.warnings,
        "trial": {"mode": limits.mode, "share": trial.share, "seconds": round(seconds, 3), **figures},
    }


def _outcome(judgement: Judgement, limits: Canary, well: str, trouble: str) -> tuple[str, list[str]]:
    """Return what becomes of a candidate (``deployed``, ``withdrawn``, ``inconclusive``) and why."""
    because = f" ({trouble})" if trouble else ""
    if judgement.against:
        return "withdrawn", [judgement.against[0] + because, *judgement.against[1:]]
    if not judgement.inconclusive:
        return "deployed", [well]
    outcomes = {"hold": "inconclusive", "deploy": "deployed", "withdraw": "withdrawn"}
    return outcomes[limits.inconclusive], [f"its trial is inconclusive: {judgement.inconclusive}{because}"]


def _trouble(serving: list[services.Service], version: int) -> str:
    """Return why a candidate refuses what the champion answers, if a service tells."""
    for running in serving:
        with contextlib.suppress(MlError):
            for worker in running.get("/health")["workers"]:
                if told := worker.get("trouble", {}).get(str(version)):
                    return str(told)
    return ""


def _end_trial(
    registry: Registry,
    serving: list[services.Service],
    trial: Candidate,
    before: Channel,
    why: str,
    action: Action = "withdraw",
) -> None:
    with registry.lock(before.name):
        now = registry.channel(before.name)
        if now.candidate != trial:
            return
        registry.move(before.name, now.version, action, why, left=trial.version)
        say(f"deploy: {'held back' if action == 'hold' else 'withdrew'} version {trial.version}")
        for running in serving:
            with contextlib.suppress(MlError):  # one that is away finds the pointer when it is back
                services.wait_for_candidate(running, None, seconds=5)


def _switch(
    registry: Registry,
    serving: list[services.Service],
    version: int,
    before: Channel,
    channel: str,
    trial: Candidate | None,
    why: str,
) -> None:
    """Point the channel to the version and prove that every service answers with it, else move back."""
    with registry.lock(channel):
        now = registry.channel(channel)
        if trial and now.candidate != trial:
            raise GateRefused(f"version {version} was taken back while it was tried")
        if not trial and now.version != before.version:
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


def _replayed(
    workspace: Workspace, project: Project, registry: Registry, before: Channel
) -> list[dict[str, Any]]:
    """Return the test rows without their targets, else the golden rows, which every model brings along.

    Where champion and candidate know different columns, every other row has those of the champion only: that
    is what clients send, before the switch and after it.
    """
    test = workspace.folder("data") / "test.parquet"
    golden = read_json(workspace.folder("train") / "golden.json")["rows"]
    rows = records(pd.read_parquet(test).drop(columns=project.target)) if test.exists() else golden
    if before.version is None or not rows:
        return rows
    known = read_json(registry.folder(before.version) / "model" / "golden.json")["rows"][0]
    if set(known) == set(rows[0]):
        return rows
    return [{**known, **_only(row, known)} if place % 2 else row for place, row in enumerate(rows)]


def _only(row: dict[str, Any], known: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in row.items() if key in known}


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
