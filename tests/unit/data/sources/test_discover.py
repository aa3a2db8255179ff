"""How a table is written is found out once, whatever a person points at."""

import gzip
import sqlite3
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import zstandard

from ml.data.sources.discover import discover
from ml.data.sources.text_format import _marks
from ml.errors import MlError, UsageError
from tests.support import answering

TABLE = pd.DataFrame(
    {"name": [f"Müller {n}" for n in range(30)], "size": [n + 0.5 for n in range(30)], "n": 7}
)


def written(**options: Any) -> str:
    return str(TABLE.to_csv(index=False, **options))


@pytest.mark.parametrize(
    ("name", "content", "declared"),
    [
        ("t.csv", written().encode(), {}),
        ("t.csv", written().encode("utf-8-sig"), {}),
        ("t.csv", written().encode("utf-16"), {"encoding": "utf-16"}),
        ("t.csv", written().encode("cp1252"), {"encoding": "cp1252"}),
        ("t.csv", written(sep=";", decimal=",").encode(), {"separator": ";", "decimal": ","}),
        ("t.csv", written(sep="|").encode(), {"separator": "|"}),
        ("t.tsv", written(sep="\t").encode(), {}),
        ("t.csv", b"Report of May\n\n" + written().encode(), {"skip_lines": 1}),
        ("t.csv", written().replace(",", ", ").encode(), {"skip_blanks": True}),
        ("t.csv", written().replace(",3.5,", ",n.a.,").encode(), {"empty": ["n.a."]}),
        ("t.csv.gz", gzip.compress(written(sep=";").encode()), {"separator": ";"}),
        ("t.csv.zst", zstandard.compress(written().encode()), {}),
    ],
)
def test_what_differs_from_plain_is_declared(
    tmp_path: Path, name: str, content: bytes, declared: dict[str, Any]
) -> None:
    (tmp_path / name).write_bytes(content)
    found = discover(str(tmp_path / name))
    assert found.settings.get("format", {}) == declared
    assert found.settings["labelled"] == f"data/{name}" and list(found.copied) == [f"data/{name}"]
    assert len(found.table) == 30 and found.table["name"].iloc[3] == "Müller 3"
    assert found.table["size"].dtype == float


def test_cyrillic_letters_are_read(tmp_path: Path) -> None:
    text = "имя;год\n" + "".join(f"Анна Каренина;{n}\n" for n in range(30))
    (tmp_path / "t.csv").write_bytes(text.encode("cp1251"))
    found = discover(str(tmp_path / "t.csv"))
    assert list(found.table) == ["имя", "год"] and found.table["имя"].iloc[0] == "Анна Каренина"


def test_a_folder_and_a_glob_are_sources(tmp_path: Path) -> None:
    for day in (1, 2):
        TABLE.to_csv(tmp_path / f"{day}.csv", index=False)
    for given in (str(tmp_path), str(tmp_path / "*.csv")):
        found = discover(given)
        assert len(found.table) == 60 and found.settings["labelled"] == "data"
        assert set(found.copied) == {"data/1.csv", "data/2.csv"}


def test_a_large_file_stays_where_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ml.data.sources.discover.MAX_COPIED_BYTES", 10)
    TABLE.to_csv(tmp_path / "t.csv", index=False)
    found = discover(str(tmp_path / "t.csv"))
    assert found.copied == {} and found.settings["labelled"] == str(tmp_path / "t.csv")
    assert "stays where it is" in found.told[-1]


def test_a_database_gives_a_table_or_what_a_query_asks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with sqlite3.connect(tmp_path / "t.sqlite") as connection:
        TABLE.to_sql("rows", connection, index=False)
    found = discover(f"sqlite:{tmp_path / 't.sqlite'}:rows")
    assert len(found.table) == 30 and set(found.copied) == {"query.sql", "data/t.sqlite"}
    (tmp_path / "q.sql").write_text("SELECT name FROM rows WHERE size > 10")
    assert len(discover(f"sqlite:{tmp_path / 't.sqlite'}:{tmp_path / 'q.sql'}").table) == 20
    monkeypatch.setenv("ROWS_DATABASE", f"sqlite:///{tmp_path / 't.sqlite'}")
    found = discover(f"sql:ROWS_DATABASE:{tmp_path / 'q.sql'}")
    assert found.settings == {"kind": "sql", "labelled": "query.sql", "url_from": "ROWS_DATABASE"}
    for wrong in ("sqlite:rows", "sqlite:gone.sqlite:rows", "sql:ROWS_DATABASE:rows", "sql:X:gone.sql"):
        with pytest.raises(UsageError):
            discover(wrong)


def test_a_url_is_fetched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ML_HOME", str(tmp_path / "home"))
    (tmp_path / "other.csv").write_text("x,y\n1,2\n")
    (tmp_path / "t.csv").write_text(written(sep=";"))
    handler = partial(SimpleHTTPRequestHandler, directory=tmp_path)
    with answering(ThreadingHTTPServer(("127.0.0.1", 0), handler)) as server:
        address = f"http://127.0.0.1:{server.server_port}"
        assert len(discover(f"{address}/other.csv").table) == 1
        found = discover(f"{address}/t.csv")
    assert len(found.table) == 30
    assert found.settings == {
        "kind": "url",
        "labelled": f"{address}/t.csv",
        "format": {"separator": ";"},
    }


def test_what_is_no_table_is_told(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("<html><body>Sign in</body></html>")
    with pytest.raises(MlError, match="is a web page, not a table"):
        discover(str(tmp_path / "t.csv"))
    (tmp_path / "t.doc").write_text("x")
    with pytest.raises(MlError, match="cannot tell how to read it by its name"):
        discover(str(tmp_path / "t.doc"))
    with pytest.raises(UsageError, match="is missing: name a file"):
        discover(str(tmp_path / "nowhere.csv"))


@pytest.mark.parametrize(
    ("separator", "columns", "marks"),
    [
        (";", [["1.234,56", "12,50", "1.000.000,00"]], (",", ".")),
        (";", [["1,5", "2,25"], ["7", "8"]], (",", None)),
        (";", [["0,5", "12,5"], ["1.234", "5.678"]], (",", ".")),
        (";", [["1.234,56", "1,50"], ["01.02.2020", "11.12.2021"]], (",", ".")),
        (",", [["1,234.5", "12,000"]], (".", ",")),
        (",", [["1.5", "2.25"], ["a", "b"]], (".", None)),
        (",", [["1.234", "5.678"]], (".", None)),
        (";", [["1 234,5", "12"]], (",", " ")),
        (",", [["10'000.5", "7"]], (".", "'")),
        (",", [["1e5", "2E-3"]], (".", None)),
        (",", [["n.a.", "-"], ["a", ""]], (".", None)),
        (";", [["21.600", "9.842", "961"], ["7", "12", "3"]], (",", ".")),
        (";", [["21.600", "9.842", "1961"]], (".", None)),
        (";", [["21.600", "0.842", "961"]], (".", None)),
        (";", [["21.600", "9.842", "961"], ["1.5", "2.25", "7"]], (".", None)),
    ],
)
def test_the_marks_of_numbers_are_those_of_most_columns(
    separator: str, columns: list[list[str]], marks: tuple[str, str | None]
) -> None:
    assert _marks([list(row) for row in zip(*columns, strict=True)], separator)[:2] == marks


def test_a_table_with_points_between_thousands_and_dates_beside_is_read(tmp_path: Path) -> None:
    rows = [f"{n};{1000 * n:,}".replace(",", ".") + ",50;01.02.2020" for n in range(1, 31)]
    (tmp_path / "t.csv").write_text("id;pay;day\n" + "\n".join(rows) + "\n", encoding="utf-8")
    found = discover(str(tmp_path / "t.csv"))
    assert found.settings["format"] == {"separator": ";", "decimal": ",", "thousands": "."}
    assert found.table["day"].iloc[0] == "01.02.2020"
    assert found.table["pay"].iloc[:2].tolist() == [1000.5, 2000.5]


@pytest.mark.parametrize(("other", "doubted"), [("7", {"pieces"}), ("7.25", set())])
def test_points_that_may_stand_between_thousands_are_doubtful(
    tmp_path: Path, other: str, doubted: set[str]
) -> None:
    rows = [f"{n},{n}.{100 + n},{other}" for n in range(1, 31)]
    (tmp_path / "t.csv").write_text("id,pieces,other\n" + "\n".join(rows) + "\n")
    found = discover(str(tmp_path / "t.csv"))
    assert found.table["pieces"].iloc[0] == 1.101 and set(found.doubts) == doubted
    assert all('decimal = ",", thousands = "." }' in told for told in found.doubts.values())


def test_an_endless_first_line_is_told(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("a," * 1_500_000, encoding="utf-8")
    with pytest.raises(MlError, match="its first line has more than 2,000,000 bytes"):
        discover(str(tmp_path / "t.csv"))


def test_codes_keep_their_zeros_and_a_word_that_may_be_a_value_is_told(tmp_path: Path) -> None:
    rows = [
        f"{n},{n:03},{'NA' if n % 5 == 0 else 'DE'},{'NA' if n % 7 == 0 else n / 2}" for n in range(1, 60)
    ]
    (tmp_path / "t.csv").write_text("id,hall,country,pay\n" + "\n".join(rows) + "\n")
    found = discover(str(tmp_path / "t.csv"))
    assert found.table["hall"].tolist()[:2] == ["001", "002"]
    assert found.table["pay"].dtype == float
    assert [one for one in found.told if "read as a gap" in one] == [
        "NA in 'country' (19%) is read as a gap; it is a value if `isin` of the contract lists it"
    ]
