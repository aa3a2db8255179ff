"""Data is marked bad: what was made of it leaves its channels, is not made again, and comes back by undo."""

import csv
import json
import shutil
import time
from pathlib import Path

import pandas as pd
import pytest
from sqlalchemy import insert

from ml import locations
from ml.files import read_json, write_json
from ml.registry.recalls import active, recall_of, trained_on
from ml.registry.versions import Registry
from ml.store.database import open_store
from ml.store.tables import predictions
from tests.conftest import Site
from tests.support import ErrorOf

pytestmark = pytest.mark.slow


@pytest.fixture
def three(built: Site) -> Registry:
    """Return a registry with versions 1 (older data), 2 (other rows) and 3, which serves."""
    registry = Registry("small")
    whole = pd.read_parquet(built.build / "model" / "rows.parquet")
    for number, rows in ((1, whole.head(300)), (2, whole.head(500)), (3, whole)):
        folder = built.root / f"model{number}"
        shutil.copytree(built.build / "model", folder)
        rows.to_parquet(folder / "rows.parquet", index=False)
        manifest = read_json(folder / "data-manifest.json")
        finished = {"finished": f"2026-01-0{number}T00:00:00+00:00"}
        outputs = manifest["outputs"] | {"train.parquet": str(number) * 64}
        write_json(folder / "data-manifest.json", manifest | finished | {"outputs": outputs})
        registry.register(
            {"model": folder, "quality": built.build / "quality"}, {"model_sha256": str(number)}
        )
    for version in (1, 3):
        registry.move("production", version, "deploy")
    return registry


def answered(version: int) -> None:
    url = locations.store("small", "production")
    assert url
    with open_store(url).begin() as connection:
        connection.execute(
            insert(predictions),
            {
                "request": "a" * 31 + str(version),
                "row": 0,
                "at": time.time(),
                "project": "small",
                "channel": "production",
                "version": version,
                "replay": False,
                "inputs": "{}",
                "output": "{}",
                "milliseconds": 1.0,
            },
        )


def test_versions_trained_on_bad_rows_leave_their_channels_and_their_answers_are_listed(
    built: Site, three: Registry, capsys: pytest.CaptureFixture[str], error_of: ErrorOf
) -> None:
    answered(1)
    answered(3)
    table = pd.read_parquet(built.build / "data" / "train.parquet")
    bad = built.root / "bad.csv"
    table.iloc[[550, 551]][["PassengerId"]].to_csv(bad, index=False)
    assert built.ml("recall", "--rows", str(bad), "--why", "a sensor stood still") == 0
    said = capsys.readouterr()
    assert "2 rows are marked bad; versions trained on them: 3" in said.err
    assert "production: from version 3 to version 2" in said.out
    assert three.channel("production").version == 2
    [listed] = csv.DictReader((built.build / "recall-1.csv").open())
    assert (listed["version"], listed["request"]) == ("3", "a" * 31 + "3")

    assert built.ml("rollback", "--to", "3") == 1
    assert "trained on recalled data (recall 1: a sensor stood still)" in error_of()
    assert built.ml("data") == 0
    assert "2 rows are left out by recall 1" in capsys.readouterr().err
    rows = pd.read_parquet(built.build / "data" / "train.parquet")
    assert not set(rows["PassengerId"]) & set(table.iloc[[550, 551]]["PassengerId"])

    assert built.ml("recall", "--undo", "1") == 0
    assert recall_of(three, 3) is None and active(three) == []
    assert built.ml("rollback", "--to", "3") == 0
    assert built.ml("recall", "--undo", "1") == 1
    assert "was undone already" in error_of()
    assert built.ml("recall") == 0
    assert "a sensor stood still" in capsys.readouterr().out


def test_a_row_that_was_mended_since_is_learned_from_again(built: Site, three: Registry) -> None:
    file = built.project / "data" / "train.csv"
    table = pd.read_csv(file)
    bad = built.root / "bad.csv"
    table.head(3).to_csv(bad, index=False)
    assert built.ml("recall", "--rows", str(bad), "--why", "wrong ages") == 0
    assert built.ml("data") == 0
    assert json.loads((built.build / "data" / "manifest.json").read_text())["rows_in"]["labelled"] == 888
    table.assign(Age=table["Age"].where(table.index > 2, 33.0)).to_csv(file, index=False)
    assert built.ml("data") == 0
    assert json.loads((built.build / "data" / "manifest.json").read_text())["rows_in"]["labelled"] == 891


def test_ids_that_no_version_knows_are_told(
    built: Site, three: Registry, capsys: pytest.CaptureFixture[str]
) -> None:
    bad = built.root / "bad.csv"
    bad.write_text("PassengerId\n1\n70000\n70001\n")
    assert built.ml("recall", "--rows", str(bad), "--why", "typed by hand") == 0
    assert "2 of these rows are in no version: are their ids written so?" in capsys.readouterr().err


def test_a_whole_data_version_is_recalled_by_its_hash(
    built: Site, three: Registry, capsys: pytest.CaptureFixture[str], error_of: ErrorOf
) -> None:
    version = three.data_manifest(2).version
    assert built.ml("recall", "--data", version[:10], "--why", "the wrong export") == 0
    assert "versions trained on them: 1, 2, 3" in (said := capsys.readouterr()).err
    assert "production: version 3 was taken out; no version is clean" in said.out
    assert three.channel("production").version is None
    assert built.ml("recall", "--data", "0123456789", "--why", "x") == 1
    assert "no data '0123456789' of small: there are" in error_of()


def test_what_came_since_a_day_is_recalled_and_older_rows_are_not(
    built: Site, three: Registry, capsys: pytest.CaptureFixture[str], error_of: ErrorOf
) -> None:
    assert built.ml("recall", "--since", "2026-01-03", "--why", "the feed broke") == 0
    assert "versions trained on them: 3" in capsys.readouterr().err
    assert three.channel("production").version == 2
    assert built.ml("recall", "--since", "2027-01-01", "--why", "x") == 1
    assert "no version of small was made of data since 2027-01-01" in error_of()
    assert built.ml("recall", "--since", "May", "--why", "x") == 2
    assert "not a day as" in error_of()


def test_a_model_that_learned_recalled_rows_is_not_blessed(
    built: Site, three: Registry, error_of: ErrorOf
) -> None:
    bad = built.root / "bad.csv"
    pd.read_parquet(built.build / "data" / "train.parquet").tail(1)[["PassengerId"]].to_csv(bad, index=False)
    assert built.ml("recall", "--rows", str(bad), "--why", "x") == 0
    assert built.ml("quality") == 3
    assert "recall: recalled rows that it was trained on: 1 is not <= 0" in error_of()


def test_a_recall_that_was_altered_or_has_no_reason_is_refused(
    built: Site, three: Registry, error_of: ErrorOf, tmp_path: Path
) -> None:
    assert built.ml("recall", "--since", "2026-01-03") == 2
    assert "say why the data is bad" in error_of()
    assert built.ml("recall", "--since", "2026-01-03", "--why", "x") == 0
    file = three.root / "recalls" / "1.json"
    write_json(file, read_json(file) | {"undone": "yesterday"})
    assert built.ml("data") == 1
    assert "is not signed by the release key" in error_of()


def test_a_recall_holds_when_the_same_rows_are_read_otherwise(built: Site, three: Registry) -> None:
    table = pd.read_csv(built.project / "data" / "train.csv")
    bad = built.root / "bad.csv"
    table.head(3).to_csv(bad, index=False)
    assert built.ml("recall", "--rows", str(bad), "--why", "wrong ages") == 0
    lines = (built.project / "contract.py").read_text().splitlines(keepends=True)
    place = next(number for number, line in enumerate(lines) if line.startswith("    Age:"))
    lines[place], lines[place + 1] = lines[place + 1], lines[place]
    (built.project / "contract.py").write_text("".join(lines))
    assert built.ml("data") == 0
    assert json.loads((built.build / "data" / "manifest.json").read_text())["rows_in"]["labelled"] == 888
    assert set(trained_on(three, active(three), three.folder(1) / "model")) == {0, 1}
    assert built.ml("train") == 0 and built.ml("recall", "--undo", "1") == 0
    assert built.ml("recall", "--rows", str(bad), "--why", "wrong ages") == 0
    assert not trained_on(three, active(three), built.build / "model").any(), "they are in no train part"


def test_a_store_that_is_broken_takes_nothing_from_a_recall(
    built: Site, three: Registry, capsys: pytest.CaptureFixture[str], error_of: ErrorOf
) -> None:
    answered(3)
    url = locations.store("small", "production")
    assert url
    Path(url.removeprefix("sqlite:///")).write_bytes(b"no database at all" * 100)
    bad = built.root / "bad.csv"
    pd.read_parquet(built.build / "data" / "train.parquet").iloc[[550]][["PassengerId"]].to_csv(
        bad, index=False
    )
    assert built.ml("recall", "--rows", str(bad), "--why", "a sensor stood still") == 1
    said = capsys.readouterr()
    assert "--undo 1` takes it back" in said.out.replace("\n", " ")
    assert "the recall holds, but the answers of these versions cannot be listed" in said.err
    (found,) = active(three)
    assert recall_of(three, 3) and found.number == 1
    (three.root / "recalls" / "copy of 1.json").write_text("{}")
    assert built.ml("rollback", "--to", "1") == 1
    assert "copy of 1.json is no recall, which have numbers: move it away" in error_of()
