"""A table that comes in many batches is the table that comes in one."""

import json
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from ml.data import divide, intake
from ml.data.contract import load_contract
from ml.data.intake import BatchWriter, ahead, even, take
from ml.errors import MlError
from ml.project import find_project
from tests.conftest import Site
from tests.support import ErrorOf


@pytest.fixture(name="in_batches")
def _in_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(intake, "BATCH_ROWS", 100)


def manifest_of(site: Site) -> dict[str, object]:
    content: dict[str, object] = json.loads((site.build / "data" / "manifest.json").read_text())
    return content


@pytest.mark.slow
def test_many_batches_give_the_parts_and_the_findings_of_one(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert site.ml("data", "--format", "csv") == 0
    folder = site.build / "data"
    names = ["train.parquet", "test.parquet", "unlabelled.parquet", "rows.parquet", "train.csv"]
    read = {".parquet": pd.read_parquet, ".csv": pd.read_csv}
    whole, told = {name: read[Path(name).suffix](folder / name) for name in names}, manifest_of(site)
    monkeypatch.setattr(intake, "BATCH_ROWS", 100)
    assert site.ml("data", "--format", "csv", "--force") == 0
    assert pq.read_metadata(folder / "train.parquet").num_row_groups == 9
    for name, table in whole.items():
        pd.testing.assert_frame_equal(read[Path(name).suffix](folder / name), table)
    for key in ("gates", "rows_in", "rows_out", "columns", "reference_statistics"):
        assert manifest_of(site)[key] == told[key]


@pytest.mark.slow
def test_a_large_table_is_judged_by_a_sample(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(intake, "BATCH_ROWS", 100)
    monkeypatch.setattr(divide, "BATCH_ROWS", 100)
    assert site.ml("data") == 0
    found = manifest_of(site)
    assert found["rows_out"] == {"train": 623, "test": 268, "unlabelled": 418}
    assert 40 < found["reference_statistics"]["Sex"]["rows"] < 110  # type: ignore[index]


@pytest.mark.usefixtures("in_batches")
def test_an_id_that_comes_again_in_another_batch_is_found(site: Site, error_of: ErrorOf) -> None:
    file = site.project / "data" / "train.csv"
    table = pd.read_csv(file)
    pd.concat([table, table.head(1)]).to_csv(file, index=False)
    assert site.ml("data") == 1
    assert "column 'PassengerId', values must be unique: 2 values, 1" in error_of().replace("\n", " ")


@pytest.mark.slow
@pytest.mark.usefixtures("in_batches")
def test_what_is_broken_is_counted_in_all_batches_by_its_place(site: Site, error_of: ErrorOf) -> None:
    file = site.project / "data" / "train.csv"
    table = pd.read_csv(file)
    table.loc[[120, 450, 800, 801], "Pclass"] = 4
    table.to_csv(file, index=False)
    assert site.ml("data") == 1
    assert "4 values, the first in row 121: 4, row 451: 4, row 801: 4" in error_of().replace("\n", " ")
    assert not list(site.build.glob(".scratch-*"))


def test_nothing_more_is_read_after_a_structural_violation(tmp_path: Path, in_batches: None) -> None:
    project = find_project("titanic")
    read = []

    def batches() -> Iterator[pd.DataFrame]:
        for number in range(50):
            read.append(number)
            yield pd.DataFrame({"PassengerId": range(100)})

    taken = take(batches(), load_contract(project), project, tmp_path / "rows.parquet", lambda rows: rows)
    assert taken.structural and len(read) < 5


def test_batches_are_made_even(in_batches: None) -> None:
    sizes = [0, 30, 250, 1, 0, 119, 40]
    rows = np.arange(sum(sizes))
    given = (pd.DataFrame({"a": part}) for part in np.split(rows, np.cumsum(sizes)[:-1]))
    made = list(even(given))
    assert [len(one) for one in made] == [100, 100, 100, 100, 40]
    assert np.concatenate([one["a"] for one in made]).tolist() == rows.tolist()
    assert [len(one) for one in even(iter([pd.DataFrame({"a": []})]))] == [0]


def test_what_is_read_ahead_is_read_closed_and_failed_in_one_thread() -> None:
    threads = []

    def numbers() -> Iterator[int]:
        try:
            for number in range(5):
                threads.append(threading.get_ident())
                yield number
                if number == 3:
                    raise MlError("the source went away")
        finally:
            threads.append(threading.get_ident())

    for number in ahead(numbers()):
        if number == 1:
            break
    assert len(set(threads)) == 1 and threading.get_ident() not in threads
    with pytest.raises(MlError, match="went away"):
        list(ahead(numbers()))


def test_a_column_that_changes_its_type_is_named(tmp_path: Path) -> None:
    with BatchWriter(tmp_path / "rows.parquet") as writer:
        writer.write(pd.DataFrame({"a": [1, 2]}))
        with pytest.raises(MlError, match=r"from row 3 on values are of another type than before.*column a"):
            writer.write(pd.DataFrame({"a": ["x"]}))
