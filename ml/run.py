"""All stages in the order of the Jenkinsfile, and the summary at the end."""

import json
import shlex
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.table import Column, Table

from ml.console import results, say
from ml.errors import MlError
from ml.project import Project
from ml.quality.loosened import loosened_line
from ml.workspace import StageResult, Workspace

if TYPE_CHECKING:
    from ml.stages.deploy import Place

STAGES = ("lint", "data", "train", "quality", "deploy")


def run_stage(
    stage: str,
    project: Project,
    build: Path,
    channel: str,
    *,
    force: bool = False,
    csv: bool = False,
    checks: tuple[str, ...] = (),
    place: "Place | None" = None,
) -> list[StageResult]:
    """Run one stage; the stages' modules are imported only here, and only the one that is needed."""
    workspace = Workspace(build, project.name)
    if stage == "lint":
        from ml.stages.lint import check_code

        return check_code(project, workspace, checks, force=force)
    if stage == "data":
        from ml.stages.data import build_data

        return [build_data(project, workspace, channel, csv=csv, force=force)]
    if stage == "train":
        from ml.stages.train import train_model

        return [train_model(project, workspace, force=force)]
    if stage == "quality":
        from ml.stages.quality import judge_model

        return [judge_model(project, workspace, channel, force=force)]
    from ml.stages.deploy import Place, deploy_model

    return [deploy_model(project, workspace, place or Place(channel, project.canary, force=force))]


def outcome_line(stage: str, project: Project, result: StageResult) -> str:
    """Return what came of a stage in one line; empty if there is no more to tell than that it ran."""
    record = result.record
    if stage == "train":
        metric = project.training.metric
        score = record["cross_validation"][metric]["mean"]
        return f"train: {record['estimator']}, {metric} {score:.4f} in cross-validation"
    if stage == "quality":
        floors = [gate for gate in record["gates"] if gate["gate"].startswith("floor: ")]
        figures = ", ".join(f"{gate['gate'].removeprefix('floor: ')} {gate['value']:.4f}" for gate in floors)
        passed = sum(gate["outcome"] == "passed" for gate in record["gates"])
        told = loosened_line(record.get("loosened", []))
        return f"quality: blessed, {passed} gates passed, {figures}" + (told and f"; {told}")
    if stage == "deploy":
        where = f"version {record['version']} in {record['channel']}"
        told = f"deploy: {project.name} {where}, {record['outcome']}"
        doubts = [why for why in record["why"] if "inconclusive" in why] + record.get("warnings", [])
        return "; ".join([told, *doubts])
    return ""


def run_all(
    project: Project,
    build: Path,
    channel: str,
    *,
    force: bool = False,
    csv: bool = False,
    place: "Place | None" = None,
) -> None:
    """Run every stage; the first that fails ends the run, and the summary shows how far it came."""
    rows: list[tuple[str, float, str]] = []
    last: dict[str, dict[str, Any]] = {}
    for stage in STAGES:
        say(f"=== {stage}")
        start = time.monotonic()
        try:
            done = run_stage(stage, project, build, channel, force=force, csv=csv, place=place)
        except MlError as error:
            _print_stages(
                [*rows, (stage, time.monotonic() - start, "refused" if error.exit_code == 3 else "failed")]
            )
            raise
        outcome = "unchanged" if all(one.outcome == "unchanged" for one in done) else "done"
        last[stage] = done[-1].record
        if stage == "deploy":
            outcome = last[stage]["outcome"]
        rows.append((stage, time.monotonic() - start, outcome))
    _print_stages(rows)
    _print_model(project, Workspace(build, project.name), last)


def _print_stages(rows: list[tuple[str, float, str]]) -> None:
    table = Table("stage", "seconds", "outcome")
    for stage, seconds, outcome in rows:
        table.add_row(stage, f"{seconds:.1f}", outcome)
    results.print(table)


def _print_model(project: Project, workspace: Workspace, last: dict[str, dict[str, Any]]) -> None:
    import pandas as pd

    from ml.data.rows import records

    model, deployment = last["train"], last["deploy"]
    metric = project.training.metric
    parameters = ", ".join(f"{key}={value}" for key, value in model["parameters"].items())
    table = Table(Column(), Column(overflow="fold"), show_header=False)
    table.add_row("model", f"{model['estimator']}({parameters})")
    table.add_row("cross-validation", f"{metric} {model['cross_validation'][metric]['mean']:.4f}")
    for gate in last["quality"]["gates"]:
        if gate["gate"].startswith("floor: "):
            low, high = gate["interval"]
            table.add_row(
                f"test {gate['gate'].removeprefix('floor: ')}",
                f"{gate['value']:.4f} (95 % interval {low:.4f} to {high:.4f})",
            )
    table.add_row("version", f"{deployment['version']} in channel {deployment['channel']}")
    table.add_row("sha256", deployment["sha256"])
    results.print(table)
    folder = workspace.folder("data")
    sample = folder / ("unlabelled.parquet" if (folder / "unlabelled.parquet").exists() else "test.parquet")
    row = records(pd.read_parquet(sample).head(1).drop(columns=project.target, errors="ignore"))[0]
    body = shlex.quote(json.dumps(row, ensure_ascii=False))
    url = deployment["urls"][0]
    results.print(f"service  {url}  (documentation: {url}/docs)", markup=False)
    results.print(f"report   {workspace.folder('quality') / 'report.html'}", markup=False)
    results.print(
        f"try      curl -s -H 'Content-Type: application/json' -d {body} {url}/predict",
        markup=False,
    )
