"""The data gates: what each finds in a table that it is shown, and that clean data passes."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import numpy as np
import pandas as pd
import pytest

from ml.data.drift import statistics
from ml.data.gates import judge_data
from ml.data.reference import Reference
from ml.data.row_index import fingerprints
from ml.data.split import split
from ml.errors import MlError
from ml.files import digest
from ml.project import Project, find_project
from ml.records import DataManifest
from ml.settings import DataGates

Change = Callable[[pd.DataFrame], pd.DataFrame]


@pytest.fixture
def project() -> Project:
    return find_project("titanic")


@pytest.fixture
def table(project: Project) -> pd.DataFrame:
    return pd.read_csv(project.folder / "data" / "train.csv")


@pytest.fixture
def reference(project: Project, table: pd.DataFrame) -> Reference:
    train = split(table, project)["train"]
    manifest = DataManifest.model_construct(
        reference_statistics=statistics(train),
        rows_in={"labelled": len(table)},
        inputs={"contract": digest(project.folder / "contract.py")},
    )
    return Reference(1, manifest, fingerprints(table, project))


def refused(project: Project, table: pd.DataFrame, reference: Reference | None) -> dict[str, str]:
    findings = judge_data(project, table, split(table, project), reference)
    return {one.gate: str(one.violation) for one in findings if one.violation}


def gated(project: Project, **gates: object) -> Project:
    changed = project.model_copy(update={"data_gates": DataGates(**gates)})  # type: ignore[arg-type]
    changed._folder, changed._name = project._folder, project._name
    return changed


def test_clean_data_passes_every_gate(project: Project, table: pd.DataFrame, reference: Reference) -> None:
    findings = judge_data(project, table, split(table, project), reference)
    assert [one for one in findings if one.violation] == []
    assert {one.gate.split(":")[0] for one in findings} == {
        "rows",
        "missing",
        "duplicates",
        "train and test overlap",
        "gives the target away",
        "garbled",
        "stretch",
        "one value",
        "usual",
        "known rows changed",
        "unseen",
        "label balance shift",
        "drift",
    }


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(5))
def test_resampled_clean_data_raises_no_alarm(
    project: Project, table: pd.DataFrame, reference: Reference, seed: int
) -> None:
    assert refused(project, table.sample(frac=0.92, random_state=seed), reference) == {}


@pytest.mark.parametrize(
    ("change", "gate", "told"),
    [
        (lambda t: t.head(400), "rows: number", "400 rows are fewer than 800"),
        (lambda t: t.head(600), "rows: change", "600 rows, version 1 had 891"),
        (lambda t: t.assign(Age=np.nan), "missing: Age", "891 values, the first in row 1, row 2, row 3"),
        (
            lambda t: pd.concat([t, t.head(90).assign(PassengerId=range(9000, 9090))]),
            "duplicates",
            "90 values",
        ),
        (
            lambda t: t.assign(Fare=t["Survived"] * 10.0),
            "gives the target away: Fare",
            "was it known before?",
        ),
        (lambda t: t.assign(Fare=t["Fare"].to_numpy()[::-1]), "known rows changed", "data of version 1"),
        (lambda t: t.assign(Embarked="X"), "unseen: Embarked", "891 values, the first in row 1: 'X'"),
        (lambda t: t.assign(Survived=1 - t["Survived"]), "label balance shift", "'Survived' is not that of"),
        (lambda t: t.assign(Age=t["Age"] + 20), "drift: Age ks", "has drifted from version 1"),
        (lambda t: t.assign(Age=t["Age"] + 20), "drift: Age psi", "has drifted from version 1"),
        (lambda t: t.assign(Pclass=3), "drift: Pclass cramers_v", "has drifted from version 1"),
    ],
)
def test_what_is_wrong_is_found(
    project: Project, table: pd.DataFrame, reference: Reference, change: Change, gate: str, told: str
) -> None:
    assert told in refused(project, change(table), reference)[gate]


def test_without_a_champion_only_the_table_itself_is_judged(project: Project, table: pd.DataFrame) -> None:
    assert refused(project, table.head(801).assign(Embarked="S"), None) == {}


def test_rows_of_a_changed_contract_are_not_compared(
    project: Project, table: pd.DataFrame, reference: Reference
) -> None:
    reference.manifest.inputs["contract"] = "another"
    assert refused(project, table.assign(SibSp=table["SibSp"].to_numpy()[::-1]), reference) == {}


def test_test_rows_that_are_train_rows_are_found(project: Project, table: pd.DataFrame) -> None:
    doubled = pd.concat([table, table.assign(PassengerId=table["PassengerId"] + 5000)])
    assert (
        "equal to a train row but for 'PassengerId'"
        in refused(project, doubled, None)["train and test overlap"]
    )


def test_a_join_key_must_be_found(project: Project, table: pd.DataFrame) -> None:
    join = {"column": "Sex", "file": "data/test.csv", "key": "Sex"}
    assert refused(gated(project, keys=[join]), table, None) == {}
    broken = refused(gated(project, keys=[join]), table.assign(Sex=["?"] + ["male"] * 890), None)
    assert "'Sex' has values that data/test.csv does not know" in broken["join key: Sex"]
    with pytest.raises(MlError, match="no column 'Gender' in data/test.csv"):
        refused(gated(project, keys=[join | {"key": "Gender"}]), table, None)


@pytest.mark.parametrize(
    ("age_days", "gate"),
    [(0, None), (5, "timeliness: age of the newest row in days"), (-9, "timeliness: rows of the future")],
)
def test_old_rows_and_rows_of_the_future_are_found(
    project: Project, table: pd.DataFrame, age_days: int, gate: str | None
) -> None:
    day = (datetime.now(UTC) - timedelta(days=age_days)).date().isoformat()
    timely = gated(project, timeliness={"column": "Cabin", "max_age_days": 2})
    assert list(refused(timely, table.assign(Cabin=day), None)) == ([gate] if gate else [])
