"""`ml recall`: data is marked bad, and what was made of it is taken out of service; nothing is deleted."""

import csv
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING

from rich.table import Column, Table

from ml import locations
from ml.console import say
from ml.errors import MlError, UsageError
from ml.project import Project
from ml.records import DataManifest, Verdict
from ml.registry.data_versions import MIN_SIGNS
from ml.registry.versions import Registry
from ml.results import results
from ml.workspace import ROWS_FILE, Workspace

if TYPE_CHECKING:
    import pandas as pd


def show_recalls(project: Project) -> None:
    """Print every recall, and whether it holds."""
    from ml.registry.recalls import recalls

    table = Table(
        "recall", "what", "rows", "at", "by", Column("why", overflow="fold"), "holds", title=project.name
    )
    for one in recalls(Registry(project.name)):
        holds = f"undone {one.undone}" if one.undone else "yes"
        table.add_row(str(one.number), one.what, str(one.rows), one.at, one.by, one.why, holds)
    results.print(table)


def undo_recall(project: Project, number: int) -> None:
    """Let a recall hold no more; versions that it took out can be returned to."""
    from ml.registry.recalls import undo

    undone = undo(Registry(project.name), number)
    results.print(f"recall {number} ({undone.what}) holds no more; `rollback --to N` brings a version back")


def recall(
    project: Project,
    build: Path,
    *,
    data: str | None = None,
    rows: Path | None = None,
    since: str | None = None,
    why: str = "",
    target: str = "local",
) -> None:
    """Mark data as bad; take every version trained on it out of its channels, and list what it answered.

    ``data`` is the hash of a data version, ``rows`` a file with bad rows (whole rows, or their ids alone),
    ``since`` a day: rows that first came in a build of that day or later.
    """
    from ml.registry.recalls import add, recall_of

    if not why:
        raise UsageError("say why the data is bad: --why TEXT")
    registry = Registry(project.name)
    by_id = False
    if rows is not None:
        what = f"rows of {rows.name}"
        found, by_id = _of_file(project, rows)
    elif data is not None:
        what, found = f"data {data}", _of_data(registry, Workspace(build, project.name), data)
    else:
        assert since is not None
        what, found = f"rows since {since}", _since(registry, since)
    marked = add(registry, what, why, found, by_id=by_id)
    bad = [version for version in registry.versions() if recall_of(registry, version)]
    say(f"recall {marked.number}: {len(found)} rows are marked bad; versions trained on them: {_list(bad)}")
    if rows is not None and (strange := _strange(registry, found)):
        say(f"recall {marked.number}: {strange} of these rows are in no version: are their ids written so?")
    moved = _take_out(project, registry, bad, f"recall {marked.number}: {why}", target)
    for line in (
        *moved,
        f"`python -m ml recall --project {project.name} --undo {marked.number}` takes it back",
    ):
        results.print(line)
    results.print(_answers(project, bad, Workspace(build, project.name).root / f"recall-{marked.number}.csv"))


def _list(versions: list[int]) -> str:
    return ", ".join(map(str, versions)) or "none"


def _of_file(project: Project, file: Path) -> "tuple[pd.DataFrame, bool]":
    """Return the fingerprints of a file's rows, and whether it names them by id alone."""
    from ml.data.completeness import open_file
    from ml.data.contract import check, load_contract, text_columns
    from ml.data.gap_words import words_that_are_values
    from ml.data.personal_rules import obey
    from ml.data.row_index import fingerprints
    from ml.data.sources.table_files import read_whole
    from ml.source_settings import Format, format_of

    contract = load_contract(project)
    own = format_of(project.source)
    with open_file(file) as stream:
        header = stream.readline()
    written = own if own.separator.encode() in header else Format()
    table = obey(read_whole(file, written, text_columns(contract), words_that_are_values(contract)), project)
    if project.id not in table:
        raise MlError(f"{file}: has no column '{project.id}', which names the rows")
    if set(contract.columns) <= set(table):
        return fingerprints(check(table, contract, str(file)), project), False
    ids = table[[project.id]].astype({project.id: contract.columns[project.id].dtype.type})
    return fingerprints(ids.assign(content=0), project), True


def _strange(registry: Registry, found: "pd.DataFrame") -> int:
    """Return how many rows have an id that no version was made of."""
    import pandas as pd

    strange = set(found["id"])
    for version in registry.versions():
        strange -= set(pd.read_parquet(registry.folder(version) / "model" / ROWS_FILE, columns=["id"])["id"])
    return len(strange)


def _of_data(registry: Registry, workspace: Workspace, given: str) -> "pd.DataFrame":
    import pandas as pd

    if len(given) < MIN_SIGNS:
        raise UsageError(f"--data {given}: name {MIN_SIGNS} signs of the hash at least")
    places = [
        (registry.data_manifest(version), registry.folder(version) / "model" / ROWS_FILE)
        for version in registry.versions()
    ]
    if (kept := workspace.kept(DataManifest)) is not None:
        places.append((kept, workspace.folder("data") / ROWS_FILE))
    for manifest, file in places:
        if manifest.version.startswith(given):
            return pd.read_parquet(file)
    known = ", ".join(dict.fromkeys(manifest.version[:12] for manifest, _ in places)) or "none"
    raise MlError(f"no data '{given}' of {registry.project}: there are {known}")


def _since(registry: Registry, since: str) -> "pd.DataFrame":
    """Return the fingerprints of rows that no build before a day had."""
    import pandas as pd

    from ml.registry.recalls import prints_alone

    try:
        day = date.fromisoformat(since).isoformat()
    except ValueError as error:
        raise UsageError(f"--since {since}: not a day as 2026-11-25") from error
    none = pd.DataFrame({"id": pd.Series(dtype="uint64"), "content": pd.Series(dtype="uint64")})
    before, after = [none], [none]
    for version in registry.versions():
        rows = prints_alone(pd.read_parquet(registry.folder(version) / "model" / ROWS_FILE))
        (after if registry.data_manifest(version).finished >= day else before).append(rows)
    new, old = pd.concat(after).drop_duplicates(), pd.concat(before).drop_duplicates()
    if new.empty:
        raise MlError(f"no version of {registry.project} was made of data since {since}")
    pairs = (pd.MultiIndex.from_frame(rows[["id", "content"]]) for rows in (new, old))
    return new[~next(pairs).isin(next(pairs))]


def _take_out(project: Project, registry: Registry, bad: list[int], why: str, target: str) -> list[str]:
    """Point each channel that has a bad version to the newest clean one, or to none; return what was done."""
    from ml.delivery.moves import roll_back, take_out

    clean = [
        version
        for version in registry.versions()
        if version not in bad and registry.record(Verdict, version).blessed
    ]
    told = []
    for channel in registry.channels():
        if channel.candidate and not channel.candidate.over() and channel.candidate.version in bad:
            roll_back(project, channel.name, None, why, target)
            told.append(f"{channel.name}: the trial of version {channel.candidate.version} was ended")
        if channel.version not in bad:
            continue
        if clean:
            roll_back(project, channel.name, clean[-1], why, target)
            told.append(f"{channel.name}: from version {channel.version} to version {clean[-1]}")
        else:
            take_out(project, channel.name, None, why, target)
            told.append(f"{channel.name}: version {channel.version} was taken out; no version is clean")
    return told or ["no channel has such a version"]


def _answers(project: Project, bad: list[int], file: Path) -> str:
    """Write each answer that a bad version gave, as the store knows them, and tell how many there are."""
    from sqlalchemy import select
    from sqlalchemy.exc import SQLAlchemyError

    from ml.store.database import open_store, reason_of
    from ml.store.lookup import answers_of
    from ml.store.tables import predictions

    count = 0
    file.parent.mkdir(parents=True, exist_ok=True)
    with open(file, "w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(["request", "row", "at", "channel", "version"])
        for channel in project.channels:
            url = locations.store(project.name, channel)
            if url is None:
                continue
            columns = [predictions.c[name] for name in ("request", "row", "at", "channel", "version")]
            asked = select(*columns).where(
                answers_of(project.name, channel),
                predictions.c.version.in_(bad),
                predictions.c.replay.is_(False),
            )
            try:
                with open_store(url).connect() as connection:
                    for row in connection.execute(asked.order_by(predictions.c.at)):
                        writer.writerow(row)
                        count += 1
            except SQLAlchemyError as error:
                told = "the recall holds, but the answers of these versions cannot be listed"
                raise MlError(f"{told}: {reason_of(error)}") from error
    return f"{count} answers of these versions are listed in {file}"
