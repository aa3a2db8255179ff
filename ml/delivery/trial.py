"""The trial of a candidate beside the champion: it is loaded, watched, judged, and ended if it loses."""

import contextlib
import itertools
import time
from typing import Any

from ml.console import say
from ml.data.rows import records
from ml.delivery.judgement import Judgement, judge, observe, pair_up, read_counts
from ml.delivery.waiting import wait_for_candidate
from ml.errors import GateRefused, MlError
from ml.files import read_json
from ml.project import Project
from ml.registry.channel import Action, Challenger, Channel
from ml.registry.versions import Registry
from ml.serving.client import Service, wait_until
from ml.settings import Canary
from ml.workspace import Workspace

# How long a trial may outlive the deploy that judges it, and how much longer a replay may take than it said.
SLACK_SECONDS = 60.0
LOOK_SECONDS = 0.5
REPLAYED_AT_ONCE = 20
TOLD_SECONDS = 1.0


def begin(registry: Registry, version: int, before: Channel, limits: Canary) -> Challenger:
    """Let the services load a version beside the champion, as a shadow or for a share of the requests."""
    shadow = limits.mode == "shadow"
    until = time.time() + limits.seconds + 2 * SLACK_SECONDS
    trial = Challenger(version, 0.0 if shadow else limits.share, until)
    how = "as a shadow" if shadow else f"with {trial.share:.0%} of the requests"
    registry.move(before.name, before.version, "shadow" if shadow else "canary", candidate=trial)
    say(f"deploy: version {version} is tried beside version {before.version}, {how}")
    return trial


def run(
    registry: Registry,
    serving: list[Service],
    trial: Challenger,
    before: Channel,
    limits: Canary,
    rows: list[dict[str, Any]],
) -> dict[str, Any]:
    """Watch champion and candidate until there is enough to judge by; end the trial if it loses."""
    assert before.version is not None
    version = trial.version
    replayed = itertools.cycle(rows) if limits.replay and rows else None
    try:
        for running in serving:
            wait_for_candidate(running, version)
        start, began = read_counts([running.metrics() for running in serving]), time.monotonic()
        while True:
            if replayed:
                for running in serving:
                    running.replay(itertools.islice(replayed, REPLAYED_AT_ONCE))
            else:
                time.sleep(LOOK_SECONDS)
            if registry.channel(before.name).candidate != trial:
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
        taken_back = registry.channel(before.name).candidate != trial
        stopped = isinstance(error, KeyboardInterrupt)
        reason = "the deploy was stopped" if stopped else f"{type(error).__name__}: {error}"
        _end_trial(registry, serving, trial, before, reason)
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


def _trouble(serving: list[Service], version: int) -> str:
    """Return why a candidate refuses what the champion answers, if a service tells.

    Its workers tell at their next look at the pointer.
    """
    return wait_until(lambda: _told_trouble(serving, version), TOLD_SECONDS) or ""


def _told_trouble(serving: list[Service], version: int) -> str | None:
    for running in serving:
        with contextlib.suppress(MlError):
            for worker in running.health()["workers"]:
                if told := worker.get("trouble", {}).get(str(version)):
                    return str(told)
    return None


def _end_trial(
    registry: Registry,
    serving: list[Service],
    trial: Challenger,
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
                wait_for_candidate(running, None, seconds=5)


def rows_to_replay(
    workspace: Workspace, project: Project, registry: Registry, before: Channel
) -> list[dict[str, Any]]:
    """Return the test rows without their targets, else the golden rows, which every model brings along.

    Where champion and candidate know different columns, every other row has those of the champion only: that
    is what clients send, before the switch and after it.
    """
    test = workspace.folder("data") / "test.parquet"
    golden = read_json(workspace.folder("train") / "golden.json")["rows"]
    rows: list[dict[str, Any]] = golden
    if test.exists():
        from ml.training.folds import read_part  # scikit-learn, which a deploy without a replay need not load

        rows = records(read_part(project, test.parent, "test").drop(columns=project.target))
    if before.version is None or not rows:
        return rows
    known = read_json(registry.folder(before.version) / "model" / "golden.json")["rows"][0]
    if set(known) == set(rows[0]):
        return rows
    return [{**known, **_only(row, known)} if place % 2 else row for place, row in enumerate(rows)]


def _only(row: dict[str, Any], known: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in row.items() if key in known}
