"""What a person points at with `ml new --from`: how it is written is found out once, then declared."""

import re
import shutil
import tempfile
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pandas as pd

from ml.data.sources import files, url
from ml.data.sources.file_types import can_read
from ml.data.sources.first_reading import read_first
from ml.data.sources.interface import Asked
from ml.data.sources.text_format import written_as
from ml.errors import MlError, UsageError
from ml.source_settings import CatboostSource, FilesSource, Format, SqlSource, UrlSource

MAX_COPIED_BYTES = 20_000_000


@dataclass(frozen=True)
class Discovered:
    """A source as project.toml declares it, what was found out, its rows, and files to put beside.

    ``doubts`` are columns that may mean something else than what was read, and what to do then.
    """

    settings: dict[str, Any]
    told: list[str]
    table: pd.DataFrame
    copied: dict[str, Path | bytes] = field(default_factory=dict)
    doubts: dict[str, str] = field(default_factory=dict)


def discover(given: str, max_rows: int = 1_000_000, target: str = "") -> Discovered:
    """Return what ``given`` stands for; what is no table raises ``MlError`` on one line.

    A file, glob or folder · ``http(s)://…`` · ``catboost:NAME`` · ``sqlite:FILE:TABLE`` (or a query in
    a ``.sql`` file) · ``sql:VARIABLE:FILE.sql``, with an SQLAlchemy URL in that variable. At most
    ``max_rows`` rows are read; ``target`` is the column of the classes, if there are some.
    """
    kind, _, rest = given.partition(":")
    if kind in ("http", "https"):
        return _of_url(given, max_rows, target)
    if kind == "catboost":
        return _of_catboost(rest, max_rows, target)
    if kind in ("sql", "sqlite") and rest:
        return _of_database(kind, rest, max_rows, target)
    return _of_files(given, max_rows, target)


def _of_files(given: str, max_rows: int, target: str) -> Discovered:
    path = Path(given).absolute()
    asked = Asked("", Path("/"), Path("/"), str(path), target=target)
    found = files.find(asked)
    for file in found:
        if not file.exists():
            raise UsageError(f"{given} is missing: name a file, a glob, a folder, a URL or a database")
        if not can_read(file.name):
            raise MlError(
                f"{file}: cannot tell how to read it by its name: is it .csv, .xlsx, .json, .parquet?"
            )
    written, told, texts, doubts = written_as(found[0], target)
    size = sum(file.stat().st_size for file in found)
    copied: dict[str, Path | bytes] = {}
    name = str(path)
    if size <= MAX_COPIED_BYTES:
        copied = {f"data/{file.name}": file for file in found}
        name = next(iter(copied)) if len(found) == 1 else "data"
        told.append(
            f"{len(found)} file{'s' if len(found) > 1 else ''} copied into the project ({size:,} bytes)"
        )
    else:
        told.append(f"{name} stays where it is ({size:,} bytes): every agent that runs `data` must reach it")
    source = FilesSource(kind="files", labelled=str(path), format=written)
    table, more = read_first(source, replace(asked, text_columns=texts), max_rows)
    settings = {"kind": "files", "labelled": name, **_declared(written)}
    return Discovered(settings, told + more, table, copied, doubts)


def _of_url(given: str, max_rows: int, target: str) -> Discovered:
    plain = UrlSource(kind="url", labelled=given)
    asked = Asked("", Path("/"), Path("/"), given, target=target)
    written, told, texts, doubts = written_as(url.fetched(plain, asked), target)
    source = UrlSource(kind="url", labelled=given, format=written)
    settings = {"kind": "url", "labelled": given, **_declared(written)}
    table, more = read_first(source, replace(asked, text_columns=texts), max_rows)
    return Discovered(settings, told + more, table, doubts=doubts)


def _of_catboost(name: str, max_rows: int, target: str) -> Discovered:
    source = CatboostSource(
        kind="catboost",
        dataset=name,
        timeout_seconds=120,
        snapshot=FilesSource(labelled="data/train.csv", sha256={"labelled": "0" * 64}),
    )
    with tempfile.TemporaryDirectory() as scratch:
        asked = Asked("", Path("/"), Path(scratch), name, target=target)
        table, more = read_first(source, asked, max_rows)
    settings = {"kind": "files", "labelled": f"data/{name}.csv"}
    content = table.to_csv(index=False).encode()
    told = [f"catboost.datasets.{name}() was downloaded and is kept as {settings['labelled']}"]
    return Discovered(settings, told + more, table, {settings["labelled"]: content})


def _of_database(kind: str, rest: str, max_rows: int, target: str) -> Discovered:
    where, _, what = rest.rpartition(":")
    if not where:
        raise UsageError("name a database as sqlite:FILE:TABLE or sql:VARIABLE:QUERY.sql")
    copied: dict[str, Path | bytes] = {}
    if what.endswith(".sql"):
        if not Path(what).exists():
            raise UsageError(f"{what} is missing: it must hold the query")
        query = Path(what).read_bytes()
    elif kind == "sqlite" and re.fullmatch(r"\w+", what):
        query = f'SELECT *\nFROM "{what}"\n'.encode()
    else:
        raise UsageError(f"'{what}' is neither a file with a query (.sql) nor the name of a table")
    copied["query.sql"] = query
    settings: dict[str, Any] = {"kind": "sql", "labelled": "query.sql"}
    if kind == "sqlite":
        file = Path(where).absolute()
        if not file.exists():
            raise UsageError(f"{where} is missing: name an SQLite file")
        small = file.stat().st_size <= MAX_COPIED_BYTES
        settings["database"] = f"data/{file.name}" if small else str(file)
        copied |= {settings["database"]: file} if small else {}
    else:
        settings["url_from"] = where
    with tempfile.TemporaryDirectory() as scratch:
        for name, content in copied.items():
            beside = Path(scratch) / name
            beside.parent.mkdir(exist_ok=True, parents=True)
            beside.write_bytes(content) if isinstance(content, bytes) else shutil.copy(content, beside)
        source = SqlSource.model_validate(settings)
        asked = Asked("", Path(scratch), Path(scratch), "query.sql", target=target)
        table, more = read_first(source, asked, max_rows)
    told = [f"the query is kept as query.sql, the rows come from {where}", *more]
    return Discovered(settings, told, table, copied)


def _declared(written: Format) -> dict[str, Any]:
    """Return what project.toml must say of how a text is written: all that is not the plain default."""
    said = written.model_dump(exclude_defaults=True)
    return {"format": said} if said else {}
