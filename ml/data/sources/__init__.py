"""How data comes in: one module a kind of source, found through ``module_of``."""

import dataclasses
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from ml.console import say
from ml.data.completeness import check_count
from ml.data.sources.interface import Asked, Batches, Received, SourceAway, Tables
from ml.errors import MlError
from ml.project import Project
from ml.source_settings import (
    Agreed,
    AnySource,
    CatboostSource,
    DvcSource,
    FeedbackSource,
    FilesSource,
    Role,
    SqlSource,
    UrlSource,
    agreed_of,
)

if TYPE_CHECKING:
    import pandas as pd

ROLES: tuple[Role, ...] = ("labelled", "unlabelled")


def module_of(source: AnySource) -> ModuleType:
    """Return the module that reads a kind of source; those of the others are not loaded.

    Each offers read(source, asked) -> Batches, origin(source, name) -> str, and
    delivered(source, asked) -> datetime | None. If it can tell without reading: size(source, asked) -> str;
    state(source, asked), which stays equal as long as the rows do, or None.
    """
    match source:
        case FilesSource():
            from ml.data.sources import files

            return files
        case UrlSource():
            from ml.data.sources import url

            return url
        case SqlSource():
            from ml.data.sources import sql

            return sql
        case FeedbackSource():
            from ml.data.sources import feedback

            return feedback
        case DvcSource():
            from ml.data.sources import dvc

            return dvc
        case CatboostSource():
            from ml.data.sources import catboost_dataset

            return catboost_dataset
    raise MlError(f"{type(source).__name__}: no module reads this kind of source")


Receiver = Callable[[Batches, Role], Received]


def fetch(project: Project, receive: Receiver[Received]) -> Tables[Received]:
    """Fetch the tables of a project from the source it declares; what cannot be had raises ``MlError``.

    ``receive`` gets the rows of a table in batches, and which table it is; what it returns of them is
    returned. A snapshot, if there is one, stands in for a source that is away, even half-way.
    """
    with tempfile.TemporaryDirectory() as scratch:
        asked = ask(project, Path(scratch))
        source: AnySource = project.source
        try:
            return read_tables(source, asked, receive)
        except SourceAway as away:
            if source.snapshot is None:
                raise
            name = origin(source, "labelled").removeprefix("files: ")
            say(f"data: {name} cannot be reached ({away}); using the committed snapshot")
        found, snapshot = read_tables(source.snapshot, asked, receive), source.snapshot
        return dataclasses.replace(
            found,
            origin=f"snapshot: {snapshot.labelled}",
            unlabelled_origin=f"snapshot: {snapshot.unlabelled}",
        )


def state(project: Project) -> dict[str, Any] | None:
    """Return what stays equal as long as the source delivers the same; none if only reading it tells."""
    try:
        return _state(project.source, Asked(project.name, project.folder, project.folder, ""))
    except (MlError, OSError):  # which who reads it tells, too
        return None


def _state(source: AnySource, asked: Asked) -> dict[str, Any] | None:
    agreed, module = agreed_of(source), module_of(source)
    if agreed.max_age_days is not None or not hasattr(module, "state"):
        return None
    roles = [role for role in ROLES if getattr(agreed, role) is not None]
    named = [dataclasses.replace(asked, name=name_of(source, role), role=role) for role in roles]
    parts = [module.state(source, one) for one in named]
    parts += [_state(other, asked) for other in (*(join.source for join in agreed.join), *agreed.append)]
    return None if None in parts else {"declared": source.model_dump(mode="json"), "parts": parts}


def origin(source: AnySource, role: Role) -> str:
    """Return where a table of a source comes from."""
    told: str = module_of(source).origin(source, name_of(source, role))
    return told


def ask(project: Project, scratch: Path) -> Asked:
    """Return what is asked of whatever source a project has."""
    from ml.data.contract import load_contract, text_columns
    from ml.data.gap_words import words_that_are_values

    contract = load_contract(project)
    # A key that the contract does not know is no number: 012 is not 12.
    keys = sorted(_keys(agreed_of(project.source)) - set(contract.columns))
    return Asked(
        project.name,
        project.folder,
        scratch,
        "",
        text_columns=(*text_columns(contract), *keys),
        words=words_that_are_values(contract),
        target=project.target,
        id=project.id,
        personal=tuple(project.personal),
        contract=contract,
    )


def _keys(agreed: Agreed) -> set[str]:
    """Return the columns by which a table, or one that stands for it or is added to it, is joined."""
    others = [*(one.source for one in agreed.join), *agreed.append]
    others += [agreed.snapshot] if agreed.snapshot else []
    return {name for join in agreed.join for name in join.on}.union(
        *(_keys(agreed_of(one)) for one in others)
    )


def name_of(source: AnySource, role: Role) -> str:
    """Return what the source calls a table."""
    return str(getattr(agreed_of(source), role))


def whole(rows: Batches, _: Role) -> "pd.DataFrame":
    """Return a table that is known to fit into memory."""
    import pandas as pd

    table: pd.DataFrame = pd.concat(list(rows), ignore_index=True)
    return table


def first_rows(batches: Batches, most: int) -> "pd.DataFrame":
    """Return so many rows at most; the source is asked for no more of them."""
    import pandas as pd

    taken, count = [], 0
    for batch in batches:
        taken.append(batch)
        count += len(batch)
        if count >= most:
            break
    rows: pd.DataFrame = pd.concat(taken, ignore_index=True)
    return rows.head(most)


def read_tables(source: AnySource, asked: Asked, receive: Receiver[Received]) -> Tables[Received]:
    """Return what is received of the tables of a source; its snapshot does not stand in for it."""
    labelled = receive(batches(source, asked, "labelled"), "labelled")
    if agreed_of(source).unlabelled is None:
        return Tables(labelled, None, origin(source, "labelled"))
    unlabelled = receive(batches(source, asked, "unlabelled"), "unlabelled")
    return Tables(labelled, unlabelled, origin(source, "labelled"), origin(source, "unlabelled"))


def batches(source: AnySource, asked: Asked, role: Role) -> Batches:
    """Yield the rows of a table with what is joined and appended; what was agreed on must hold."""
    from ml.data.as_text import as_text
    from ml.data.sources.partners import Partner

    agreed = agreed_of(source)
    told, module = origin(source, role), module_of(source)
    asked = dataclasses.replace(asked, name=name_of(source, role), role=role)
    started, rows = time.monotonic(), 0
    known: set[Any] = set()
    appended = agreed.append if role == "labelled" else []
    if agreed.max_age_days is not None:
        check_age(told, module.delivered(source, asked), agreed.max_age_days)
    partners = [
        Partner(
            join,
            origin(join.source, "labelled"),
            list(batches(join.source, asked, "labelled")),
            asked.text_columns,
        )
        for join in agreed.join
    ]
    columns: list[str] = []
    for batch in module.read(source, asked):
        batch = as_text(batch, asked.text_columns)
        if agreed.number_rows:
            if agreed.number_rows in batch:
                raise MlError(
                    f"project.toml: source.number_rows: the table has a column '{agreed.number_rows}' already"
                )
            batch = number_rows(batch, agreed.number_rows, rows)
        rows += len(batch)
        if (limit := getattr(source, "max_seconds", None)) and time.monotonic() - started > limit:
            raise MlError(
                f"{told}: {rows} rows came within {limit:g} s, and then the time was over (max_seconds)"
            )
        for partner in partners:
            batch = partner.add(batch)
        columns = columns or list(map(str, batch))
        if appended and asked.id in batch:
            known.update(batch[asked.id])
        yield batch
    for partner in partners:
        partner.check()
    check_count(f"{told}, {role} table", rows, agreed.rows.get(role), agreed.min_rows.get(role))
    for other in appended:
        yield from _appended(other, asked, columns, known)


def number_rows(rows: "pd.DataFrame", name: str, before: int = 0) -> "pd.DataFrame":
    """Return rows with a first column that numbers them, after so many rows before."""
    numbered = rows.copy()
    numbered.insert(0, name, range(before + 1, before + 1 + len(rows)))
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


def check_age(told: str, when: datetime | None, most_days: float) -> None:
    """Raise ``MlError`` if the newest delivery is older than agreed on, or does not tell its age."""
    if when is None:
        raise MlError(
            f"{told}: it does not tell its age: take max_age_days out and use data_gates.timeliness"
        )
    if (age := age_days(when)) > most_days:
        raise MlError(
            f"{told}: delivered {age:.1f} days ago, max_age_days allows {most_days:g}: did the source "
            "deliver?"
        )


def age_days(when: datetime) -> float:
    """Return how many days ago something was."""
    return (datetime.now(UTC) - when).total_seconds() / 86400
