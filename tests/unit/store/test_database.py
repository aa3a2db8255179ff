"""The store: made once whoever comes first, brought up to date with what it holds, never taken back."""

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import create_engine, insert, select, text

from ml import locations
from ml.errors import MlError
from ml.store.database import MIGRATIONS, NEWEST, open_store
from ml.store.lookup import labels_that_hold
from ml.store.tables import labels, looks, notices, schema

# As the first schema was made, before it had a number.
OF_OLD = """
CREATE TABLE predictions (request VARCHAR(32) NOT NULL, "row" INTEGER NOT NULL, at FLOAT,
    project VARCHAR(100), channel VARCHAR(100), version INTEGER, replay BOOLEAN, inputs TEXT, output TEXT,
    milliseconds FLOAT, PRIMARY KEY (request, "row"));
CREATE INDEX ix_predictions_at ON predictions (at);
CREATE TABLE compared (request VARCHAR(32) NOT NULL, "row" INTEGER NOT NULL, version INTEGER,
    candidate INTEGER, prediction TEXT, PRIMARY KEY (request, "row"));
CREATE TABLE labels (number {serial}, request VARCHAR(32), "row" INTEGER, at FLOAT, label TEXT,
    PRIMARY KEY (number));
CREATE INDEX ix_labels_request ON labels (request);
INSERT INTO labels (number, request, "row", at, label) VALUES (1, 'a', 0, 5.0, '1')
"""


def test_the_migrations_make_the_tables_that_the_code_knows(store_url: str) -> None:
    engine = open_store(store_url)
    with engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), schema) == []
    engine.dispose()
    assert ScriptDirectory(str(MIGRATIONS)).get_current_head() == NEWEST


def test_a_store_of_old_is_brought_up_to_date_with_what_it_holds(store_url: str) -> None:
    if store_url.startswith("sqlite"):
        Path(store_url.removeprefix("sqlite:///")).parent.mkdir()
    before = create_engine(store_url)
    with before.begin() as connection:
        serial = "SERIAL" if before.dialect.name == "postgresql" else "INTEGER NOT NULL"
        for statement in OF_OLD.format(serial=serial).split(";\n"):
            connection.execute(text(statement))
    before.dispose()
    engine = open_store(store_url)
    with engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), schema) == []
        assert connection.execute(select(labels.c.label, labels.c.since)).all() == [("1", None)]
    engine.dispose()


def test_many_workers_may_open_a_new_store_at_once(store_url: str) -> None:
    def use(number: int) -> None:
        engine = open_store(store_url)
        with engine.begin() as connection:
            connection.execute(insert(looks), {"project": "p", "cause": str(number)})
        engine.dispose()

    with ThreadPoolExecutor(8) as workers:
        list(workers.map(use, range(8)))
    engine = open_store(store_url)
    with engine.connect() as connection:
        assert len(connection.execute(select(looks)).all()) == 8
    engine.dispose()


def test_a_store_that_a_newer_checkout_made_is_not_touched(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'store.sqlite'}"
    engine = open_store(url)
    with engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    engine.dispose()
    with pytest.raises(MlError, match="the store has schema 9999, and this checkout knows"):
        open_store(url)


def test_of_several_labels_the_latest_by_its_own_time_holds(store_url: str) -> None:
    engine = open_store(store_url)
    given = [  # request, came, came true, label
        ("once", 5.0, None, "1"),
        ("corrected", 5.0, None, "1"),
        ("corrected", 6.0, None, "0"),
        ("out of order", 5.0, 3.0, "1"),
        ("out of order", 6.0, 2.0, "0"),
        ("at the same time", 5.0, 3.0, "1"),
        ("at the same time", 6.0, 3.0, "0"),
    ]
    with engine.begin() as connection:
        connection.execute(
            insert(labels),
            [{"request": a, "row": 0, "at": b, "since": c, "label": d} for a, b, c, d in given],
        )
        foreign = {"request": "once", "row": 0, "at": 9.0, "label": "0", "project": "another", "channel": "c"}
        own = foreign | {"request": "own", "label": "1", "project": "p"}
        connection.execute(insert(labels), [foreign, own, own | {"at": 10.0, "label": "0", "channel": "d"}])
        holds = labels_that_hold("p", "c")
        found = {one.request: one.label for one in connection.execute(select(holds))}
    engine.dispose()
    assert found.pop("own") == "1", "what another channel was told is none of it"
    assert found == {"once": "1", "corrected": "0", "out of order": "1", "at the same time": "0"}


def test_a_store_opened_twice_in_a_process_keeps_what_others_write_meanwhile(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'store.sqlite'}"
    row = {"project": "p", "topic": "t", "at": 0.0}
    code = "import sys; from ml.store.database import open_store; open_store(sys.argv[1]).connect().close()"
    first = open_store(url)
    with first.begin() as connection:
        connection.execute(insert(notices), row | {"state": "before"})
    open_store(url)
    subprocess.run([sys.executable, "-c", code, url], cwd=locations.ROOT, check=True)
    with first.begin() as connection:
        connection.execute(notices.update().values(state="after"))
    first.dispose()
    with open_store(url).connect() as connection:
        assert connection.execute(select(notices.c.state)).scalars().all() == ["after"]
