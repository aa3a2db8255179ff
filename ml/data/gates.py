"""The gates of the data stage: what the labelled rows must satisfy beyond the contract."""

from collections.abc import Iterator

import pandas as pd

from ml.data.contract import Violation
from ml.data.drift import measure
from ml.data.findings import Finding, too_many
from ml.data.plausibility import judge_table
from ml.data.reference import Reference
from ml.data.row_gates import RowGates
from ml.data.row_index import Found, RowIndex, index_rows
from ml.data.split import LEFT_OUT
from ml.files import digest
from ml.project import Project
from ml.source_settings import agreed_of

# What needs a champion's data, and what a table can be judged by alone
AGAINST = (
    "max_row_change",
    "max_changed_rows",
    "max_unseen",
    "max_label_shift",
    "max_psi",
    "max_ks",
    "max_cramers_v",
)
ALONE = ("min_rows", "max_missing", "max_feature_score", "max_stretch", "max_one_value", "usual")
NO_CHAMPION = "no champion to compare with"
SIGNIFICANCE = 0.001  # shared by all drift measures of a table (Bonferroni), so clean data rarely alarms


def row_index(project: Project, labelled: pd.DataFrame, divided: dict[str, pd.DataFrame]) -> RowIndex:
    """Return the index of a table that is in memory, as it was divided."""
    parts = {key: name for name, rows in divided.items() for key in rows[project.id]}
    part = labelled[project.id].map(parts).fillna(LEFT_OUT).to_numpy()
    return RowIndex(index_rows(labelled.reset_index(drop=True), project, part))


def judge_data(
    project: Project,
    labelled: pd.DataFrame,
    divided: dict[str, pd.DataFrame],
    reference: Reference | None,
) -> list[Finding]:
    """Return what every gate that ``project.toml`` declares finds; without a reference some are not run.

    ``divided`` are its ``train`` and ``test`` rows. The rows stand in the order of their source.
    """
    rows = RowGates(project, reference.statistics if reference else {})
    rows.see(labelled)
    index = row_index(project, labelled, divided)
    return [
        *rows.findings(),
        *judge_whole(project, len(labelled), labelled, divided["train"], index, reference),
    ]


def judge_whole(
    project: Project,
    count: int,
    sample: pd.DataFrame,
    train: pd.DataFrame,
    index: RowIndex,
    reference: Reference | None,
) -> list[Finding]:
    """Return what the gates find that look at more than one row, of a table with ``count`` rows.

    What is equal or changed is found among all rows, by the index; what is a matter of statistics in a
    ``sample`` (of a table that is not large that is every row) and those of its rows that are ``train``.
    """
    found = [
        *_rows(project, count),
        *_duplicates(project, index),
        *_shared(project, index),
        *_giveaways(project, train),
        *judge_table(project, sample, whole=len(sample) == count),
    ]
    if reference is None:
        return found + [
            Finding(name, "", None, None, not_run=NO_CHAMPION) for name in _declared(project, AGAINST)
        ]
    return [
        *found,
        *_row_change(project, count, reference),
        *_changed_rows(project, index, reference),
        *_label_shift(project, sample, reference),
        *_drift(project, sample, reference),
    ]


def left_open(project: Project, found: list[Finding]) -> str:
    """Return in one line which gates had nothing to compare with, and what would let a first build judge."""
    names = [one.gate for one in found if one.not_run == NO_CHAMPION]
    if not names:
        return ""
    missing = [name for name in ALONE if name not in _declared(project, ALONE)]
    if not _rows_agreed(project):
        missing.append("rows (of the source)")
    more = f"; a first build is judged better with {', '.join(missing)}" if missing else ""
    were = "were" if len(names) > 1 else "was"
    return f"nothing to compare with yet: {', '.join(names)} {were} not run{more}"


def _declared(project: Project, names: tuple[str, ...]) -> list[str]:
    return [name for name in names if getattr(project.data_gates, name) not in (None, [], {})]


def _rows_agreed(project: Project) -> bool:
    return bool(agreed_of(project.source).rows)


def _rows(project: Project, count: int) -> Iterator[Finding]:
    if (least := project.data_gates.min_rows) is not None:
        told = f"{count} rows are fewer than {least}: is the source complete?"
        yield Finding("rows", "number", count, least, Violation("", told, count) if count < least else None)


def _duplicates(project: Project, index: RowIndex) -> Iterator[Finding]:
    if (most := project.data_gates.max_duplicates) is not None:
        told = f"rows are equal to an earlier one but for '{project.id}'"
        yield _found("duplicates", index.repeated(), most, told)


def _shared(project: Project, index: RowIndex) -> Iterator[Finding]:
    if (most := project.data_gates.max_shared_rows) is not None:
        told = f"test rows are equal to a train row but for '{project.id}'"
        yield _found("train and test overlap", index.shared(), most, told)


def _found(kind: str, found: Found, most: float, told: str) -> Finding:
    shown = [f"row {row + 1}" for row in found.rows]
    return too_many(kind, "", found.share, most, "", told, found.count, shown)


def _giveaways(project: Project, train: pd.DataFrame) -> Iterator[Finding]:
    if (most := project.data_gates.max_feature_score) is not None:
        from ml.data.giveaways import giveaways  # scikit-learn, which an unchanged data stage need not load

        rows = train.drop(columns=[project.id, project.target])
        for name, score in giveaways(project, rows, train[project.target]).items():
            told = f"column '{name}' alone gives the target away: was it known before?"
            yield too_many("gives the target away", name, score, most, name, told, len(train))


def _row_change(project: Project, count: int, reference: Reference) -> Iterator[Finding]:
    if (most := project.data_gates.max_row_change) is not None:
        before = reference.manifest.rows_in["labelled"]
        told = f"{count} rows, version {reference.version} had {before}: is the source complete?"
        yield too_many("rows", "change", abs(count / before - 1), most, "", told, count)


def _changed_rows(project: Project, index: RowIndex, reference: Reference) -> Iterator[Finding]:
    """Compare rows that the champion's data had: what is recorded does not change."""
    most = project.data_gates.max_changed_rows
    if most is None or reference.manifest.inputs["contract"] != digest(project.folder / "contract.py"):
        return
    changed = index.changed(reference.rows)
    if changed.of:
        told = f"rows are not what they were in the data of version {reference.version}"
        yield _found("known rows changed", changed, most, told)


def _label_shift(project: Project, labelled: pd.DataFrame, reference: Reference) -> Iterator[Finding]:
    most, known = project.data_gates.max_label_shift, reference.statistics[project.target].get("shares")
    if most is not None and known and project.task == "classification":
        now = labelled[project.target].astype(str).value_counts(normalize=True)
        shift = max(abs(now.get(label, 0.0) - known.get(label, 0.0)) for label in set(known) | set(now.index))
        told = f"the balance of '{project.target}' is not that of version {reference.version}"
        yield too_many("label balance shift", "", shift, most, project.target, told, len(labelled))


def _drift(project: Project, labelled: pd.DataFrame, reference: Reference) -> Iterator[Finding]:
    gates = project.data_gates
    limits = {"psi": gates.max_psi, "ks": gates.max_ks, "cramers_v": gates.max_cramers_v}
    drifts = [
        (str(name), drift)
        for name in labelled
        if name != project.id and name in reference.statistics
        for drift in measure(labelled[name], reference.statistics[str(name)])
        if limits[drift.measure] is not None
    ]
    for name, drift in drifts:
        limit = limits[drift.measure]
        assert limit is not None
        told = (
            f"column '{name}' has drifted from version {reference.version}: {drift.measure} "
            f"{drift.value:.3g} is more than {limit:g}, p {drift.p_value:.1g}"
        )
        far = drift.value > limit and drift.p_value < SIGNIFICANCE / len(drifts)
        broken = Violation(name, told, len(labelled)) if far else None
        yield Finding("drift", f"{name} {drift.measure}", drift.value, limit, broken)
