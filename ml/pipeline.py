"""All stages in order, and the summary at the end."""

import json
import os
import shlex
import time
from typing import Any

from rich.table import Column, Table

from ml.console import rounded, say
from ml.errors import MlError
from ml.files import read_json
from ml.results import results
from ml.stages import PIPELINE, Context, run_stage, tell


def run_all(context: Context) -> None:
    """Run every stage; the first that fails ends the run, and the summary shows how far it came."""
    rows: list[tuple[str, float, str]] = []
    records: dict[str, Any] = {}
    for stage in PIPELINE:
        say(f"=== {stage}")
        start = time.monotonic()
        try:
            done = run_stage(stage, context)
        except MlError as error:
            failed = "refused" if error.exit_code == 3 else "failed"
            _print_stages([*rows, (stage, time.monotonic() - start, failed)])
            raise
        records[stage] = done.record
        rows.append((stage, time.monotonic() - start, getattr(done.record, "outcome", done.status)))
    _print_stages(rows)
    _print_model(context, records)


def train_again(context: Context, look: Any) -> None:
    """Run every stage because a look asks for it; its cause is kept as the reason of what comes of it."""
    os.environ["WHY"] = f"{look.cause}: {'; '.join(look.why)}"
    run_all(context)


def look_at(context: Context) -> tuple[str, str, str] | None:
    """Look at a project, if it is in service: return what follows in a word, why, and what the page tells."""
    from ml.registry.versions import Registry

    project, channel = context.project, context.channel
    if channel not in project.channels or Registry(project.name).channel(channel).version is None:
        return None
    look = run_stage("monitor", context).record
    state = look.asks or {"nothing": "nothing", "broken feed": "broken"}.get(look.cause, "told")
    line = f"{look.cause}: {'; '.join(look.why)}" if look.why else look.cause
    return state, line, tell("monitor", context, look)


def _print_stages(rows: list[tuple[str, float, str]]) -> None:
    table = Table("stage", "seconds", "outcome")
    for stage, seconds, outcome in rows:
        table.add_row(stage, f"{seconds:.1f}", outcome)
    results.print(table)


def _print_model(context: Context, records: dict[str, Any]) -> None:
    model, verdict, deployment = (records[stage] for stage in ("train", "quality", "deploy"))
    metric = context.project.training.metric
    parameters = ", ".join(f"{key}={value}" for key, value in model.parameters.items())
    table = Table(Column(), Column(overflow="fold"), show_header=False)
    table.add_row("model", f"{model.estimator}({parameters})")
    table.add_row(context.project.compared_in, f"{metric} {rounded(model.cross_validation[metric].mean)}")
    for gate in verdict.gates:
        if gate.kind == "floor":
            low, high = gate.interval
            interval = f"(95 % interval {rounded(low)} to {rounded(high)})"
            table.add_row(f"test {gate.about}", f"{rounded(gate.value)} {interval}")
    table.add_row("version", f"{deployment.version} in channel {deployment.channel}")
    table.add_row("sha256", deployment.sha256)
    results.print(table)
    row = read_json(context.workspace.folder("train") / "golden.json")["rows"][0]
    body = shlex.quote(json.dumps(row, ensure_ascii=False))
    place = deployment.urls[0]
    url, _, host = place.partition(" on ")  # loopback over there
    results.print(f"service  {place}  (open it to try the model; documentation: {url}/docs)", markup=False)
    results.print(f"report   {context.workspace.folder('quality') / 'report.html'}", markup=False)
    there = f"on {host}: " if host else ""
    results.print(
        f"try      {there}curl -s -H 'Content-Type: application/json' -d {body} {url}/predict", markup=False
    )
