"""A draft becomes a project: its files are written, read as every build will read them, and given gates."""

import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd

from ml.console import say
from ml.data import sources
from ml.data.contract import examine, load_contract
from ml.data.gates import judge_data, row_index
from ml.data.infer.draft import Column, Draft, Guess
from ml.data.infer.python_text import contract_text, features_row_text, features_text, made_features
from ml.data.infer.settings_text import Settings, missing_limit, settings_text
from ml.data.settings_check import MIN_FLOOR, check_settings
from ml.data.sources.interface import Batches
from ml.data.split import check_rows, split
from ml.errors import MlError
from ml.project import ROW_FILE, Project, load_project
from ml.quality.first_look import FirstLook, first_look, sample, told_by
from ml.source_settings import Role
from ml.training.default_grid import grid_text
from ml.training.pipeline import feature_table
from ml.training.search import useless_features

# The gate of the data stage by the kind of its finding; what others find is no guess of ours.
SETTINGS = {
    "rows": "min_rows",
    "missing": "max_missing",
    "duplicates": "max_duplicates",
    "train and test overlap": "max_shared_rows",
    "gives the target away": "max_feature_score",
    "stretch": "max_stretch",
}
# Beyond such a width of its 99 % interval a few rows decide what r2 is.
UNSURE, ROBUST = 0.3, "d2_absolute_error_score"
MAX_LEARNED = 200_000
MAX_LOOKED_AT = 1_000_000


@dataclass(frozen=True)
class Begun:
    """A project as it was written, what was guessed of it, and the score its gates come from.

    ``notes`` tell which gates its own rows do not pass, so that they are left out.
    """

    project: Project
    draft: Draft
    look: FirstLook
    notes: tuple[str, ...] = ()


def begin(folder: Path, name: str, draft: Draft, settings: Settings) -> Begun:
    """Write the files of a project beside its data; look at the rows, and write them again with its gates.

    Raises ``MlError`` that says which guess to look at if the rows do not go through the data stage.
    """
    functions: dict[str, tuple[Column, str]] = made_features(draft)
    project = _write(folder, name, draft, settings, functions)
    table = sources.fetch(project, _beginning).labelled
    parts = _parts(project, table)
    say(f"new: {len(parts['labelled'])} rows read as a build reads them, {len(parts['train'])} to learn from")
    train = sample(project, parts["train"])
    features = feature_table(project, train)
    useless = useless_features(project, features)
    functions = {key: made for key, made in functions.items() if key not in useless}
    draft = _leave_out(draft, {key: told.split(":")[0] for key, told in useless.items()})
    alone = train[[one.name for one in draft.kept]].join(features[list(functions)])
    scores, telling = told_by(project, alone)
    functions = {key: made for key, made in functions.items() if key not in telling}
    draft = _leave_out(
        draft,
        {
            key: f"gives the target away (alone it scores {scores[key]:.4f}): was it known before?"
            for key in telling
        },
    )
    if not draft.of("feature", "time"):
        raise MlError(
            "no column is left to learn from: each is constant, an id, personal or the target itself"
        )
    kept = {one.name for one in draft.kept} | set(functions)
    scores = {key: score for key, score in scores.items() if key in kept}
    project = _write(folder, name, draft, settings, functions)
    parts = _parts(project, table)
    train, test_rows = sample(project, parts["train"]), len(parts["test"])
    look = first_look(project, train, test_rows)
    if draft.metric == "r2" and look.high - look.low > UNSURE:
        draft = replace(draft, metric=ROBUST, guesses=(*draft.guesses, _robust(look)))
        project = _write(folder, name, draft, settings, functions)
        look = first_look(project, train, test_rows)
    settings = replace(
        settings,
        max_rows=MAX_LEARNED if len(parts["train"]) > MAX_LEARNED else None,
        rows=len(parts["train"]),
        data_gates=_data_gates(project, draft, parts, scores),
        gates=_gates(look),
        floors={draft.metric: _floor(look)},
    )
    project = _write(folder, name, draft, settings, functions)
    check_settings(project, load_contract(project).columns)
    gates, notes = _holding(project, parts, settings.data_gates)
    project = _write(folder, name, draft, replace(settings, data_gates=gates), functions)
    return Begun(project, draft, look, notes)


def _beginning(batches: Batches, _: Role) -> pd.DataFrame:
    """Return the rows that guesses are proved on: all, or the first of a large table."""
    rows = sources.first_rows(batches, MAX_LOOKED_AT)
    if len(rows) == MAX_LOOKED_AT:
        say(f"new: the first {MAX_LOOKED_AT:,} rows are looked at; `make run` proves the guesses on all")
    return rows


def _write(
    folder: Path, name: str, draft: Draft, settings: Settings, functions: dict[str, tuple[Column, str]]
) -> Project:
    dates = {one.name for one in draft.dates}
    made = {key: (column, part) for key, (column, part) in functions.items() if column.name in dates}
    settings = replace(settings, made=tuple(made), functions=("calendar",) if made else ())
    if not settings.floors:
        settings = replace(settings, floors={draft.metric: (MIN_FLOOR, "")})
    files = {
        "contract.py": contract_text(draft, name),
        "project.toml": settings_text(draft, settings),
        "grid.json": grid_text(draft.task, settings.rows),
    }
    for file, text_of in (("features.py", features_text), (ROW_FILE, features_row_text)):
        files |= {file: text_of(draft, made)} if made else {}
        (folder / file).unlink(missing_ok=True)
    for file, text in files.items():
        (folder / file).write_text(text, encoding="utf-8")
    return load_project(folder, name)


def _parts(project: Project, table: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Return the labelled rows and their parts, checked as the data stage does."""
    labelled, broken = examine(table, load_contract(project), project.personal)
    if broken:
        raise MlError(f"a guess does not hold in all rows: {broken[0]} (look at this column in the source)")
    check_rows(labelled, project)
    return {"labelled": labelled, **split(labelled, project)}


def _leave_out(draft: Draft, reasons: dict[str, str]) -> Draft:
    columns = tuple(
        replace(one, role="left out", why=reasons[one.name], doubtful=True)
        if one.name in reasons and one.role in ("feature", "personal")
        else one
        for one in draft.columns
    )
    kept = {one.name for one in columns if one.role != "left out"}
    ordered = tuple(pair for pair in draft.ordered if set(pair) <= kept)
    return replace(draft, columns=columns, ordered=ordered)


def _data_gates(
    project: Project, draft: Draft, parts: dict[str, pd.DataFrame], scores: dict[str, float]
) -> dict[str, tuple[Any, str]]:
    labelled = parts["labelled"]
    gates: dict[str, tuple[Any, str]] = {"min_rows": (_least_rows(len(labelled)), "")}
    able = [one.name for one in draft.kept if one.nullable and one.role != "personal"]
    if missing := {name: missing_limit(labelled[name].isna().mean()) for name in able}:
        gates["max_missing"] = (missing, "")
    index = row_index(project, labelled, {name: parts[name] for name in ("train", "test")})
    gates["max_duplicates"] = (_up(2 * index.repeated().share + 0.01), "rows equal but for the id")
    shared = _up(2 * index.shared().share + 0.01)
    gates["max_shared_rows"] = (shared, "test rows equal to a train row but for the id")
    best = max(scores, key=lambda name: scores[name])
    what = "ROC AUC" if draft.task == "classification" else "R²"
    limit = min(0.9999, math.ceil((scores[best] + max(1 - scores[best], 0.0) / 2) * 1e4) / 1e4)
    gates["max_feature_score"] = (limit, f"{what} of one column alone ({best} has {scores[best]:.3f})")
    gates["max_stretch"] = (0.1, "rows on end with one value, or none, where nothing else comes near")
    gates["max_row_change"] = (0.5, "against the champion's data, as all below")
    gates["max_unseen"] = (0.05, "rows with a value of a text column never seen before")
    if draft.task == "classification":
        gates["max_label_shift"] = (0.1, "of the share of a class")
    gates["max_psi"] = (0.25, "drift of a column: population stability index")
    return gates


def _robust(look: FirstLook) -> Guess:
    chance = f"r2 hangs on few large rows ({look.low:.2f} to {look.high:.2f} by chance)"
    return Guess("metric", ROBUST, f"{chance}: this one goes by absolute errors")


def _floor(look: FirstLook) -> tuple[float, str]:
    why = f"{look.model} reaches {look.score:.3f} in cross-validation"
    if not look.beats_dummy:
        why += ", which may be no more than a mere guess: raise it"
    return max(_down(look.low), MIN_FLOOR), why


def _gates(look: FirstLook) -> dict[str, tuple[Any, str]]:
    width = max(look.high - look.low, 0.01)
    gates: dict[str, tuple[Any, str]] = {}
    if (gain := look.low - look.dummy) > 0:
        gates["min_gain_over_dummy"] = (
            _down(gain / 2),
            f"over a model that looks at nothing ({look.dummy:.3f})",
        )
    gates["max_surprise"] = (_up(width), "test score minus cross-validated score")
    # What is lost at most, however uncertain the score is: a tenth of what it is better than a guess.
    lost = min(width / 4, max(look.score - max(look.dummy, 0), 0.01) / 10)
    gates["champion_tolerance"] = (_up(lost), "refused is what is below the champion by more, for sure")
    gates["max_seconds_per_request"] = (0.5, "one row alone, asked of the service")
    gates["max_seconds_to_load"] = (20, "")
    gates["max_model_bytes"] = (100_000_000, "")
    return gates


def _holding(
    project: Project, parts: dict[str, pd.DataFrame], gates: dict[str, tuple[Any, str]]
) -> tuple[dict[str, tuple[Any, str]], tuple[str, ...]]:
    """Return the data gates that the project's own rows pass, and what is to be told of the others."""
    divided = {part: rows for part, rows in parts.items() if part != "labelled"}
    kept, notes = dict(gates), []
    for finding in judge_data(project, parts["labelled"], divided, None):
        if finding.violation and finding.kind not in SETTINGS:
            raise MlError(str(finding.violation))
        if finding.violation:
            kept.pop(SETTINGS[finding.kind], None)
            notes.append(f"data_gates.{SETTINGS[finding.kind]} is left out: {finding.violation}")
    return kept, tuple(notes)


def _least_rows(count: int) -> int:
    step = 10 ** max(0, len(str(count)) - 2)
    return int(max(1, int(count * 0.8) // step * step))


def _down(value: float) -> float:
    return math.floor(value * 1000) / 1000


def _up(value: float) -> float:
    return min(1.0, math.ceil(value * 100) / 100)
