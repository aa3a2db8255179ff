"""Labels out of a file: all or none, each counted by what it is."""

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import insert, select

from ml import locations
from ml.store.database import open_store
from ml.store.lookup import labels_that_hold
from ml.store.tables import predictions
from tests.conftest import Site
from tests.support import ErrorOf

ASKED = [f"{number:032x}" for number in range(4)]


@pytest.fixture
def answered(site: Site) -> Site:
    """Return a site whose store holds four answers."""
    url = locations.store("small", "production")
    assert url
    with open_store(url).begin() as connection:
        about = {"row": 0, "project": "small", "channel": "production"}
        connection.execute(insert(predictions), [about | {"request": one} for one in ASKED])
    return site


def held() -> dict[str, object]:
    url = locations.store("small", "production")
    assert url
    with open_store(url).connect() as connection:
        return {
            one.request: json.loads(one.label)
            for one in connection.execute(select(labels_that_hold("small", "production")))
        }


def test_labels_of_a_file_are_taken_and_counted(
    answered: Site, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "labels.csv"
    file.write_text(f"request_id,row,label,at\n{ASKED[0]},0,1,\n{ASKED[1]},,0,2026-01-02T00:00:00Z\n")
    assert answered.ml("labels", str(file)) == 0
    assert capsys.readouterr().out == "2 labels taken: 2 new\n"
    lines = [
        {"request_id": ASKED[0], "label": 1},
        {"request_id": ASKED[1], "label": 1, "at": "2026-01-01T00:00:00+01:00"},
        {"request_id": "f" * 32, "label": 1},
        {"request_id": ASKED[2], "label": 0, "at": datetime.now(UTC).isoformat()},
    ]
    more = tmp_path / "more.ndjson"
    more.write_text("".join(json.dumps(one) + "\n" for one in lines))
    assert answered.ml("labels", str(more)) == 0
    told = capsys.readouterr().out
    for kind in (
        "1 new",
        "1 told again",
        "1 that say otherwise than before",
        "1 of rows that nobody asked for",
    ):
        assert kind in told
    assert held() == {ASKED[0]: 1, ASKED[1]: 0, ASKED[2]: 0, "f" * 32: 1}, (
        "the later one by its own time holds"
    )


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("", "holds no label: it needs the columns request_id and label"),
        ("request_id,label\n", "holds no label"),
        (f"request_id,label\n{ASKED[0]},1\nnonsense,1\n", "line 3: request_id"),
        (f"request_id,label\n{ASKED[0]},maybe\n", "line 2: label"),
        (f"request_id,label\n{ASKED[0]},7\n", "line 2: label"),
        (f"request_id,label\n{ASKED[0]},\n", "line 2: label"),
        (f"request_id,label,at\n{ASKED[0]},1,2026-01-02T00:00:00\n", "line 2: at"),
        (f"request_id,label,price\n{ASKED[0]},1,3\n", "line 2: price"),
        ("request_id,label\n\udcff", "after line 0: this is no CSV or NDJSON text in UTF-8"),
    ],
)
def test_of_a_file_with_a_line_that_is_none_nothing_is_taken(
    answered: Site, tmp_path: Path, error_of: ErrorOf, content: str, told: str
) -> None:
    file = tmp_path / "labels.csv"
    file.write_text(content, errors="surrogateescape")
    assert answered.ml("labels", str(file)) == 1
    assert told in error_of()
    assert held() == {}


def test_json_that_is_nested_without_end_is_told(answered: Site, tmp_path: Path, error_of: ErrorOf) -> None:
    file = tmp_path / "labels.ndjson"
    file.write_text("[" * 100_000)
    assert answered.ml("labels", str(file)) == 1
    assert "after line 0: nested too deeply" in error_of()


def test_a_file_that_is_not_there_is_named(answered: Site, tmp_path: Path, error_of: ErrorOf) -> None:
    assert answered.ml("labels", str(tmp_path / "none.csv")) == 1
    assert "none.csv" in error_of()
