"""The tables of the prediction log, in whichever database; an SQLite file is its owner's alone."""

import os
import time
from pathlib import Path
from typing import Any

from sqlalchemy import (
    Boolean,
    Column,
    Engine,
    Float,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    create_engine,
    event,
    make_url,
)
from sqlalchemy.exc import SQLAlchemyError

from ml import locations
from ml.errors import MlError

schema = MetaData()
predictions = Table(
    "predictions",
    schema,
    Column("request", String(32), primary_key=True),
    Column("row", Integer, primary_key=True),
    Column("at", Float, index=True),  # Unix time
    Column("project", String(100)),
    Column("channel", String(100)),
    Column("version", Integer),
    Column("replay", Boolean),  # sent by a deploy, not by a client
    Column("inputs", Text),
    Column("output", Text),
    Column("milliseconds", Float),
)
# What the other version of a trial said of the same rows
compared = Table(
    "compared",
    schema,
    Column("request", String(32), primary_key=True),
    Column("row", Integer, primary_key=True),
    Column("version", Integer),
    Column("candidate", Integer),
    Column("prediction", Text),
)
labels = Table(
    "labels",
    schema,
    Column("number", Integer, primary_key=True),
    Column("request", String(32), index=True),
    Column("row", Integer),
    Column("at", Float),
    Column("label", Text),
)


def reason_of(error: Exception) -> str:
    """Return what the database itself says, on one line: no statement, no values."""
    return str(getattr(error, "orig", None) or error).strip().splitlines()[0]


def open_log(url: str) -> Engine:
    """Return a prediction log's database with its tables made; an unusable URL raises ``MlError``."""
    try:
        parsed = make_url(url)
        timeout = {"timeout": 3} if parsed.get_backend_name() == "sqlite" else {"connect_timeout": 3}
        engine = create_engine(parsed, connect_args=timeout, hide_parameters=True, pool_pre_ping=True)
    except (SQLAlchemyError, ImportError) as error:
        raise MlError(
            "ML_PREDICTIONS: not a database URL as sqlite:///file or postgresql+psycopg://…"
        ) from error
    if parsed.get_backend_name() == "sqlite" and parsed.database:
        _keep_private(Path(parsed.database))

        @event.listens_for(engine, "connect")
        def _write_ahead(connection: Any, _: Any) -> None:
            connection.execute("PRAGMA journal_mode=WAL")
            connection.execute("PRAGMA synchronous=NORMAL")

    try:
        schema.create_all(engine)
    except SQLAlchemyError:  # another worker may have made them at this very moment
        time.sleep(0.2)
        schema.create_all(engine)
    return engine


def _keep_private(file: Path) -> None:
    """Make file and folder so that only their owner reads them; SQLite's other files take the file's mode.

    A folder that was there already may hold more than the log: only its file is closed then.
    """
    file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    if file.parent == locations.predictions_folder():
        file.parent.chmod(0o700)
    os.close(os.open(file, os.O_RDWR | os.O_CREAT, 0o600))
    for one in (file, *file.parent.glob(f"{file.name}-*")):
        one.chmod(0o600)
