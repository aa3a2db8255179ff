"""What is in the registry, for people."""

import json
from datetime import UTC, datetime

from rich.table import Column, Table

from ml import locations
from ml.errors import MlError
from ml.project import Project
from ml.records import ModelManifest, Verdict
from ml.registry.provenance import build_text, commit_text
from ml.registry.versions import Registry
from ml.results import results


def show_registry(project: str) -> None:
    """Print every version and where each channel points."""
    registry = Registry(project)
    if not registry.versions():
        results.print(f"{project} has no version yet: a blessed model becomes one when it is deployed")
        return
    table = Table(
        "version",
        "registered",
        Column("model", overflow="fold"),
        "sha256",
        "commit",
        "build",
        "channels",
        title=project,
    )
    pointers = {channel.name: channel.version for channel in registry.channels()}
    for version in registry.versions():
        content = registry.read(version)
        model = registry.record(ModelManifest, version)
        table.add_row(
            str(version),
            content.registered,
            model.estimator,
            content.identity["model_sha256"][:12],
            (content.provenance.git_commit or "none")[:12],
            content.provenance.build_number or "by hand",
            ", ".join(name for name, pointed in pointers.items() if pointed == version),
        )
    results.print(table)


def show_source(project: Project) -> None:
    """Ask every table of a project's source and print what came; one that is unusable raises ``MlError``."""
    from ml.data.sources.probe import probe

    found = probe(project)
    table = Table(Column("table", overflow="fold"), "state", "size", "age", "seconds", title=project.name)
    for one in found:
        table.add_row(one.told, "unusable" if one.problem else "ok", one.size, one.age, f"{one.seconds:.2f}")
    results.print(table)
    if problems := [one.problem for one in found if one.problem]:
        raise MlError("; ".join(problems))


def show_request(project: str, channel: str, request: str) -> None:
    """Print what was asked and answered in one request, what came true, and the lineage of the model."""
    from ml.store.lookup import look_up

    url = locations.store(project, channel)
    if url is None:
        raise MlError("no prediction log is kept here: ML_STORE is off")
    rows, labels = look_up(url, request)
    first = rows[0]
    table = Table(Column(), Column(overflow="fold"), show_header=False, title=f"request {request}")
    table.add_row("time", _moment(first.at))
    table.add_row("channel", f"{first.project}, {first.channel}" + (", a replay" if first.replay else ""))
    table.add_row("version", str(first.version))
    table.add_row("milliseconds", f"{first.milliseconds:.1f}")
    for row in rows:
        table.add_row(f"row {row.row} asked", row.inputs)
        table.add_row(f"row {row.row} answered", row.output)
    for label in labels:
        since = label.at if label.since is None else label.since
        content = "withdrawn" if label.label is None else label.label
        table.add_row(f"row {label.row} came true", f"{content}, at {_moment(since)}")
    results.print(table)
    show_version(first.project, first.version)


def show_version(project: str, version: int) -> None:
    """Print the lineage of a version: data, code, parameters, environment, build, verdict, channels."""
    registry = Registry(project)
    content = registry.read(version)
    folder = registry.folder(version)
    model, verdict = registry.record(ModelManifest, version), registry.record(Verdict, version)
    data, trained = registry.data_manifest(version), model.provenance
    lines = {
        "version": version,
        "registered": content.registered,
        "folder": folder,
        "model sha256": content.identity["model_sha256"],
        "data version": data.version,
        "data source": data.source,
        "rows": json.dumps(data.rows_out),
        "source table sha256": data.inputs["tables"]["labelled"],
        "train data sha256": content.identity["data_sha256"],
        "git commit": commit_text(trained),
        "estimator": model.estimator,
        "parameters": json.dumps(model.parameters),
        "seeds": json.dumps(model.seeds),
        "environment": f"Python {trained.python}, {trained.platform}",
        "requirements.txt sha256": trained.lock_sha256,
        "build": build_text(trained),
        "trained because": trained.why or "nobody said",
        "verdict": "blessed" if verdict.blessed else "not blessed",
    }
    table = Table(Column(), Column(overflow="fold"), show_header=False, title=f"{project} version {version}")
    for key, value in lines.items():
        table.add_row(key, str(value))
    for gate in verdict.gates:
        table.add_row(f"gate {gate.gate}", f"{gate.outcome}: {gate.message}")
    for channel in registry.channels():
        for move in channel.history:
            if move.about(version):
                table.add_row(f"channel {channel.name}", str(move))
    results.print(table)


def _moment(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds")
