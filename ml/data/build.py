"""The tables of a build, from the source to its folder: taken, checked, split, written, told of.

A table goes through it in batches, a small one in a single one: memory does not grow with the rows.
"""

import shutil
import warnings
from collections import Counter
from pathlib import Path
from typing import Any, NoReturn

import pandas as pd

from ml.console import say
from ml.data import sources
from ml.data.contract import Violation, load_contract
from ml.data.divide import batches_of, divide
from ml.data.drift import statistics
from ml.data.findings import Finding
from ml.data.gates import left_open
from ml.data.intake import Taken, take
from ml.data.reference import Reference
from ml.data.row_index import fingerprints
from ml.data.settings_check import check_settings
from ml.data.sources import origin
from ml.data.sources.interface import Batches, Tables
from ml.data.split import check_rows
from ml.errors import GateRefused, MlError
from ml.project import Project
from ml.registry.recalls import active, tainted
from ml.registry.versions import Registry
from ml.source_settings import Role, agreed_of

MAX_TOLD = 3


def fetch(project: Project, reference: Reference | None, scratch: Path) -> Tables[Taken]:
    """Return the tables as files in ``scratch``, checked; broken ones are told and raise ``MlError``."""
    contract = load_contract(project)
    for role, column in (("target", project.target), ("id", project.id)):
        if column not in contract.columns:
            raise MlError(
                f"{project.folder / 'contract.py'}: has no column '{column}', the {role} of project.toml"
            )
    check_settings(project, contract.columns)
    contracts = {"labelled": contract, "unlabelled": contract.remove_columns([project.target])}

    def receive(batches: Batches, role: Role) -> Taken:
        file = scratch / f"{role}.parquet"
        if role == "unlabelled":
            return take(batches, contracts[role], project, file)
        clean = _Clean(project)
        taken = take(batches, contracts[role], project, file, clean)
        clean.tell()
        return taken

    tables = sources.fetch(project, receive)
    if any(one.violations for one in parts_of(tables).values()):
        _refuse(project, _named(project, tables), _findings_beside(tables.labelled, project, reference))
    check_rows(tables.labelled.file, project)
    return tables


def parts_of(tables: Tables[Taken]) -> dict[str, Taken]:
    """Return the tables there are, by name."""
    named = {"labelled": tables.labelled, "unlabelled": tables.unlabelled}
    return {name: one for name, one in named.items() if one is not None}


class _Clean:
    """Takes out the rows that a recall marks as bad, and counts them."""

    def __init__(self, project: Project) -> None:
        self._project, self._registry = project, Registry(project.name)
        self._known = active(self._registry)
        self._hit: Counter[int] = Counter()

    def __call__(self, rows: pd.DataFrame) -> pd.DataFrame:
        if not self._known or self._project.id not in rows:
            return rows
        hit = tainted(self._registry, self._known, fingerprints(rows, self._project)).to_numpy()
        self._hit.update(hit[hit != 0].tolist())
        kept: pd.DataFrame = rows[hit == 0]
        return kept

    def tell(self) -> None:
        for one in self._known:
            if count := self._hit[one.number]:
                say(f"data: {count} rows are left out by recall {one.number} ({one.what}): {one.why}")


def build(
    project: Project, tables: Tables[Taken], reference: Reference | None, folder: Path, *, csv: bool
) -> dict[str, Any]:
    """Split, judge and write the tables as Parquet (and CSV); return what the manifest tells of them."""
    parts, labelled = parts_of(tables), tables.labelled
    divided = divide(labelled.file, project, reference, folder)
    if any(finding.violation for finding in divided.findings):
        _refuse(project, {}, divided.findings)
    if "unlabelled" in parts:
        shutil.move(parts["unlabelled"].file, folder)
    names = [*divided.rows, *(name for name in parts if name == "unlabelled")]
    if csv:
        for name in names:
            _write_csv(folder / f"{name}.parquet")
    told = ", ".join(f"{count} {name}" for name, count in divided.rows.items())
    if left_out := labelled.rows - sum(divided.rows.values()):
        told += f", {left_out} in the gap"
    say(
        f"data: {labelled.rows} labelled rows -> {told}; contract and "
        f"{sum(not finding.not_run for finding in divided.findings)} gates hold"
    )
    if open_questions := left_open(project, divided.findings):
        say(f"data: {open_questions}")
    return {
        "source": tables.origin,
        "contract": "holds",
        "compared_with_version": reference.version if reference else None,
        "gates": [finding.record() for finding in divided.findings],
        "rows_in": {name: one.rows for name, one in parts.items()},
        "rows_out": {name: parts[name].rows if name in parts else divided.rows[name] for name in names},
        "columns": {str(name): str(dtype) for name, dtype in divided.train.dtypes.items()},
        "reference_statistics": statistics(divided.train.drop(columns=project.id), project.personal),
    }


def _write_csv(file: Path) -> None:
    for number, batch in enumerate(batches_of(file)):
        mode = "w" if number == 0 else "a"
        batch.to_pandas().to_csv(file.with_suffix(".csv"), index=False, mode=mode, header=number == 0)


def _findings_beside(labelled: Taken, project: Project, reference: Reference | None) -> list[Finding]:
    """Return what the gates find in a table that breaks the contract, if it can be judged at all."""
    if labelled.structural:
        return []
    folder = labelled.file.parent / "broken"
    folder.mkdir()
    try:
        check_rows(labelled.file, project)
        with warnings.catch_warnings(action="ignore"):  # of arithmetic on values that are out of range
            return divide(labelled.file, project, reference, folder).findings
    except (MlError, ValueError, TypeError):  # the contract's violations are what must be mended first
        return []


def _named(project: Project, tables: Tables[Taken]) -> dict[str, list[Violation]]:
    """Return what is broken by the name of each table, which says where it comes from."""
    appended = [origin(one, "labelled") for one in agreed_of(project.source).append]
    origins = {
        "labelled": ", then ".join([tables.origin, *appended]),
        "unlabelled": tables.unlabelled_origin or tables.origin,
    }
    return {f"{name} table ({origins[name]})": one.violations for name, one in parts_of(tables).items()}


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
