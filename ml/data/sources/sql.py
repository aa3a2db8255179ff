"""Tables that SQL queries give, read in batches through a cursor on the server's side."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pandas as pd
from sqlalchemy import Connection, create_engine, make_url, text
from sqlalchemy.engine import URL
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from ml.data.sources.interface import BATCH_ROWS, Asked, Batches, SourceAway, secret
from ml.errors import MlError
from ml.source_settings import QueryCheck, SqlSource
from ml.store.database import reason_of

SECONDS_TO_CONNECT = 10
STEPS_BETWEEN_LOOKS = 100_000  # of SQLite's machine


def read(source: SqlSource, asked: Asked) -> Batches:
    """Yield what the query gives, after its checks; a database that cannot be reached is away."""
    query = _query(asked)
    with _connected(source, asked) as connection:
        _run_checks(source, connection)
        _check_parameters(source, query)
        found = connection.execute(text(query), _parameters(source))
        columns = list(found.keys())
        if len(set(columns)) != len(columns):
            twice = next(name for name in columns if columns.count(name) > 1)
            raise MlError(f"{asked.name}: the query gives the column '{twice}' twice: name one otherwise")
        empty = True
        for rows in found.partitions(BATCH_ROWS):
            empty = False
            yield pd.DataFrame.from_records([tuple(row) for row in rows], columns=columns, coerce_float=True)
        if empty:
            yield pd.DataFrame(columns=columns)


def origin(source: SqlSource, name: str) -> str:
    """Return where a table comes from; never the URL, which may hold a password."""
    return f"sql: {name} of {source.database or source.url_from}"


def delivered(_: SqlSource, __: Asked) -> datetime | None:
    """A database does not tell; a check of the query does."""
    return None


def size(source: SqlSource, asked: Asked) -> str:
    """Return how many rows the query gives, after its checks."""
    query = _query(asked).rstrip().rstrip(";")
    with _connected(source, asked) as connection:
        _run_checks(source, connection)
        count = connection.execute(text(f"SELECT count(*) FROM ({query}) AS asked"), _parameters(source))
        checks = f", {len(source.checks)} checks hold" if source.checks else ""
        return f"{count.scalar_one():,} rows{checks}"


def _query(asked: Asked) -> str:
    file = asked.folder / asked.name
    try:
        return file.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise MlError(f"{file} is missing: it must hold the query of the source") from error


def _url(source: SqlSource, folder: Path) -> URL:
    if source.database:
        file = folder / source.database
        if not file.exists():
            raise SourceAway(f"the database {file} is missing")
        return URL.create("sqlite", database=file.absolute().as_uri(), query={"mode": "ro", "uri": "true"})
    assert source.url_from
    try:
        return make_url(secret(source.url_from))
    except SQLAlchemyError as error:
        raise MlError(
            f"{source.url_from} is no database URL as postgresql+psycopg://user@host/name"
        ) from error


@contextmanager
def _connected(source: SqlSource, asked: Asked) -> Iterator[Connection]:
    """Connect for reading, with a limit of time; what the database says is told on one line."""
    url, told = _url(source, asked.folder), origin(source, asked.name)
    try:
        engine = create_engine(url, connect_args=_connection_options(source, url), hide_parameters=True)
    except (SQLAlchemyError, ImportError) as error:
        raise MlError(f"{told}: no driver for this database: {error}") from error
    try:
        try:
            connection = engine.connect()
        except DBAPIError as error:
            raise SourceAway(f"{told}: {_reason(error)}") from error
        with connection.execution_options(stream_results=True) as open_connection:
            _limit_time(open_connection, source)
            try:
                yield open_connection
            except SQLAlchemyError as error:
                raise MlError(f"{told}: {_reason(error)}") from error
    finally:
        engine.dispose()


def _connection_options(source: SqlSource, url: URL) -> dict[str, Any]:
    """Return what lets the database itself refuse to write, and give up after ``max_seconds``."""
    if url.get_backend_name() != "postgresql":
        return {}
    options = "-c default_transaction_read_only=on"
    if source.max_seconds:
        options += f" -c statement_timeout={int(source.max_seconds * 1000)}"
    return {"connect_timeout": SECONDS_TO_CONNECT, "options": options}


def _limit_time(connection: Connection, source: SqlSource) -> None:
    if source.max_seconds and connection.dialect.name == "sqlite":
        end = time.monotonic() + source.max_seconds
        raw: Any = connection.connection.driver_connection
        raw.set_progress_handler(lambda: time.monotonic() > end, STEPS_BETWEEN_LOOKS)


def _reason(error: SQLAlchemyError) -> str:
    told = reason_of(error)
    return "took longer than max_seconds" if "interrupted" in told or "statement timeout" in told else told


def _parameters(source: SqlSource) -> dict[str, Any]:
    today = datetime.now(UTC).date()
    days = {name: (today - timedelta(days=ago)).isoformat() for name, ago in source.days_ago.items()}
    return {**source.parameters, **days}


def _check_parameters(source: SqlSource, query: str) -> None:
    """Raise ``MlError`` for a declared parameter that no query asks for: all rows would come."""
    asked = {name for one in (query, *(check.sql for check in source.checks)) for name in _named(one)}
    if unused := [name for name in (*source.parameters, *source.days_ago) if name not in asked]:
        raise MlError(
            f"project.toml: source: no query asks for the parameter '{unused[0]}': write :{unused[0]}"
        )


def _named(query: str) -> set[str]:
    return set(text(query).compile().params)


def _run_checks(source: SqlSource, connection: Connection) -> None:
    for check in source.checks:
        found = connection.execute(text(check.sql), _parameters(source)).first()
        value = found[0] if found else None
        if not _holds(check, value):
            wanted = (
                check.equals if check.between is None else f"{check.between[0]:g} to {check.between[1]:g}"
            )
            name = check.name or " ".join(check.sql.split())
            raise MlError(f"check of the source '{name}': expected {wanted}, came {value}")


def _holds(check: QueryCheck, value: Any) -> bool:
    if check.between is None:
        return bool(value == check.equals)
    try:
        return value is not None and check.between[0] <= float(value) <= check.between[1]
    except (TypeError, ValueError):
        return False
