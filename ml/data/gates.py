"""The gates of the data stage: what the labelled rows must satisfy beyond the contract."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pandas as pd
from pandas.api import types

from ml.data.contract import MAX_EXAMPLES, Violation, examples
from ml.data.drift import measure
from ml.data.findings import Finding, too_many
from ml.data.formats import read_table
from ml.data.plausibility import judge_table
from ml.errors import MlError
from ml.files import digest
from ml.project import Project
from ml.records import DataManifest
from ml.registry.versions import Registry
from ml.source_settings import agreed_of
from ml.workspace import ROWS_FILE

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


@dataclass(frozen=True)
class Reference:
    """The data of the champion: its manifest and the fingerprints of its rows."""

    version: int
    manifest: DataManifest
    rows: pd.DataFrame

    @property
    def statistics(self) -> dict[str, dict[str, Any]]:
        """What drift is measured against, by column."""
        return self.manifest.reference_statistics


def champion_data(project: Project, channel: str) -> Reference | None:
    """Return the data of the version that a channel serves, if any; an altered one raises ``MlError``."""
    registry = Registry(project.name)
    version = registry.channel(channel).version
    if version is None:
        return None
    registry.read(version)
    folder = registry.folder(version) / "model"
    manifest = registry.data_manifest(version)
    return Reference(version, manifest, pd.read_parquet(folder / ROWS_FILE))


def fingerprints(table: pd.DataFrame, project: Project) -> pd.DataFrame:
    """Return two 64-bit hashes a row, ``id`` and ``content`` (all else): rows compared without values."""
    return pd.DataFrame(
        {
            "id": pd.util.hash_pandas_object(table[project.id], index=False).to_numpy(),
            "content": pd.util.hash_pandas_object(table.drop(columns=project.id), index=False).to_numpy(),
        }
    )


def repeated_rows(project: Project, labelled: pd.DataFrame) -> np.ndarray:
    """Tell which rows are equal to an earlier one but for the id."""
    return fingerprints(labelled, project)["content"].duplicated().to_numpy()


def shared_rows(project: Project, train: pd.DataFrame, test: pd.DataFrame) -> np.ndarray:
    """Tell which test rows are equal to a train row but for the id and the target."""
    inner, outer = (fingerprints(part.drop(columns=project.target), project) for part in (train, test))
    return outer["content"].isin(inner["content"]).to_numpy()


def judge_data(
    project: Project,
    labelled: pd.DataFrame,
    divided: dict[str, pd.DataFrame],
    reference: Reference | None,
) -> list[Finding]:
    """Return what every gate that ``project.toml`` declares finds; without a reference some are not run.

    ``divided`` are its ``train`` and ``test`` rows. The rows stand in the order of their source.
    """
    found = [
        *_rows(project, labelled),
        *_missing(project, labelled),
        *_duplicates(project, labelled),
        *_shared(project, divided["train"], divided["test"]),
        *_giveaways(project, divided["train"]),
        *_keys(project, labelled),
        *_timeliness(project, labelled),
        *judge_table(project, labelled),
    ]
    if reference:
        found += [
            *_row_change(project, labelled, reference),
            *_changed_rows(project, labelled, reference),
            *_unseen(project, labelled, reference),
            *_label_shift(project, labelled, reference),
            *_drift(project, labelled, reference),
        ]
    else:
        found += [Finding(name, "", None, None, not_run=NO_CHAMPION) for name in _declared(project, AGAINST)]
    return found


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


def _rows(project: Project, labelled: pd.DataFrame) -> Iterator[Finding]:
    if (least := project.data_gates.min_rows) is not None:
        told = f"{len(labelled)} rows are fewer than {least}: is the source complete?"
        few = Violation("", told, len(labelled)) if len(labelled) < least else None
        yield Finding("rows", "number", len(labelled), least, few)


def _missing(project: Project, labelled: pd.DataFrame) -> Iterator[Finding]:
    for name, most in project.data_gates.max_missing.items():
        if name in labelled:  # a feature that a function makes is judged in the train stage
            missing = labelled[name].isna().to_numpy()
            told = f"column '{name}': the share of missing values is too large"
            shown = examples(labelled, missing)
            yield too_many("missing", name, missing.mean(), most, name, told, int(missing.sum()), shown)


def _duplicates(project: Project, labelled: pd.DataFrame) -> Iterator[Finding]:
    if (most := project.data_gates.max_duplicates) is not None:
        twice = repeated_rows(project, labelled)
        told = f"rows are equal to an earlier one but for '{project.id}'"
        yield too_many(
            "duplicates", "", twice.mean(), most, "", told, int(twice.sum()), examples(labelled, twice)
        )


def _shared(project: Project, train: pd.DataFrame, test: pd.DataFrame) -> Iterator[Finding]:
    if (most := project.data_gates.max_shared_rows) is not None:
        shared = shared_rows(project, train, test)
        told = f"test rows are equal to a train row but for '{project.id}'"
        shown = [
            f"{project.id} {test[project.id].iloc[row]}" for row in np.flatnonzero(shared)[:MAX_EXAMPLES]
        ]
        shown = ["***"] * len(shown) if project.id in project.personal else shown
        yield too_many("train and test overlap", "", shared.mean(), most, "", told, int(shared.sum()), shown)


def _giveaways(project: Project, train: pd.DataFrame) -> Iterator[Finding]:
    if (most := project.data_gates.max_feature_score) is not None:
        from ml.data.giveaways import giveaways  # scikit-learn, which an unchanged data stage need not load

        rows = train.drop(columns=[project.id, project.target])
        for name, score in giveaways(project, rows, train[project.target]).items():
            told = f"column '{name}' alone gives the target away: was it known before?"
            yield too_many("gives the target away", name, score, most, name, told, len(train))


def _keys(project: Project, labelled: pd.DataFrame) -> Iterator[Finding]:
    for join in project.data_gates.keys:
        other = read_table(pd.read_csv, project.folder / join.file)
        for table, column, place in ((labelled, join.column, "the data"), (other, join.key, join.file)):
            if column not in table:
                raise MlError(f"project.toml: data_gates.keys: no column '{column}' in {place}")
        values = labelled[join.column]
        alone = (values.notna() & ~values.astype(str).isin(other[join.key].astype(str))).to_numpy()
        told = f"column '{join.column}' has values that {join.file} does not know"
        shown = examples(labelled, alone, join.column, project.personal)
        yield too_many("join key", join.column, alone.mean(), 0.0, join.column, told, int(alone.sum()), shown)


def _timeliness(project: Project, labelled: pd.DataFrame) -> Iterator[Finding]:
    if (rule := project.data_gates.timeliness) is None:
        return
    if rule.column not in labelled:
        raise MlError(f"project.toml: data_gates.timeliness: no column '{rule.column}' in the data")
    dates = pd.to_datetime(labelled[rule.column], format="ISO8601", utc=True, errors="coerce")
    if rule.first is not None:
        begins = dates.min().date().isoformat() if dates.notna().any() else "no date"
        shown = "another day" if rule.column in project.personal else begins
        told = (
            f"column '{rule.column}' begins with {shown}, not {rule.first}: is the start missing, or are "
            "dates shifted?"
        )
        wrong = Violation(rule.column, told, len(labelled)) if begins != rule.first else None
        yield Finding("timeliness", "first date", float(wrong is not None), 0.0, wrong)
    if rule.max_age_days is None:
        return
    days = (datetime.now(UTC) - dates).dt.total_seconds() / 86400
    age = float(days.min()) if dates.notna().any() else float("inf")
    told = f"column '{rule.column}': the newest row is {age:.1f} days old: did the source deliver?"
    stale = Violation(rule.column, told, len(labelled)) if age > rule.max_age_days else None
    yield Finding("timeliness", "age of the newest row in days", age, rule.max_age_days, stale)
    ahead = (days < -1).to_numpy()  # a day for time zones
    told = f"column '{rule.column}' lies in the future: is a clock wrong, here or at the source?"
    clock = examples(labelled, ahead, rule.column, project.personal)
    yield too_many(
        "timeliness", "rows of the future", ahead.mean(), 0.0, rule.column, told, int(ahead.sum()), clock
    )


def _row_change(project: Project, labelled: pd.DataFrame, reference: Reference) -> Iterator[Finding]:
    if (most := project.data_gates.max_row_change) is not None:
        before = reference.manifest.rows_in["labelled"]
        told = f"{len(labelled)} rows, version {reference.version} had {before}: is the source complete?"
        yield too_many("rows", "change", abs(len(labelled) / before - 1), most, "", told, len(labelled))


def _changed_rows(project: Project, labelled: pd.DataFrame, reference: Reference) -> Iterator[Finding]:
    """Compare rows that the champion's data had: what is recorded does not change."""
    most = project.data_gates.max_changed_rows
    if most is None or reference.manifest.inputs["contract"] != digest(project.folder / "contract.py"):
        return
    before = reference.rows.set_index("id")["content"]
    ours = fingerprints(labelled, project)
    known = ours["id"].isin(before.index).to_numpy()
    if known.any():
        changed = known.copy()
        changed[known] = before.loc[ours["id"][known]].to_numpy() != ours["content"][known].to_numpy()
        told = f"rows are not what they were in the data of version {reference.version}"
        value = changed.sum() / known.sum()
        yield too_many(
            "known rows changed", "", value, most, "", told, int(changed.sum()), examples(labelled, changed)
        )


def _unseen(project: Project, labelled: pd.DataFrame, reference: Reference) -> Iterator[Finding]:
    if (most := project.data_gates.max_unseen) is None:
        return
    for name in labelled:
        known = reference.statistics.get(str(name), {}).get("shares")
        if known and not types.is_numeric_dtype(labelled[name]):
            unseen = (labelled[name].notna() & ~labelled[name].astype(str).isin(list(known))).to_numpy()
            told = f"column '{name}' has values never seen before"
            shown = examples(labelled, unseen, str(name), project.personal)
            yield too_many(
                "unseen", str(name), unseen.mean(), most, str(name), told, int(unseen.sum()), shown
            )


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
