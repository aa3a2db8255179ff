"""The data stage: fetch the tables, check the contract, split, and keep what was found in a manifest."""

from pathlib import Path
from typing import Any

from ml.data import sources
from ml.data.reference import Reference, champion_data
from ml.errors import MlError
from ml.files import digest, now, read_json, write_json
from ml.records import DataManifest
from ml.registry.data_versions import keep
from ml.registry.provenance import newest_commit
from ml.registry.recalls import active
from ml.registry.versions import Registry
from ml.stages import Context
from ml.workspace import Outcome, Workspace, code_digest

DELIVERY = ".delivery.json"  # what the source told, and the tables that were made of it


def run(context: Context) -> Outcome[DataManifest]:
    """Write ``train``, ``test`` and, if there are rows without a target, ``unlabelled`` as Parquet (and CSV).

    The data of the channel's champion is what drift and changes are measured against. Where the source can
    tell that it delivers what it did, nothing is read. Raises ``MlError`` if the source fails or a table
    breaks the contract, ``GateRefused`` if only gates of ``project.toml`` do.
    """
    project, workspace = context.project, context.workspace
    project.check_channel(context.channel)
    reference, state = champion_data(project, context.channel), _state(context)
    known = {} if context.force else _known_tables(workspace, state)
    same = workspace.unchanged(DataManifest, _inputs(context, reference, known)) if known else None
    outcome = same or _make(context, reference, state)
    keep(project, workspace.folder("data"), outcome.record)
    return outcome


def _make(
    context: Context, reference: Reference | None, state: dict[str, Any] | None
) -> Outcome[DataManifest]:
    """Read the source and build, unless that is what was built before."""
    from ml.data.build import build, fetch, parts_of  # an unchanged source needs no tables

    project, workspace = context.project, context.workspace
    with workspace.scratch() as scratch:
        tables = fetch(project, reference, scratch)
        digests = {name: digest(one.file) for name, one in parts_of(tables).items()}

        def work(folder: Path) -> dict[str, Any]:
            return build(project, tables, reference, folder, csv=context.csv)

        inputs = _inputs(context, reference, digests)
        outcome = workspace.run(DataManifest, inputs, work, force=context.force)
    if state is not None and state == _state(context):
        write_json(workspace.root / DELIVERY, {"state": state, "tables": digests})
    return outcome


def _state(context: Context) -> dict[str, Any] | None:
    """Return what stays equal as long as the same rows come from the source; none if it cannot tell."""
    told = sources.state(context.project)
    if told is None:
        return None
    return told | {"recalls": [one.number for one in active(Registry(context.project.name))]}


def _known_tables(workspace: Workspace, state: dict[str, Any] | None) -> dict[str, str]:
    """Return the sha256 of the tables that are made of what the source tells; none if that is not known."""
    try:
        noted = read_json(workspace.root / DELIVERY)
        tables = {name: str(sha256) for name, sha256 in noted["tables"].items()}
    except (OSError, MlError, KeyError, AttributeError):  # nothing noted, or nothing to rely on
        return {}
    return tables if state is not None and noted.get("state") == state and "labelled" in tables else {}


def _inputs(context: Context, reference: Reference | None, tables: dict[str, str]) -> dict[str, Any]:
    project = context.project
    return {
        "tables": tables,
        "contract": digest(project.folder / "contract.py"),
        "settings": project.model_dump(
            mode="json",
            include={"task", "target", "id", "seed", "split", "data_gates", "personal", "personal_rules"},
        ),
        "keys": {join.file: digest(project.folder / join.file) for join in project.data_gates.keys},
        "champion": _compared_with(context.workspace, reference, tables["labelled"]),
        "today": now()[:10] if project.data_gates.timeliness else None,
        "csv": context.csv,
        "code": code_digest(Path(__file__)),
    }


def _compared_with(workspace: Workspace, reference: Reference | None, labelled: str) -> Any:
    """Return what stands for the champion's data: data deployed since is not compared with itself."""
    if reference is None:
        return None
    kept = workspace.kept(DataManifest)
    if kept and reference.manifest.inputs["tables"]["labelled"] == labelled:
        return kept.inputs["champion"]
    return reference.manifest.outputs


def tell(context: Context, record: DataManifest) -> str:
    """Return what is built: the commit, what was asked for, and how many rows more than the champion had."""
    asked = ["forced"] if context.force else []
    asked += [f"for {context.channel}"] if context.channel != "production" else []
    rows = sum(record.rows_out[part] for part in ("train", "test"))
    told = f"{record.rows_out['train']} train and {record.rows_out['test']} test rows"
    if (version := record.compared_with_version) is not None:
        before = Registry(context.project.name).data_manifest(version).rows_out
        told += f" ({rows - before['train'] - before['test']:+d} since version {version})"
    return ", ".join([f"data: {newest_commit()}", *asked, told])
