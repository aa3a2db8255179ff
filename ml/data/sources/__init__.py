"""How data comes in: one module a kind of source, found through the table below."""

import dataclasses
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from types import ModuleType
from typing import Any

import pandas as pd
from pandas.api import types

from ml.console import say
from ml.data.completeness import check_count
from ml.data.contract import load_contract
from ml.data.sources import catboost_dataset, dvc, feedback, files, sql, url
from ml.data.sources.interface import Asked, Batches, SourceAway, Tables
from ml.data.sources.partners import Partner
from ml.errors import MlError
from ml.project import Project
from ml.source_settings import (
    Agreed,
    CatboostSource,
    DvcSource,
    FeedbackSource,
    FilesSource,
    Role,
    SqlSource,
    UrlSource,
)

# Each module offers read(source, asked) -> Batches, origin(source, name) -> str, and
# delivered(source, asked) -> datetime | None; size(source, asked) -> str, if it can tell without reading.
SOURCES: dict[type[Any], ModuleType] = {
    FilesSource: files,
    UrlSource: url,
    SqlSource: sql,
    FeedbackSource: feedback,
    DvcSource: dvc,
    CatboostSource: catboost_dataset,
}
AnySource = Agreed | CatboostSource


def fetch(project: Project) -> Tables:
    """Fetch the tables of a project from the source it declares; what cannot be had raises ``MlError``.

    A snapshot, if there is one, stands in for a source that is away.
    """
    with tempfile.TemporaryDirectory() as scratch:
        asked = ask(project, Path(scratch))
        source: AnySource = project.source
        try:
            return _tables(source, asked)
        except SourceAway as away:
            if source.snapshot is None:
                raise
            name = origin(source, "labelled").removeprefix("files: ")
            say(f"data: {name} cannot be reached ({away}); using the committed snapshot")
        found, snapshot = _tables(source.snapshot, asked), source.snapshot
        return dataclasses.replace(
            found,
            origin=f"snapshot: {snapshot.labelled}",
            unlabelled_origin=f"snapshot: {snapshot.unlabelled}",
        )


def origin(source: AnySource, role: Role) -> str:
    """Return where a table of a source comes from."""
    told: str = SOURCES[type(source)].origin(source, name_of(source, role))
    return told


def ask(project: Project, scratch: Path) -> Asked:
    """Return what is asked of whatever source a project has."""
    contract = load_contract(project)
    text = [name for name, column in contract.columns.items() if types.is_string_dtype(column.dtype.type)]
    return Asked(
        project.name,
        project.folder,
        scratch,
        "",
        text_columns=tuple(text),
        target=project.target,
        id=project.id,
        personal=tuple(project.personal),
    )


def name_of(source: AnySource, role: Role) -> str:
    """Return what the source calls a table."""
    return str(getattr(agreed_of(source), role))


def agreed_of(source: AnySource) -> Agreed:
    """Return what is agreed on of a source's tables; of a published data set its snapshot says so."""
    return source.snapshot if isinstance(source, CatboostSource) else source


def _tables(source: AnySource, asked: Asked) -> Tables:
    told = agreed_of(source)
    labelled = pd.concat(list(batches(source, asked, "labelled")), ignore_index=True)
    if told.unlabelled is None:
        return Tables(labelled, None, origin(source, "labelled"))
    unlabelled = pd.concat(list(batches(source, asked, "unlabelled")), ignore_index=True)
    return Tables(labelled, unlabelled, origin(source, "labelled"), origin(source, "unlabelled"))


def batches(source: AnySource, asked: Asked, role: Role) -> Batches:
    """Yield the rows of a table with what is joined and appended; what was agreed on must hold."""
    agreed = agreed_of(source)
    told, module = origin(source, role), SOURCES[type(source)]
    asked = dataclasses.replace(asked, name=name_of(source, role), role=role)
    started, rows, known = time.monotonic(), 0, set()
    joins = [] if isinstance(source, CatboostSource) else source.join
    appended = [] if isinstance(source, CatboostSource) or role == "unlabelled" else source.append
    if isinstance(source, Agreed):
        check_age(source, asked)
    partners = [
        Partner(join, origin(join.source, "labelled"), list(batches(join.source, asked, "labelled")))
        for join in joins
    ]
    columns: list[str] = []
    for batch in module.read(source, asked):
        if agreed.number_rows:
            batch = _numbered(batch, agreed.number_rows, rows)
        rows += len(batch)
        if (limit := getattr(source, "max_seconds", None)) and time.monotonic() - started > limit:
            raise MlError(
                f"{told}: {rows} rows came within {limit:g} s, and then the time was over (max_seconds)"
            )
        for partner in partners:
            batch = partner.add(batch)
        columns = columns or list(batch)
        if appended and asked.id in batch:
            known.update(batch[asked.id])
        yield batch
    for partner in partners:
        partner.check()
    check_count(f"{told}, {role} table", rows, agreed.rows.get(role), agreed.min_rows.get(role))
    for other in appended:
        yield from _appended(other, asked, columns, known)


def _numbered(batch: pd.DataFrame, name: str, before: int) -> pd.DataFrame:
    if name in batch:
        raise MlError(f"project.toml: source.number_rows: the table has a column '{name}' already")
    numbered = batch.copy()
    numbered.insert(0, name, range(before + 1, before + 1 + len(batch)))
    return numbered


def _appended(source: Agreed, asked: Asked, columns: list[str], known: set[Any]) -> Batches:
    """Yield the rows of another table in the columns of the first; an id already there is left out."""
    told, count, twice, missing = origin(source, "labelled"), 0, 0, set()
    for batch in batches(source, asked, "labelled"):
        if more := [str(name) for name in batch if name not in columns]:
            raise MlError(f"{told}: its column '{more[0]}' is not in the table to which it is appended")
        missing |= set(columns) - set(batch)
        if asked.id in batch:
            again = batch[asked.id].isin(known)
            twice += int(again.sum())
            batch = batch[~again].drop_duplicates(asked.id, keep="last")
            known.update(batch[asked.id])
        count += len(batch)
        yield batch.reindex(columns=columns)
    notes = [f"{count} rows appended"]
    notes += [f"{twice} left out whose {asked.id} is there already"] if twice else []
    notes += [f"without {', '.join(sorted(missing))}"] if missing else []
    say(f"data: {told}: {', '.join(notes)}")


def check_age(source: Agreed, asked: Asked) -> None:
    """Raise ``MlError`` if the newest delivery is older than agreed on."""
    if source.max_age_days is None:
        return
    told, when = origin(source, asked.role), SOURCES[type(source)].delivered(source, asked)
    if when is None:
        raise MlError(
            f"{told}: it does not tell its age: take max_age_days out and use data_gates.timeliness"
        )
    age = (datetime.now(UTC) - when).total_seconds() / 86400
    if age > source.max_age_days:
        raise MlError(
            f"{told}: delivered {age:.1f} days ago, max_age_days allows {source.max_age_days:g}: did the "
            "source deliver?"
        )
