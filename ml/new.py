"""A new project from a table: what was guessed is printed with its reasons, and the folder appears whole."""

import dataclasses
import os
import re
import shutil
import socket
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import pandas as pd
from pandas.api import types
from rich.table import Column as Heading
from rich.table import Table
from rich.text import Text

from ml import locations
from ml.console import rounded, say
from ml.data.infer.draft import ROLES, Column, Draft, Guess, Role
from ml.data.infer.guess import TEST_SHARE, guess
from ml.data.infer.settings_text import Settings
from ml.data.sources import module_of, number_rows
from ml.data.sources.discover import Discovered, discover
from ml.data.sources.interface import Asked
from ml.errors import MlError, UsageError
from ml.files import swap
from ml.project import find_project, project_names
from ml.quality.beginning import Begun, begin
from ml.results import results
from ml.source_settings import FilesSource

FIRST_PORT, LAST_PORT = 8020, 8998
ROW_NAMES = ("row", "row_number", "row_id", "ml_row")
SHOWN_RULES = 60


def create(name: str, given: str, target: str, id_column: str | None = None, *, ask: bool = False) -> None:
    """Write a project for the table that ``given`` stands for, and print what was guessed.

    What is no table raises ``MlError``. With ``ask`` a person is asked about what is doubtful. The folder is
    written whole or not at all.
    """
    folder = _free_folder(name)
    if ask and not sys.stdin.isatty():
        raise UsageError("--ask asks at a terminal, and there is none: leave it out")
    found = discover(given, target=target)
    for line in found.told:
        say(f"new: {line}")
    with tempfile.TemporaryDirectory() as scratch:
        aside = Path(scratch) / name
        aside.mkdir()
        _copy(found, aside)
        codes = _codes(found, aside)
        said: dict[str, Role] = {id_column: "id"} if id_column else {}
        draft = guess(found.table, target, said, codes)
        if ask and (answers := {one.name: _answer(one) for one in draft.columns if one.doubtful}):
            said = {one.name: one.role for one in draft.of("id", "time", "group")} | said | answers
            draft = guess(found.table, target, said, codes)
        source = dict(found.settings)
        if not draft.of("id"):
            draft = _with_numbered_rows(found.table, target, said, codes)
            source["number_rows"] = draft.id
        draft = _with_doubts(draft, found.doubts)
        settings = Settings(_title(name, target), source, TEST_SHARE, ports=_free_ports())
        begun = begin(aside, name, draft, settings)
        shutil.rmtree(aside / "__pycache__", ignore_errors=True)
        _move(aside, folder)
    _print(begun, folder)


def _title(name: str, target: str) -> str:
    return f"{' '.join(re.split('[_-]+', name)).strip().capitalize()}: {target}"


def _free_folder(name: str) -> Path:
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]*", name):
        raise UsageError(f"'{name}' is no name for a project: use letters, digits, - and _")
    folder = locations.new_projects() / name
    if folder.exists() or name in project_names():
        raise UsageError(f"a project '{name}' is there already: {folder}")
    return folder


def _copy(found: Discovered, folder: Path) -> None:
    for name, content in found.copied.items():
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(content, bytes):
            file.write_bytes(content)
        else:
            shutil.copyfile(content, file)


def _codes(found: Discovered, folder: Path) -> frozenset[str]:
    """Return the columns of whole numbers that are written with leading zeros: as texts they keep them."""
    whole = [str(name) for name in found.table if types.is_integer_dtype(found.table[name])]
    if found.settings["kind"] != "files" or not whole:
        return frozenset()
    source = FilesSource.model_validate(found.settings)
    asked = Asked("", folder, folder, source.labelled, text_columns=tuple(whole))
    texts = next(iter(module_of(source).read(source, asked)))
    return frozenset(name for name in whole if texts[name].astype(str).str.fullmatch(r"0\d+").any())


def _with_numbered_rows(
    table: pd.DataFrame, target: str, said: dict[str, Role], codes: frozenset[str]
) -> Draft:
    """Number the rows of a table that has no column to name them by, as every build will."""
    column = next(one for one in ROW_NAMES if one not in table)
    draft = guess(number_rows(table, column), target, said | {column: "id"}, codes)
    why = "no column names each row, so each build numbers them: a source must keep their order"
    columns = tuple(
        dataclasses.replace(one, why=why, doubtful=True) if one.name == column else one
        for one in draft.columns
    )
    return dataclasses.replace(draft, columns=columns)


def _with_doubts(draft: Draft, doubts: dict[str, str]) -> Draft:
    columns = tuple(
        dataclasses.replace(one, notes=(*one.notes, doubts[one.name])) if one.name in doubts else one
        for one in draft.columns
    )
    return dataclasses.replace(draft, columns=columns)


def _answer(column: Column) -> Role:
    """Ask at the terminal what a column is for; an empty answer keeps what was guessed."""
    able = [one for one in ROLES if one != "target"]
    while True:
        told = (
            f"column '{column.name}': {column.role} ({column.why})\n  Enter keeps it; or {', '.join(able)}: "
        )
        typed = results.input(told, markup=False).strip().lower()
        if not typed:
            return column.role
        if matching := [one for one in able if typed in one]:
            return cast(Role, matching[0])
        results.print(f"  '{typed}' is none of them", markup=False)


def _free_ports() -> tuple[int, int]:
    """Return two ports on end that no project has and nobody listens on."""
    taken = set()
    for name in project_names():
        try:
            taken |= {channel.port for channel in find_project(name).channels.values()}
        except MlError:  # a broken project is told by whoever runs it
            continue
    for port in range(FIRST_PORT, LAST_PORT, 10):
        if not {port, port + 1} & taken and all(map(_is_free, (port, port + 1))):
            return port, port + 1
    raise MlError(f"no two free ports between {FIRST_PORT} and {LAST_PORT}: stop a service")


def _is_free(port: int) -> bool:
    try:
        with socket.create_server(("127.0.0.1", port)):
            return True
    except OSError:
        return False


def _move(aside: Path, folder: Path) -> None:
    """Put the finished folder in its place; what is there for a moment has a name that no project has."""
    near = folder.with_name(f".{folder.name}.{os.getpid()}")
    folder.parent.mkdir(parents=True, exist_ok=True)
    try:
        shutil.copytree(aside, near)
        if folder.exists():
            raise MlError(f"there is a project '{folder.name}' by now: choose another name")
        swap(near, folder)
    finally:
        shutil.rmtree(near, ignore_errors=True)


def _print(begun: Begun, folder: Path) -> None:
    draft, look = begun.draft, begun.look
    table = Table(
        Heading("column", overflow="fold"),
        "holds",
        "is",
        Heading("the contract says", overflow="fold"),
        Heading("why", overflow="fold"),
        title=f"{begun.project.name}: what was guessed (? is doubtful)",
    )
    for one in draft.columns:
        mark = " ?" if one.doubtful or one.notes else ""
        table.add_row(*map(Text, (one.name, one.kind, one.role + mark, _rules(one), one.why)))
    results.print(table)
    about = Table("about", "guess", "why", show_header=False)
    for guessed in [*draft.guesses, *_first_figures(begun)]:
        about.add_row(*map(Text, (guessed.about, guessed.guess + " ?" * guessed.doubtful, guessed.why)))
    results.print(about)
    for line in (*draft.doubtful, *begun.notes):
        results.print(f"look at  {line}", markup=False)
    if not look.beats_dummy:
        score, low, high, dummy = (rounded(one, 3) for one in (look.score, look.low, look.high, look.dummy))
        line = f"{look.model} scores {score} ({low} to {high}), a guess that looks at nothing {dummy}"
        results.print(f"look at  the columns may tell nothing of the target: {line}", markup=False)
    shown = folder.relative_to(Path.cwd()) if folder.is_relative_to(Path.cwd()) else folder
    results.print(
        f"written  {shown}: {', '.join(sorted(one.name for one in folder.iterdir()))}", markup=False
    )
    results.print(f"next     make run PROJECT={begun.project.name}", markup=False)


def _first_figures(begun: Begun) -> Sequence[Guess]:
    look, metric = begun.look, begun.draft.metric
    told = f"{look.model} has {rounded(look.score)} in cross-validation, on as many rows as the test "
    told += f"{rounded(look.low)} to {rounded(look.high)} (99 %); a dummy {rounded(look.dummy)}"
    floor = begun.project.gates.floors[metric]
    ports = " and ".join(str(channel.port) for channel in begun.project.channels.values())
    return (
        Guess("gate", f"{metric} >= {floor:g}", told),
        Guess("ports", ports, "no project has them, and nobody listens there"),
    )


def _rules(column: Column) -> str:
    if column.role == "left out":
        return ""
    parts = [
        column.python_type,
        *(["unique"] if column.unique else []),
        *(["nullable"] if column.nullable else []),
    ]
    rules: dict[str, Any] = dict(column.rules)
    if "ge" in rules and "le" in rules:
        parts.append(f"{rules.pop('ge')} to {rules.pop('le')}")
    parts += [f"{name} {value}"[:SHOWN_RULES] for name, value in rules.items()]
    return ", ".join(parts)
