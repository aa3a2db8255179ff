"""What is played: a copy of a project that knows only rows of before a day, and the rows that come after."""

import shutil
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import tomli_w

from ml.data.contract import examine, load_contract
from ml.data.rows import records
from ml.data.sources import fetch, whole
from ml.data.split import times
from ml.errors import MlError
from ml.project import Project, find_project
from ml.serving import MAX_ROWS
from ml.serving.service import free_port

HOUR, DAY = 3600.0, 86400.0
STEP = 3 * HOUR  # the rows of so long are asked for at its end
CHANNEL = "production"
# Gates that compare a build with an agreed number of rows, or with today: the past of a replay has neither.
NOT_OF_THE_PAST = ("min_rows", "max_row_change", "max_changed_rows", "timeliness")


@dataclass(frozen=True)
class Play:
    """A folder with projects, home and build of its own; ``rows`` come from ``begins`` on, one after another.

    ``rows`` has the columns of the project, the target among them, and is sorted by ``at`` (Unix time).
    """

    root: Path
    project: str
    begins: float
    label_days: float
    rows: pd.DataFrame
    at: np.ndarray

    @property
    def environment(self) -> dict[str, str]:
        """Where the product finds what is played, and nothing else."""
        return {
            "ML_HOME": str(self.root / "home"),
            "ML_PROJECTS": str(self.root / "projects"),
            "LOKY_MAX_CPU_COUNT": "1",
        }

    def steps(self) -> Iterator[tuple[float, pd.DataFrame]]:
        """Yield the rows of each step that has some, with its end; at most as many as one request takes."""
        step = (self.at // STEP).astype(int)
        for start in np.flatnonzero(np.r_[True, np.diff(step) > 0]):
            stop = int(np.searchsorted(step, step[start], side="right"))
            for first in range(int(start), stop, MAX_ROWS):
                yield (step[start] + 1) * STEP, self.rows.iloc[first : min(first + MAX_ROWS, stop)]


def set_stage(root: Path, name: str, begins: str, label_days: float, until: str | None) -> Play:
    """Write what is known before a day into a project of its own, and keep what comes after.

    Raises ``MlError`` if rows have no time, or none come before or after that day.
    """
    project = find_project(name)
    if project.split.by is None or project.split.kind != "time":
        raise MlError(f"{name}: a replay needs rows with a time: [split] kind = 'time' and by")
    start = _moment(begins)
    rows, broken = examine(fetch(project, whole).labelled, load_contract(project), project.personal)
    if broken:
        raise MlError(f"{name}: the data breaks its contract: {broken[0]}: see `python -m ml data`")
    seconds = (times(rows, project) - pd.Timestamp(0)).dt.total_seconds().to_numpy()
    order = np.argsort(seconds, kind="stable")
    rows, seconds = rows.iloc[order].reset_index(drop=True), seconds[order]
    past, future = seconds < start - label_days * DAY, seconds >= start
    if until is not None:
        future &= seconds < _moment(until)
    if not past.any() or not future.any():
        told = f"{past.sum()} rows before {begins} and {future.sum()} after"
        raise MlError(f"{name}: {told}: choose another day")
    copy = f"{name}-replay"  # a project of the checkout comes before one of the same name elsewhere
    _write_project(root / "projects" / copy, project, rows[past], label_days)
    return Play(root, copy, start, label_days, rows[future].reset_index(drop=True), seconds[future])


def _moment(text: str) -> float:
    try:
        return pd.Timestamp(text, tz="UTC").timestamp()
    except ValueError as error:
        raise MlError(f"{text!r} is no day: write it as 2013-04-01") from error


def _write_project(folder: Path, project: Project, past: pd.DataFrame, label_days: float) -> None:
    """Copy a project; it learns from the rows of the past, and from what production answers from then on."""
    shutil.copytree(project.folder, folder, ignore=shutil.ignore_patterns("__pycache__", "data"))
    past.to_parquet(folder / "past.parquet")
    settings: dict[str, Any] = tomllib.loads((folder / "project.toml").read_text(encoding="utf-8"))
    settings["source"] = {
        "kind": "files",
        "labelled": "past.parquet",
        "append": [{"kind": "feedback", "table": CHANNEL, "matured_days": label_days}],
    }
    settings.setdefault("data_gates", {})
    for gate in NOT_OF_THE_PAST:
        settings["data_gates"].pop(gate, None)
    settings["channels"] = {CHANNEL: free_port()}
    settings.setdefault("monitoring", {}).setdefault("train_on", ["concept", "drift and concept"])
    settings["monitoring"].setdefault("matured_days", label_days)
    (folder / "project.toml").write_text(tomli_w.dumps(settings), encoding="utf-8")


def as_requests(rows: pd.DataFrame, target: str) -> list[dict[str, Any]]:
    """Return rows as a client sends them, without what is not known yet."""
    return records(rows.drop(columns=target))
