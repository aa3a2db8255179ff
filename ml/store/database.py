"""Opening the store: an SQLite file that is its owner's alone, or PostgreSQL; its schema is kept new."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from pydantic_core import PydanticSerializationError
from sqlalchemy import URL, Connection, Engine, create_engine, event, inspect, make_url, text
from sqlalchemy.exc import DataError, IntegrityError, SQLAlchemyError

from ml import locations
from ml.errors import MlError

NEWEST = "0006"  # the last of migrations/versions
MIGRATIONS = Path(__file__).parent / "migrations"
# The first schema had no number: a store of then is one that has its tables.
UNNUMBERED, FIRST_TABLE = "0001", "predictions"
NO_URL = "ML_STORE: not a database URL as sqlite:///file or postgresql+psycopg://…"
LOCK = 4711  # of PostgreSQL, for those who change a schema, or ask for a training, at once


def reason_of(error: Exception) -> str:
    """Return what the database itself says, on one line: no statement, no values."""
    return str(getattr(error, "orig", None) or error).strip().splitlines()[0]


def parsed_url(url: str) -> URL:
    """Return the parts of a store's URL; ``MlError`` for what is none, keeps nothing, or shows a password."""
    try:
        parsed = make_url(url)
    except (SQLAlchemyError, ValueError) as error:
        raise MlError(NO_URL) from error
    if parsed.get_backend_name() == "sqlite" and parsed.database in (None, "", ":memory:"):
        raise MlError(
            "ML_STORE: a database in memory keeps nothing: name a file, as in sqlite:////folder/file"
        )
    if "password" in parsed.query:
        raise MlError(
            "ML_STORE: the password is shown at its end: write it before the host, user:password@host"
        )
    return parsed


def open_store(url: str) -> Engine:
    """Return the database of a store, its schema brought up to date; an unusable URL raises ``MlError``."""
    parsed = parsed_url(url)
    try:
        # A server that is silent, and does not even say that it got a question, is given up.
        silent = {"connect_timeout": 3, "tcp_user_timeout": 30_000}
        timeout = {"timeout": 3} if parsed.get_backend_name() == "sqlite" else silent
        engine = create_engine(parsed, connect_args=timeout, hide_parameters=True, pool_pre_ping=True)
    except (SQLAlchemyError, ImportError) as error:
        raise MlError(NO_URL) from error
    if parsed.get_backend_name() == "sqlite" and parsed.database:
        _keep_private(Path(parsed.database))

        @event.listens_for(engine, "connect")
        def _write_ahead(connection: Any, _: Any) -> None:
            connection.execute("PRAGMA journal_mode=WAL")
            connection.execute("PRAGMA synchronous=NORMAL")

    with engine.connect() as connection:
        known = _number(connection)
    if known is None or known < NEWEST:
        _migrate(engine)
    elif known > NEWEST:
        engine.dispose()
        raise MlError(
            f"the store has schema {known}, and this checkout knows {NEWEST}: a newer one made it, use that"
        )
    return engine


def passes(error: Exception) -> bool:
    """Tell whether the same may be written later: the store is away, or has no room."""
    for_ever = isinstance(error, (DataError, IntegrityError, UnicodeError, PydanticSerializationError))
    return isinstance(error, (SQLAlchemyError, MlError, OSError, ValueError)) and not for_ever


def file_of(url: URL) -> tuple[int, int] | None:
    """Return which file an SQLite database is now, nothing if it is not there; of another one zeros."""
    if url.get_backend_name() != "sqlite" or not url.database:
        return 0, 0
    try:
        found = os.stat(url.database)
    except OSError:
        return None
    return found.st_dev, found.st_ino


@contextmanager
def opened(project: str, channel: str, *, none: str, failed: str) -> Iterator[Engine]:
    """Yield a channel's store; ``MlError`` says ``none`` if none is kept, ``failed`` if it cannot be had."""
    url = locations.store(project, channel)
    if url is None:
        raise MlError(f"{none}: ML_STORE is off")
    try:
        engine = open_store(url)
        try:
            yield engine
        finally:
            engine.dispose()
    except SQLAlchemyError as error:
        raise MlError(f"{failed}: {reason_of(error)}") from error


def _number(connection: Connection) -> str | None:
    """Return the number of the schema; none if the store has no table yet."""
    tables = inspect(connection).get_table_names()
    if "alembic_version" in tables:
        found = connection.execute(text("SELECT version_num FROM alembic_version")).scalar()
        return None if found is None else str(found)
    return UNNUMBERED if FIRST_TABLE in tables else None


def _migrate(engine: Engine) -> None:
    """Bring the schema up to date, one process at a time: several workers open a store at once."""
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    with alone(engine) as connection:
        config.attributes["connection"] = connection
        known = _number(connection)
        if known == UNNUMBERED and "alembic_version" not in inspect(connection).get_table_names():
            command.stamp(config, UNNUMBERED)
        if known is None or known < NEWEST:
            command.upgrade(config, NEWEST)


@contextmanager
def alone(engine: Engine) -> Iterator[Connection]:
    """Yield a connection in a transaction that nobody else is in who wants to be alone; others wait."""
    with engine.connect() as connection:
        if engine.dialect.name == "sqlite":
            connection.exec_driver_sql("PRAGMA busy_timeout=30000")
            connection.exec_driver_sql("BEGIN IMMEDIATE")
        else:
            connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": LOCK})
        yield connection
        connection.commit()


def _keep_private(file: Path) -> None:
    """Make file and folder so that only their owner reads them; SQLite's other files take the file's mode.

    A folder that was there already may hold more than the store: only its file is closed then. A file that
    is there is not opened here: to close it would end the locks that SQLite has on it for this process, and
    another process would take away the journal that this one writes.
    """
    file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    if file.parent == locations.store_folder():
        file.parent.chmod(0o700)
    if file.is_dir():
        raise MlError(f"ML_STORE: {file}: Is a directory")
    with suppress(FileExistsError):
        os.close(os.open(file, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
    for one in (file, *file.parent.glob(f"{file.name}-*")):
        with suppress(FileNotFoundError):  # another process has just finished with its journal
            one.chmod(0o600)
