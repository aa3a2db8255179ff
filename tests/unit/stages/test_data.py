"""The data stage: split, manifest, and tables that are not what the contract says."""

import json
import os
from collections.abc import Callable
from typing import Any

import pandas as pd
import pytest

from ml.data import build
from ml.data.split import split
from ml.project import find_project
from tests.conftest import Site
from tests.support import ErrorOf


def change_table(site: Site, change: Callable[[pd.DataFrame], pd.DataFrame]) -> None:
    file = site.project / "data" / "train.csv"
    change(pd.read_csv(file)).to_csv(file, index=False)


def labelled() -> pd.DataFrame:
    return pd.read_csv(find_project("titanic").folder / "data" / "train.csv")


def test_the_split_is_stratified_complete_and_without_overlap() -> None:
    parts = split(labelled(), find_project("titanic"))
    train, test = parts["train"], parts["test"]
    assert len(train) + len(test) == 891
    assert set(train["PassengerId"]).isdisjoint(test["PassengerId"])
    assert len(test) / 891 == pytest.approx(0.3, abs=0.002)
    assert test["Survived"].mean() == pytest.approx(labelled()["Survived"].mean(), abs=0.002)


def test_the_split_does_not_depend_on_the_order_of_rows() -> None:
    project = find_project("titanic")
    shuffled = labelled().sample(frac=1, random_state=1)
    assert set(split(labelled(), project)["test"]["PassengerId"]) == set(
        split(shuffled, project)["test"]["PassengerId"]
    )


def test_rows_keep_their_side_when_rows_are_added() -> None:
    project = find_project("titanic")
    yesterday = labelled().head(800)
    before, after = split(yesterday, project)["test"], split(labelled(), project)["test"]
    moved = set(before["PassengerId"]) ^ (set(after["PassengerId"]) & set(yesterday["PassengerId"]))
    assert len(moved) <= 0.02 * len(yesterday)


def test_another_seed_gives_another_split(site: Site) -> None:
    site.edit("project.toml", "seed = 42 ", "seed = 43 ")
    theirs, ours = (
        split(labelled(), find_project("small"))["test"],
        split(labelled(), find_project("titanic"))["test"],
    )
    assert set(theirs["PassengerId"]) != set(ours["PassengerId"])


def test_what_is_written_is_in_the_manifest(site: Site) -> None:
    assert site.ml("data", "--format", "csv") == 0
    folder = site.build / "data"
    manifest = json.loads((folder / "manifest.json").read_text())
    assert manifest["rows_in"] == {"labelled": 891, "unlabelled": 418}
    assert manifest["rows_out"] == {"train": 623, "test": 268, "unlabelled": 418}
    assert manifest["contract"] == "holds"
    assert set(manifest["outputs"]) == {
        f"{name}.{kind}" for name in ("train", "test", "unlabelled") for kind in ("parquet", "csv")
    } | {"rows.parquet"}
    train = pd.read_parquet(folder / "train.parquet")
    pd.testing.assert_frame_equal(train, pd.read_csv(folder / "train.csv"), check_dtype=False)
    assert train["Age"].isna().any(), "gaps are filled inside the pipeline, not here"
    assert manifest["reference_statistics"]["Age"]["mean"] == pytest.approx(train["Age"].mean())


@pytest.mark.slow
def test_the_same_data_gives_the_same_bytes(site: Site) -> None:
    site.ml("data")
    first = json.loads((site.build / "data" / "manifest.json").read_text())["outputs"]
    site.ml("data", "--force")
    assert json.loads((site.build / "data" / "manifest.json").read_text())["outputs"] == first


def reads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return a list that grows by one for each time that a source is read."""
    read, found = build.sources.fetch, []

    def counted(project: Any, receive: Any) -> Any:
        found.append(project.name)
        return read(project, receive)

    monkeypatch.setattr(build.sources, "fetch", counted)
    return found


@pytest.mark.slow
def test_a_source_that_tells_the_same_is_not_read_again(
    site: Site, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    read = reads(monkeypatch)
    assert site.ml("data") == site.ml("data") == 0
    assert "nothing to do" in capsys.readouterr().err
    assert len(read) == 1
    assert site.ml("data", "--force") == 0
    assert len(read) == 2


@pytest.mark.slow
@pytest.mark.parametrize("file", ["data/train.csv", "data/test.csv"])
def test_a_file_that_changes_is_read_again(site: Site, monkeypatch: pytest.MonkeyPatch, file: str) -> None:
    read = reads(monkeypatch)
    site.ml("data")
    table = pd.read_csv(site.project / file)
    table.assign(Fare=table["Fare"].fillna(0) + 1).to_csv(site.project / file, index=False)
    before = (site.build / "data" / "manifest.json").read_bytes()
    assert site.ml("data") == 0
    assert len(read) == 2
    assert (site.build / "data" / "manifest.json").read_bytes() != before


@pytest.mark.slow
def test_what_a_source_told_is_looked_at_with_care(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    read = reads(monkeypatch)
    site.ml("data")
    noted = site.build / ".delivery.json"
    content = json.loads(noted.read_text())
    for damaged in (
        "",
        "[]",
        "{}",
        json.dumps(content | {"tables": 1}),
        json.dumps(content | {"tables": {}}),
    ):
        noted.write_text(damaged)
        before = len(read)
        assert site.ml("data") == 0
        assert len(read) == before + 1
    (site.build / "data" / "train.parquet").write_bytes(b"")
    assert site.ml("data") == 0
    assert len(read) == before + 2, "what was built is no longer there"


def test_a_source_that_changes_while_it_is_read_is_not_relied_on(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = build.sources.fetch

    def changing(project: Any, receive: Any) -> Any:
        tables = read(project, receive)
        change_table(site, lambda table: table.assign(Fare=1))
        return tables

    monkeypatch.setattr(build.sources, "fetch", changing)
    site.ml("data")
    assert not (site.build / ".delivery.json").exists()


def test_an_old_delivery_is_refused_though_it_is_the_same(site: Site, error_of: ErrorOf) -> None:
    site.ml("data")
    site.edit("project.toml", 'kind = "csv"', 'kind = "csv"\nmax_age_days = 30')
    site.ml("data")
    os.utime(site.project / "data" / "train.csv", (1, 1))
    assert site.ml("data") == 1
    assert "max_age_days" in error_of()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (lambda t: t.drop(columns="Age"), "column 'Age' is missing"),
        (lambda t: t.rename(columns={"Sex": "Gender"}), "column 'Sex' is missing"),
        (lambda t: t.assign(Pclass=t["Pclass"].map({1: "first", 2: "second", 3: "third"})), "'Pclass' holds"),
        (lambda t: t.head(0), "the table has no rows"),
        (lambda t: t[t["Survived"] == 0], "the target 'Survived' has one class only"),
        (
            lambda t: t.assign(Survived=t["Survived"].mask(t.index == 4)),
            "column 'Survived' has missing values: 1 values",
        ),
        (lambda t: t.assign(Fare=1e308), "less_than_or_equal_to(1000)"),
        (lambda t: pd.concat([t, t.head(1)]), "values must be unique"),
        (lambda t: t.sort_values("Survived").head(553), "too few for 5 folds"),
    ],
)
def test_a_bad_table_is_named_and_the_earlier_result_kept(
    site: Site, error_of: ErrorOf, change: Callable[[pd.DataFrame], pd.DataFrame], problem: str
) -> None:
    assert site.ml("data") == 0
    before = (site.build / "data" / "manifest.json").read_bytes()
    change_table(site, change)
    assert site.ml("data") == 1
    assert problem in error_of()
    assert (site.build / "data" / "manifest.json").read_bytes() == before
    assert not list(site.build.glob(".*.partial"))


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", "train.csv is empty"),
        (b"\xff\xfe\x00", "train.csv cannot be read as a table"),
        (b'a,b\n1,2\n3,4,5\n"', "train.csv: the row that ends in line 3 has 3 fields"),
        (b'a\n1\n"2"3"\n', "column 'PassengerId' is missing"),
    ],
)
def test_a_file_that_is_no_table_is_named(
    site: Site, error_of: ErrorOf, content: bytes, problem: str
) -> None:
    (site.project / "data" / "train.csv").write_bytes(content)
    assert site.ml("data") == 1
    assert problem in error_of()


def test_a_missing_or_unreadable_file_is_named(site: Site, error_of: ErrorOf) -> None:
    (site.project / "data" / "train.csv").unlink()
    assert site.ml("data") == 1
    assert "train.csv is missing: check the path" in error_of()
    (site.project / "data" / "train.csv").mkdir()
    assert site.ml("data") == 1
    assert "train.csv has no file of a table" in error_of()


def test_a_target_that_the_contract_lacks_is_named(site: Site, error_of: ErrorOf) -> None:
    site.edit("project.toml", 'target = "Survived"', 'target = "Drowned"')
    assert site.ml("data") == 1
    assert "has no column 'Drowned', the target of project.toml" in error_of()


def test_a_positive_class_that_is_none_is_named(site: Site, error_of: ErrorOf) -> None:
    site.edit("project.toml", 'target = "Survived"', 'target = "Survived"\npositive = "yes"')
    assert site.ml("data") == 1
    assert "positive = 'yes' must be one of two classes of 'Survived', which has 2: 0, 1" in error_of()


def test_the_table_without_a_target_is_told_under_its_own_name(site: Site, error_of: ErrorOf) -> None:
    file = site.project / "data" / "test.csv"
    pd.read_csv(file).assign(Pclass=9).to_csv(file, index=False)
    assert site.ml("data") == 1
    assert "unlabelled table (files: data/test.csv): breaks the contract: column 'Pclass'" in error_of()


def test_a_wrong_type_is_told_alone(site: Site, error_of: ErrorOf) -> None:
    change_table(site, lambda t: t.assign(Fare=t["Fare"].astype(str).str.replace(".", ",")))
    assert site.ml("data") == 1
    error = error_of()
    assert "column 'Fare' holds str values" in error and "TypeError" not in error and "more" not in error
