"""A file that is cut off, or is no table with commas, is refused before a reader fills the gaps."""

from pathlib import Path

import pandas as pd
import pytest

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
