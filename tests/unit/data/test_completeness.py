"""A file that is cut off, or is no table with commas, is refused before a reader fills the gaps."""

from pathlib import Path

import pandas as pd
import pytest

from ml.data import completeness
from ml.data.completeness import check_file
from ml.errors import MlError
from ml.project import find_project
from tests.conftest import Site
from tests.support import ErrorOf

WHOLE = b'id,name,age\n1,"Braund, Mr. Owen",22\n2,"Smith ""Jim"", Mr.",\n'


def written(folder: Path, content: bytes) -> Path:
    (folder / "rows.csv").write_bytes(content)
    return folder / "rows.csv"


@pytest.mark.parametrize(
    "content",
    [
        WHOLE,
        WHOLE.replace(b"\n", b"\r\n"),
        b"\xef\xbb\xbf" + WHOLE,
        WHOLE + b"\n\n",
        WHOLE.replace(b"Owen", b"Owen\nHarris"),
        WHOLE.replace(b"Owen", "Öwen\u2028".encode()),
        b"only\n1\n2\n",
        b"",
        b"\xff\xfe\x00",
    ],
)
def test_a_whole_file_passes(tmp_path: Path, content: bytes) -> None:
    check_file(written(tmp_path, content))


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (WHOLE[:-1], "the last line has no line break"),
        (WHOLE[:-2], "the row that ends in line 3 has 2 fields, the header has 3"),
        (WHOLE[:-8], "ends within quotes"),
        (WHOLE + b"3,x\n", "the row that ends in line 4 has 2 fields"),
        (WHOLE.replace(b"22", b"22,"), "the row that ends in line 2 has 4 fields"),
        (b"id;age\n1;2,5\n", "its columns are separated by semicolons"),
        (b"id\tage\n1\t2\n", "its columns are separated by tabs"),
    ],
)
def test_what_is_wrong_with_a_file_is_told(tmp_path: Path, content: bytes, told: str) -> None:
    with pytest.raises(MlError) as caught:
        check_file(written(tmp_path, content))
    assert told in str(caught.value) and "rows.csv" in str(caught.value)


def test_a_counted_file_needs_no_last_line_break(tmp_path: Path) -> None:
    check_file(written(tmp_path, WHOLE[:-1]), counted=True)


@pytest.mark.parametrize("share", [0.9, 0.5, 0.999])
def test_a_cut_table_is_refused_without_a_champion(site: Site, error_of: ErrorOf, share: float) -> None:
    file = site.project / "data" / "train.csv"
    content = file.read_bytes()
    file.write_bytes(content[: int(len(content) * share)])
    assert site.ml("data") == 1
    assert "train.csv: " in error_of()


def test_the_number_of_rows_may_be_agreed_on(site: Site, error_of: ErrorOf) -> None:
    line = 'labelled = "data/train.csv"'
    site.edit("project.toml", line, f"{line}\nrows = {{labelled = 891}}")
    assert site.ml("data") == 0
    assert find_project("small").source.rows == {"labelled": 891}  # type: ignore[union-attr]
    file = site.project / "data" / "train.csv"
    pd.read_csv(file).head(890).to_csv(file, index=False)
    assert site.ml("data") == 1
    assert "train.csv, labelled table: 890 rows, and project.toml agrees on 891" in error_of()


@pytest.mark.parametrize(
    ("content", "plain"),
    [
        (b"a,b\n1,2\n3,4\n", True),
        (b"a,b\r\n1,2\r\n", True),
        (b'a,b\n1,"2,3"\n"x ""y"", z",4\n', True),
        (b'a,b\n1,"2\n3"\n', True),
        (b"a,b\n1,2\n3\n", False),
        (b"a,b\n1,2\n\n", False),
        (b"a,b\n1,2\n3,4", False),
        (b"a,b\n1,2,\n3\n", False),
        (b'a,b\n5" wide,2\n3\n6" wide,4\n', False),
        (b'a,b\n1,"2\n3,4\n', False),
        (b"a,b\n1,2\r3,4\n", False),
        (b"a\n1\n", False),
        (b"", False),
    ],
)
def test_only_what_is_plain_is_taken_for_whole_at_a_glance(
    tmp_path: Path, content: bytes, plain: bool
) -> None:
    file = tmp_path / "table.csv"
    file.write_bytes(content)
    assert completeness._is_plain(file, ",", "utf-8", 0, counted=False) == plain
    if plain:
        check_file(file)


def test_blocks_may_end_anywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "table.csv"
    for size in range(1, 40):
        monkeypatch.setattr(completeness, "BLOCK_BYTES", size)
        file.write_bytes(b"a,b\n" + b"11,22\n" * 20)
        check_file(file)
        file.write_bytes(b"a,b\n" + b"11,22\n" * 20 + b"11\n" + b"11,22\n")
        with pytest.raises(MlError, match="line 22 has 1 fields"):
            check_file(file)
