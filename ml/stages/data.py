"""The data stage: fetch the tables, check the contract, split, and keep what was found in a manifest."""

import hashlib
import warnings
from pathlib import Path
from typing import Any, NoReturn

import pandas as pd

from ml.console import say
from ml.data import sources
from ml.data.contract import Violation, examine, load_contract
from ml.data.drift import statistics
from ml.data.findings import Finding
from ml.data.gates import Reference, champion_data, fingerprints, judge_data, left_open
from ml.data.settings_check import check_settings
from ml.data.sources.interface import Tables
from ml.data.split import check_rows, split
from ml.errors import GateRefused, MlError
from ml.files import digest, now
from ml.project import Project
from ml.records import DataManifest
from ml.registry.data_versions import keep
from ml.registry.provenance import newest_commit
from ml.registry.recalls import active, tainted
from ml.registry.versions import Registry
from ml.stages import Context
from ml.workspace import ROWS_FILE, Outcome, Workspace, code_digest

MAX_TOLD = 3


def run(context: Context) -> Outcome[DataManifest]:
    """Write ``train``, ``test`` and, if there are rows without a target, ``unlabelled`` as Parquet (and CSV).

    The data of the channel's champion is what drift and changes are measured against. Raises ``MlError`` if
    the source fails or a table breaks the contract, ``GateRefused`` if only gates of ``project.toml`` do.
    """
    project, workspace, csv = context.project, context.workspace, context.csv
    project.check_channel(context.channel)
    contract = load_contract(project)
    for role, column in (("target", project.target), ("id", project.id)):
        if column not in contract.columns:
            raise MlError(
                f"{project.folder / 'contract.py'}: has no column '{column}', the {role} of project.toml"
            )
    check_settings(project, contract.columns)
    tables = sources.fetch(project)
    parts, broken = {}, {}
    parts["labelled"], broken["labelled"] = examine(tables.labelled, contract, project.personal)
    if tables.unlabelled is not None:
        without_target = contract.remove_columns([project.target])
        parts["unlabelled"], broken["unlabelled"] = examine(
            tables.unlabelled, without_target, project.personal
        )
    parts["labelled"] = labelled = _without_recalled(project, parts["labelled"])
    reference = champion_data(project, context.channel)
    if any(broken.values()):
        findings = _findings_beside(broken["labelled"], project, labelled, reference)
        _refuse(project, _named(tables, broken), findings)
    check_rows(labelled, project)
    inputs = {
        "tables": {name: _table_digest(table) for name, table in parts.items()},
        "contract": digest(project.folder / "contract.py"),
        "settings": project.model_dump(
            mode="json", include={"task", "target", "id", "seed", "split", "data_gates", "personal"}
        ),
        "keys": {join.file: digest(project.folder / join.file) for join in project.data_gates.keys},
        "champion": _compared_with(workspace, reference, labelled),
        "today": now()[:10] if project.data_gates.timeliness else None,
        "csv": csv,
        "code": code_digest(Path(__file__)),
    }

    def work(folder: Path) -> dict[str, Any]:
        return _build(context, parts, reference, folder) | {"source": tables.origin}

    outcome = workspace.run(DataManifest, inputs, work, force=context.force)
    keep(project, workspace.folder("data"), outcome.record)
    return outcome


def _without_recalled(project: Project, labelled: pd.DataFrame) -> pd.DataFrame:
    """Return the rows that no recall marks as bad, and tell how many were left out for which."""
    registry = Registry(project.name)
    if not (known := active(registry)) or project.id not in labelled:
        return labelled
    hit = tainted(registry, known, fingerprints(labelled, project)).to_numpy()
    for one in known:
        if count := int((hit == one.number).sum()):
            say(f"data: {count} rows are left out by recall {one.number} ({one.what}): {one.why}")
    kept: pd.DataFrame = labelled[hit == 0].reset_index(drop=True)
    return kept


def _build(
    context: Context, parts: dict[str, pd.DataFrame], reference: Reference | None, folder: Path
) -> dict[str, Any]:
    """Split, judge and write the tables; return what the manifest tells of them."""
    project, labelled = context.project, parts["labelled"]
    divided = split(labelled, project)
    findings = judge_data(project, labelled, divided, reference)
    if any(finding.violation for finding in findings):
        _refuse(project, {}, findings)
    written = divided | {k: v for k, v in parts.items() if k == "unlabelled"}
    for name, table in written.items():
        table.to_parquet(folder / f"{name}.parquet", index=False)
        if context.csv:
            table.to_csv(folder / f"{name}.csv", index=False)
    marked = [fingerprints(table, project).assign(part=name) for name, table in divided.items()]
    pd.concat(marked).to_parquet(folder / ROWS_FILE, index=False)
    counts = {name: len(table) for name, table in divided.items()}
    told = ", ".join(f"{count} {name}" for name, count in counts.items())
    if left_out := len(labelled) - sum(counts.values()):
        told += f", {left_out} in the gap"
    say(
        f"data: {len(labelled)} labelled rows -> {told}; contract and "
        f"{sum(not finding.not_run for finding in findings)} gates hold"
    )
    if open_questions := left_open(project, findings):
        say(f"data: {open_questions}")
    return {
        "contract": "holds",
        "compared_with_version": reference.version if reference else None,
        "gates": [finding.record() for finding in findings],
        "rows_in": {name: len(table) for name, table in parts.items()},
        "rows_out": {name: len(table) for name, table in written.items()},
        "columns": {str(name): str(dtype) for name, dtype in labelled.dtypes.items()},
        "reference_statistics": statistics(divided["train"].drop(columns=project.id), project.personal),
    }


def _compared_with(workspace: Workspace, reference: Reference | None, labelled: pd.DataFrame) -> Any:
    """Return what stands for the champion's data: data deployed since is not compared with itself."""
    if reference is None:
        return None
    kept = workspace.kept(DataManifest)
    if kept and reference.manifest.inputs["tables"]["labelled"] == _table_digest(labelled):
        return kept.inputs["champion"]
    return reference.manifest.outputs


def _findings_beside(
    broken: list[Violation], project: Project, labelled: pd.DataFrame, reference: Reference | None
) -> list[Finding]:
    """Return what the gates find in a table that breaks the contract, if it can be judged at all."""
    if any(violation.structural for violation in broken):
        return []
    try:
        check_rows(labelled, project)
        with warnings.catch_warnings(action="ignore"):  # of arithmetic on values that are out of range
            return judge_data(project, labelled, split(labelled, project), reference)
    except (MlError, ValueError, TypeError):  # the contract's violations are what must be mended first
        return []


def _named(tables: Tables, broken: dict[str, list[Violation]]) -> dict[str, list[Violation]]:
    """Return what is broken by the name of each table, which says where it comes from."""
    origins = {"labelled": tables.origin, "unlabelled": tables.unlabelled_origin or tables.origin}
    return {f"{name} table ({origins[name]})": found for name, found in broken.items()}


def _refuse(project: Project, broken: dict[str, list[Violation]], findings: list[Finding]) -> NoReturn:
    """Tell every violation on a line of its own, then raise: for a broken contract ``MlError``."""
    told = {table: violations for table, violations in broken.items() if violations}
    refused = [finding for finding in findings if finding.violation]
    for table, violations in told.items():
        for violation in violations:
            say(f"data:  refused  {table}: {violation}")
    for finding in refused:
        say(f"data:  refused  {finding.gate}: {finding.violation}")
    reasons = [
        f"{table}: breaks the contract: {violation}" for table, all_ in told.items() for violation in all_
    ]
    reasons += [f"{finding.gate}: {finding.violation}" for finding in refused]
    more = f"; and {len(reasons) - MAX_TOLD} more problems, each on a line above"
    line = "; ".join(reasons[:MAX_TOLD]) + (more if len(reasons) > MAX_TOLD else "")
    if told:
        raise MlError(line)
    raise GateRefused(f"{line} (if this is right, change [data_gates] in {project.folder / 'project.toml'})")


def _table_digest(table: pd.DataFrame) -> str:
    return hashlib.sha256(table.to_csv(index=False).encode()).hexdigest()


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
