"""Tables in files of every kind, one or many, and what is wrong with them told on one line."""

import gzip
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import zstandard

from ml.data.sources import files, table_files
from ml.data.sources.interface import Asked
from ml.errors import MlError
from ml.source_settings import FilesSource, Format

TABLE = pd.DataFrame({"code": ["007", "012", None], "height": [1.5, None, 2.25], "count": [1, 2, 3]})
WRITERS: dict[str, Callable[[Path], Any]] = {
    "t.csv": lambda file: TABLE.to_csv(file, index=False),
    "t.tsv": lambda file: TABLE.to_csv(file, index=False, sep="\t"),
    "t.csv.gz": lambda file: TABLE.to_csv(file, index=False),
    "t.csv.zst": lambda file: TABLE.to_csv(file, index=False),
    "t.xlsx": lambda file: TABLE.to_excel(file, index=False),
    "t.ods": lambda file: TABLE.to_excel(file, index=False),
    "t.json": lambda file: TABLE.to_json(file, orient="records"),
    "t.ndjson": lambda file: TABLE.to_json(file, orient="records", lines=True),
    "t.ndjson.gz": lambda file: TABLE.to_json(file, orient="records", lines=True),
    "t.parquet": lambda file: TABLE.to_parquet(file, index=False),
}


def read(folder: Path, name: str, **settings: Any) -> pd.DataFrame:
    source = FilesSource(labelled=name, **settings)
    asked = Asked("p", folder, folder, name, text_columns=("code",))
    return pd.concat(list(files.read(source, asked)), ignore_index=True)


@pytest.mark.parametrize("name", WRITERS)
def test_a_table_comes_back_whatever_it_is_written_in(tmp_path: Path, name: str) -> None:
    WRITERS[name](tmp_path / name)
    found = read(tmp_path, name)
    pd.testing.assert_frame_equal(found, TABLE, check_dtype=False)
    assert found["code"].iloc[0] == "007", "a column of text keeps its zeros"


def test_small_batches_give_the_same_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(table_files, "BATCH_ROWS", 2)
    for name in ("t.csv", "t.ndjson", "t.parquet"):
        WRITERS[name](tmp_path / name)
        pd.testing.assert_frame_equal(read(tmp_path, name), TABLE, check_dtype=False)


def test_how_a_text_is_written_is_declared(tmp_path: Path) -> None:
    text = "Umsätze 2024\ncode;height;count\n007;1,5;1.000\n012;keine;2\n;2,25;3\n"
    (tmp_path / "t.csv").write_bytes(text.encode("cp1252"))
    written = Format(
        separator=";", encoding="cp1252", decimal=",", thousands=".", skip_lines=1, empty=["keine"]
    )
    found = read(tmp_path, "t.csv", format=written)
    assert found["height"].tolist()[::2] == [1.5, 2.25] and found["height"].isna().tolist()[1]
    assert found["count"].tolist() == [1000, 2, 3] and found["code"].tolist()[:2] == ["007", "012"]


def test_blanks_behind_separators_are_no_part_of_names_and_values(tmp_path: Path) -> None:
    text = 'code, kind, "count, in all"\n007, a, 1\n012, "b, c", 2\n, , 3\n'
    (tmp_path / "t.csv").write_text(text)
    found = read(tmp_path, "t.csv", format=Format(skip_blanks=True))
    assert list(found) == ["code", "kind", "count, in all"]
    assert found["kind"].tolist()[:2] == ["a", "b, c"] and found["kind"].isna().tolist()[2]
    assert found["count, in all"].tolist() == [1, 2, 3]


def test_a_sheet_is_named(tmp_path: Path) -> None:
    with pd.ExcelWriter(tmp_path / "t.xlsx") as book:
        pd.DataFrame({"other": [1]}).to_excel(book, sheet_name="notes", index=False)
        TABLE.to_excel(book, sheet_name="rows", index=False)
    assert len(read(tmp_path, "t.xlsx", format=Format(sheet="rows"))) == 3
    with pytest.raises(MlError, match="cannot be read as a spreadsheet: .*June"):
        read(tmp_path, "t.xlsx", format=Format(sheet="June"))


@pytest.mark.parametrize("name", ["days/*.csv", "days"])
def test_the_files_of_a_glob_or_a_folder_follow_each_other(tmp_path: Path, name: str) -> None:
    (tmp_path / "days").mkdir()
    for day in (2, 1):
        TABLE.assign(day=day).to_csv(tmp_path / "days" / f"{day}.csv", index=False)
    (tmp_path / "days" / "README.md").write_text("not a table")
    assert read(tmp_path, name)["day"].tolist() == [1, 1, 1, 2, 2, 2]
    TABLE.to_csv(tmp_path / "days" / "3.csv", index=False)
    with pytest.raises(MlError, match=r"3.csv has other columns than .*1.csv: 'day' is only in one"):
        read(tmp_path, name)


def test_a_pipe_is_no_source(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "t.csv")
    for name in ("t.csv", "*.csv"):
        with pytest.raises(MlError, match=r"t\.csv is no plain file: write the table into one first"):
            read(tmp_path, name)


def test_a_folder_without_a_table_is_told(tmp_path: Path) -> None:
    (tmp_path / "days").mkdir()
    for name in ("days", "days/*.csv"):
        with pytest.raises(MlError, match="has no file of a table: did the source deliver"):
            read(tmp_path, name)


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("t.csv", b"", "is empty"),
        ("t.csv", None, "is missing"),
        ("t.pdf", b"%PDF", "cannot tell how to read it"),
        ("t.csv", b"code,height\n1,2,3\n", "has 3 fields, the header has 2"),
        ("t.csv", b"code;height\n1;2\n", "separated by semicolons: say so .* separator = ';'"),
        ("t.csv", b"a,b\n\xff\xfe,2\n", "cannot be read as a table: .*codec"),
        ("t.csv.gz", gzip.compress(b"code,height\n1,2\n" * 9999)[:-40], "cannot be read as a table"),
        ("t.csv.gz", b"code,height\n1,2\n", "cannot be read as a table: Not a gzipped file"),
        ("t.csv.zst", zstandard.compress(b"code,height\n1,2\n" * 9999)[:-9], "is the file cut off"),
        ("t.xlsx", b"PK\x03\x04 and no more", "cannot be read as a spreadsheet"),
        ("t.json", b'[{"code": "1"', "cannot be read as a table"),
        ("t.json", b"<html>", "cannot be read as a table"),
        ("t.ndjson", b'{"code": "1"}\n{"code"', "cannot be read as a table"),
        ("t.parquet", b"PAR1 and no more", "cannot be read as a table"),
    ],
)
def test_what_is_wrong_with_a_file_is_told(
    tmp_path: Path, name: str, content: bytes | None, told: str
) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(MlError, match=told) as caught:
        read(tmp_path, name)
    assert name in str(caught.value) and "\n" not in str(caught.value)
