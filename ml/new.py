"""`ml new`: a project's folder, written from a table; what was guessed is printed for a person to check."""

import shutil
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from rich.table import Column, Table

from ml import locations
from ml.console import results, say
from ml.errors import MlError, UsageError
from ml.files import swap
from ml.project import find_project, load_project, project_names
from ml.proposal import Proposal, judge, project_text, propose_grid

if TYPE_CHECKING:
    import pandas as pd

    from ml.data.infer import Guess
    from ml.data.sources.discover import Discovered

RESERVED_NAMES = ("prediction", "request", "row")


def create(name: str, given: str, target: str, id_column: str | None = None, *, ask: bool = False) -> None:
    """Write ``ml/projects/<name>`` from the table that ``given`` stands for, and print what was guessed.

    The folder appears whole or not at all. A table of which nothing can be made raises ``MlError``.
    """
    from ml.data.contract_text import contract_text
    from ml.data.infer import check_shape, infer, task_of
    from ml.data.pairs import ordered_pairs
    from ml.data.sources.discover import discover

    folder = _free_folder(name)
    found = discover(given)
    table = found.table.rename(columns=str)
    check_shape(table, target)
    task, why = task_of(table[target])
    guesses = infer(table, target, id_column)
    if ask and sys.stdin.isatty():
        guesses = [_asked(guess) for guess in guesses]
    settings = dict(found.settings)
    identity = next((guess.name for guess in guesses if guess.role == "id"), None)
    if identity is None:
        identity, guesses = _number_rows(table, guesses)
        settings["number_rows"] = identity
        table = table.assign(**{identity: range(1, len(table) + 1)})
    proposal = Proposal(name, task, why, target, identity, settings, guesses, ordered_pairs(table, guesses))
    scratch = Path(tempfile.mkdtemp(prefix=f".{name}.", dir=folder.parent))
    aside = scratch / name  # a level deeper than a project, so that nobody takes it for one
    aside.mkdir()
    try:
        _copy(found, aside)
        (aside / "contract.py").write_text(contract_text(name, guesses, proposal.pairs), encoding="utf-8")
        (aside / "grid.json").write_text(propose_grid(task), encoding="utf-8")
        (aside / "project.toml").write_text(project_text(proposal, _ports()), encoding="utf-8")
        proposal = judge(proposal, load_project(aside, name), table)
        _write_again(proposal, aside, name)
        swap(aside, folder)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    _tell(proposal, found, folder)


def _write_again(proposal: Proposal, aside: Path, name: str) -> None:
    """Write what the first models taught: columns that give the target away, and thresholds."""
    from ml.data.contract_text import contract_text

    text = contract_text(name, proposal.guesses, proposal.pairs)
    (aside / "contract.py").write_text(text, encoding="utf-8")
    (aside / "project.toml").write_text(project_text(proposal, _ports()), encoding="utf-8")
    load_project(aside, name)


def _free_folder(name: str) -> Path:
    import re

    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]*", name):
        raise UsageError(f"'{name}' is no name for a project: use letters, digits, - and _")
    folder = locations.project_folders()[-1] / name
    if name in project_names() or folder.exists():
        raise UsageError(f"a project '{name}' is there already: {folder}")
    folder.parent.mkdir(parents=True, exist_ok=True)
    return folder


def _number_rows(table: "pd.DataFrame", guesses: "list[Guess]") -> "tuple[str, list[Guess]]":
    """Return a name for the number of each row, and the guesses with it in front."""
    from ml.data.infer import Guess

    names = set(map(str, table.columns))
    name = next(one for one in ("row", "row_number", "row_id", "_row") if one not in names)
    doubt = "the table names no row: its rows are numbered, in their order"
    return name, [Guess(name, "int", "id", "the number of the row", doubt, unique=True), *guesses]


def _asked(guess: "Guess") -> "Guess":
    """Ask at the terminal about a doubtful guess; an empty answer leaves it."""
    if not guess.doubt:
        return guess
    answer = input(f"{guess.name}: {guess.role}, {guess.why} ({guess.doubt}). Keep it so? [Y/n/out] ").strip()
    if answer.lower() in ("n", "no", "out"):
        return replace(guess, role="left out", why="left out by you", doubt="")
    return replace(guess, doubt="")


def _copy(found: "Discovered", folder: Path) -> None:
    for name, content in found.copied.items():
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(content, bytes):
            target.write_bytes(content)
        else:
            shutil.copy(content, target)


def _ports() -> tuple[int, int]:
    """Return two ports that no project names and nobody listens on."""
    import socket

    taken = {
        channel.port
        for project in map(find_project, project_names())
        for channel in project.channels.values()
    }
    free: list[int] = []
    for port in range(8020, 8999):
        if port not in taken:
            with socket.socket() as one:
                if one.connect_ex(("127.0.0.1", port)):
                    free.append(port)
        if len(free) == 2:
            return free[0], free[1]
    raise MlError("no port between 8020 and 8999 is free: stop a service")


def _tell(proposal: Proposal, found: "Discovered", folder: Path) -> None:
    for line in found.told:
        say(f"new: {line}")
    table = Table(
        Column("column", overflow="fold"),
        "taken for",
        Column("why", overflow="fold"),
        Column("doubtful", overflow="fold"),
        title=f"{proposal.name}: {proposal.task} of {proposal.target}",
    )
    for guess in proposal.guesses:
        missing = f", {guess.missing:.1%} missing" if guess.missing else ""
        table.add_row(guess.name, guess.role, guess.why + missing, guess.doubt)
    results.print(table)
    for line in proposal.told:
        results.print(line)
    results.print(f"written: {folder}")
    results.print(f"next: make run PROJECT={proposal.name}; then add the folder to git and push it")
