"""What one look sees: columns, answers, quality that came true, quality that is estimated, labels."""

from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from ml.monitoring import columns, losses
from ml.monitoring.columns import ColumnLook
from ml.monitoring.estimate import Estimate, estimate
from ml.monitoring.losses import Mean
from ml.monitoring.window import Answers, Window
from ml.project import Project
from ml.quality.slices import slice_rows

ALL = ""  # the name of no slice
FEW_LABELS = 3  # times fewer than before is a source that stopped
TESTS_A_COLUMN = 5  # three measures of its move; missing; beyond or unseen


@dataclass(frozen=True)
class Quality:
    """The mean loss of a part of the rows, on the test rows before and on labels that came true."""

    part: str
    before: Mean
    now: Mean
    lost: bool


@dataclass(frozen=True)
class Broken:
    """A column that is broken, in a part of the rows, since when, and why that is said."""

    column: str
    part: str
    begins: float
    why: str


@dataclass(frozen=True)
class Seen:
    """Everything that one look sees; the diagnosis is made of it."""

    columns: tuple[ColumnLook, ...] = ()
    broken: tuple[Broken, ...] = ()
    answers: ColumnLook | None = None
    quality: tuple[Quality, ...] = ()
    weighted: bool = False
    estimated: Estimate | None = None
    estimated_lost: bool = False
    loss_before: float | None = None
    answers_recent: int = 0
    labels: int = 0
    trouble_with_labels: str = ""
    trouble_with_service: tuple[str, ...] = ()
    not_seen: tuple[str, ...] = ()
    figures: dict[str, float] = field(default_factory=dict)

    @property
    def moved(self) -> list[str]:
        """The columns that moved, in all rows."""
        return [one.column for one in self.columns if one.moved and one.part == ALL]


def see(
    project: Project, reference: pd.DataFrame, window: Window, broken_before: tuple[Broken, ...] = ()
) -> Seen:
    """Return what a look sees; ``reference`` are the champion's test rows, its answers and the target.

    Every threshold of chance is the share of ``false_alarms_a_year`` that falls on one test of one look: the
    union bound holds however much looks overlap. It is alpha spending, at a constant rate: Lan and DeMets
    (1983).
    """
    settings = project.monitoring
    inputs = _inputs(project, reference)
    parts = _parts(project, reference, window.recent)
    tests = len(inputs.columns) * len(parts) * TESTS_A_COLUMN + len(parts) + 5
    alpha = settings.false_alarms_a_year / settings.looks_a_year / tests
    not_seen: list[str] = []
    looks: list[ColumnLook] = []
    broken: list[Broken] = []
    answers = None
    if len(window.recent) >= settings.min_rows:
        for part, (before, now) in parts.items():
            rows = window.recent.part(now)
            looks += [
                columns.look(inputs[name][before], _column(rows, name), settings, alpha, part)
                for name in map(str, inputs)
            ]
        broken = _broken(inputs, window, looks, broken_before)
        answers = columns.look(
            reference["prediction"], _column(window.said, "prediction", "said"), settings, alpha, "answers"
        )
    else:
        not_seen.append(f"inputs: {len(window.recent)} of at least {settings.min_rows} rows")
    trouble = _trouble_with_labels(project, reference, window, alpha)
    quality, weighted = _quality(project, reference, window, alpha)
    if not quality:
        came = int(window.judged.told["labelled"].sum())
        not_seen.append(f"quality: {came} of at least {settings.min_labels} labels")
    estimated, lost = _estimated(project, reference, window, alpha)
    milliseconds = window.recent.told["milliseconds"].astype(float)
    return Seen(
        columns=tuple(looks),
        broken=tuple(broken),
        answers=answers,
        quality=tuple(quality),
        weighted=weighted,
        estimated=estimated,
        estimated_lost=lost,
        loss_before=losses.mean(losses.losses(project, reference, reference[project.target])).value,
        answers_recent=len(window.recent),
        labels=int(window.judged.told["labelled"].sum()),
        trouble_with_labels=trouble,
        trouble_with_service=tuple(_trouble_with_service(project, window)),
        not_seen=tuple(not_seen),
        figures={
            "labels for rows nobody asked": float(window.labels_unknown),
            "rows with several labels": float(window.labels_twice),
            **({"p95 milliseconds": float(milliseconds.quantile(0.95))} if len(milliseconds) else {}),
        },
    )


def _inputs(project: Project, reference: pd.DataFrame) -> pd.DataFrame:
    """Return the inputs of the reference that can be held against later ones: moments cannot."""
    said = [name for name in reference if name == "prediction" or str(name).startswith("probability_")]
    given = reference.drop(columns=[project.target, *said])
    return given[[name for name in given if not columns.is_time(given[name])]]


def _column(rows: Answers, name: str, of: str = "inputs") -> pd.Series:
    """Return a column of the inputs, or of what was said; one that is not there is all missing."""
    table: pd.DataFrame = getattr(rows, of)
    if name in table:
        return table[name]
    return pd.Series(np.nan, index=rows.told.index, name=name, dtype="float64")


def _parts(
    project: Project, reference: pd.DataFrame, rows: Answers
) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Return the rows of the reference and of the window for all, and for each slice that both have."""
    whole = (np.ones(len(reference), bool), np.ones(len(rows), bool))
    slices = project.gates.slices
    if not slices or not len(rows) or any(name not in rows.inputs for by in slices.by for name in by):
        return {ALL: whole}
    names = sorted({name for by in slices.by for name in by})
    before = slice_rows(reference, slices)
    alike = rows.inputs[names].assign(**{name: _like(reference[name], rows.inputs[name]) for name in names})
    now = slice_rows(alike, slices.model_copy(update={"min_rows": project.monitoring.min_rows}))
    return {ALL: whole} | {name: (before[name], now[name]) for name in before if name in now}


def _like(before: pd.Series, now: pd.Series) -> pd.Series:
    """Return a column with the type of the reference, so that its values have the same names."""
    try:
        return now.astype(before.dtype)
    except (TypeError, ValueError):  # whole numbers of which one is missing, a text among numbers
        return now


def _broken(
    inputs: pd.DataFrame, window: Window, looks: list[ColumnLook], before: tuple[Broken, ...]
) -> list[Broken]:
    """Return the broken columns with the time since when, one a column: of all rows, else of a slice.

    One that was found broken before keeps its beginning as long as it is.
    """
    found: dict[str, Broken] = {}
    known = {(one.column, one.part): one for one in before}
    times = window.recent.told["at"].to_numpy(float)
    for one in looks:
        if not one.broken or one.column in found or (one.part and one.rows == len(times)):
            continue
        since = known.get((one.column, one.part))
        begins = since.begins if since else float(times[_onset(window, one)])
        found[one.column] = Broken(one.column, one.part, begins, one.broken)
    for name in map(str, inputs):
        if name in found:
            continue
        column = _column(window.recent, name)
        at = columns.jump(inputs[name], _column(window.earlier, name), column)
        since = known.get((name, ALL))
        if at is not None:
            begins = since.begins if since else float(times[at])
            found[name] = Broken(name, ALL, begins, "other values from one row to the next")
        elif since and columns.far(inputs[name], column):
            found[name] = since
    return list(found.values())


def _onset(window: Window, one: ColumnLook) -> int:
    """Return the row of the window from which on a column is broken; of a slice, its first row."""
    if one.strange is None or one.part:
        return 0
    return columns.onset(one.strange(_column(window.recent, one.column)))


def _quality(
    project: Project, reference: pd.DataFrame, window: Window, alpha: float
) -> tuple[list[Quality], bool]:
    """Return the quality that came true, in all rows and in each slice, and whether rows were weighted."""
    settings, judged = project.monitoring, window.judged
    mask = judged.told["labelled"].to_numpy(bool)
    labelled = judged.part(mask)
    if len(labelled) < settings.min_labels:
        return [], False
    before = losses.losses(project, reference, reference[project.target])
    now = losses.losses(project, labelled.said, labelled.told["label"])
    weights = losses.weights_of_labelled(judged.inputs, mask)
    found = []
    for part, (mask_before, mask_now) in _parts(project, reference, labelled).items():
        chosen = None if weights is None else weights[mask_now]
        one, two = losses.mean(before[mask_before]), losses.mean(now[mask_now], chosen)
        if two.rows < settings.min_labels:
            continue
        lost = losses.surely_more(one, two, settings.max_loss_increase, alpha)
        found.append(Quality(part, one, two, lost))
    return found, weights is not None


def _estimated(
    project: Project, reference: pd.DataFrame, window: Window, alpha: float
) -> tuple[Estimate | None, bool]:
    answered = window.said
    if len(answered) < project.monitoring.min_rows:
        return None, False
    found = estimate(project, reference, answered.inputs, answered.said)
    if found is None:
        return None, False
    before = losses.mean(losses.losses(project, reference, reference[project.target]))
    margin = project.monitoring.max_loss_increase
    return found, losses.surely_more(before, found.loss, margin, alpha)


def _trouble_with_labels(project: Project, reference: pd.DataFrame, window: Window, alpha: float) -> str:
    """Return whether labels stopped coming, or say all the same; empty if not."""
    settings = project.monitoring
    answers, labelled = window.before
    newest = window.matured.told.tail(columns.newest_rows(len(window.matured), settings.min_rows))
    if answers >= settings.min_rows <= len(newest) and labelled:
        usual, came = labelled / answers, int(newest["labelled"].sum())
        if columns.seldom(came, len(newest), usual / FEW_LABELS, alpha):
            return f"labels came for {came / len(newest):.1%} of the answers, before for {usual:.1%}"
    told = window.matured.told[window.matured.told["labelled"].astype(bool)]
    if len(told) < settings.min_labels:
        return ""
    labels = losses.as_text(told["label"].tail(columns.newest_rows(len(told), settings.min_labels)))
    counts = labels.value_counts(normalize=True)
    before = losses.as_text(reference[project.target]).value_counts(normalize=True)
    if counts.iloc[0] >= columns.CONSTANT and before.get(counts.index[0], 0.0) < columns.NOT_CONSTANT:
        return f"{counts.iloc[0]:.0%} of the labels say {counts.index[0]!r}"
    return ""


def _trouble_with_service(project: Project, window: Window) -> list[str]:
    limit, rows = project.monitoring.max_milliseconds, window.recent.told["milliseconds"].astype(float)
    if limit is None or len(rows) < project.monitoring.min_rows:
        return []
    slow = float(rows.quantile(0.95))
    return [f"one of twenty answers takes {slow:.0f} ms, and {limit:g} are allowed"] if slow > limit else []
