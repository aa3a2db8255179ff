"""What one look sees: columns, answers, quality that came true, quality that is estimated, labels."""

from dataclasses import dataclass, field, replace

import numpy as np
import pandas as pd

from ml.monitoring import columns, labels, losses, service
from ml.monitoring.calibration import Calibration, calibration, confidence
from ml.monitoring.columns import ColumnLook
from ml.monitoring.estimate import Estimate, estimate
from ml.monitoring.labels import LabelTrouble
from ml.monitoring.losses import Mean
from ml.monitoring.parts import ALL, parts_of
from ml.monitoring.window import DAY, Answers, Window
from ml.monitoring_settings import Monitoring
from ml.project import Project
from ml.records import BrokenColumn

TESTS_OF_QUALITY = 3  # what is estimated; calibration; whose labels are odd
SUSPICION = 0.01  # that the labels of one sender are odd, by chance, where quality is lost
TESTS_A_COLUMN = 5  # three measures of its move; missing; beyond or unseen


@dataclass(frozen=True)
class Quality:
    """The mean loss of a part of the rows, on the test rows before and on labels that came true."""

    part: str
    before: Mean
    now: Mean
    lost: bool


@dataclass(frozen=True)
class Seen:
    """Everything that one look sees; the diagnosis is made of it."""

    columns: tuple[ColumnLook, ...] = ()
    broken: tuple[BrokenColumn, ...] = ()
    said: tuple[ColumnLook, ...] = ()
    quality: tuple[Quality, ...] = ()
    calibration: Calibration | None = None
    weighted: bool = False
    estimated: Estimate | None = None
    estimated_lost: bool = False
    loss_before: float | None = None
    answers_recent: int = 0
    labels: int = 0
    trouble_with_labels: LabelTrouble | None = None
    odd_senders: tuple[LabelTrouble, ...] = ()
    trouble_with_service: tuple[str, ...] = ()
    trouble_with_source: tuple[str, ...] = ()
    refused: tuple[str, ...] = ()
    not_seen: tuple[str, ...] = ()
    figures: dict[str, float] = field(default_factory=dict)

    @property
    def moved(self) -> list[str]:
        """The columns that moved, in all rows."""
        return [one.column for one in self.columns if one.moved and one.part == ALL]


def see(
    project: Project, reference: pd.DataFrame, window: Window, broken_before: tuple[BrokenColumn, ...] = ()
) -> Seen:
    """Return what a look sees; ``reference`` are the champion's test rows, its answers and the target.

    Every threshold of chance is the share of ``false_alarms_a_year`` that falls on one test of one look, half
    of it on those of quality, which train: the union bound holds however much looks overlap. It is alpha
    spending, at a constant rate: Lan and DeMets (1983).
    """
    settings = project.monitoring
    if project.split.kind == "time" and (by := str(project.split.by)) in reference:
        reference = reference.sort_values(by, kind="stable", ignore_index=True)
    inputs = _inputs(project, reference)
    parts = parts_of(project, reference, window.recent)
    allowed = settings.false_alarms_a_year / settings.looks_a_year / 2
    alpha = allowed / (len(inputs.columns) * len(parts) * TESTS_A_COLUMN + labels.TESTS)
    alpha_of_quality = allowed / (len(parts) + TESTS_OF_QUALITY)
    not_seen: list[str] = []
    looks: list[ColumnLook] = []
    broken: list[BrokenColumn] = []
    elsewhere = _elsewhere(inputs, window, {one.column for one in broken_before})
    if len(window.recent) >= settings.min_rows:
        for part, (before, now) in parts.items():
            rows = window.recent.part(now)
            looks += [
                columns.look(
                    inputs[name][before], _column(rows, name), settings, alpha, part, elsewhere[name]
                )
                for name in map(str, inputs)
            ]
        broken = _broken(inputs, window, looks, broken_before)
    else:
        not_seen.append(f"inputs: {len(window.recent)} of at least {settings.min_rows} rows")
    lost_before = losses.losses(project, reference, reference[project.target])
    true = _came_true(project, reference, lost_before, window, alpha_of_quality)
    if not true.quality:
        not_seen.append(_too_few(true.labels, settings, window))
    before_as_a_whole = losses.mean(lost_before)
    estimated, lost = _estimated(project, reference, before_as_a_whole, window.said, alpha_of_quality)
    return Seen(
        columns=tuple(looks),
        broken=tuple(broken),
        said=tuple(_said(project, reference, window.said, alpha)),
        quality=tuple(true.quality),
        calibration=true.calibration,
        weighted=true.weighted,
        estimated=estimated,
        estimated_lost=lost,
        loss_before=before_as_a_whole.value,
        answers_recent=len(window.recent),
        labels=true.labels,
        trouble_with_labels=labels.trouble_with_labels(project, reference, window, alpha),
        odd_senders=tuple(true.odd),
        trouble_with_service=tuple(service.troubles(window, settings)),
        refused=tuple(service.refused(window)),
        not_seen=tuple(not_seen),
        figures=_figures(project, window),
    )


def _figures(project: Project, window: Window) -> dict[str, float]:
    milliseconds = window.recent.told["milliseconds"].astype(float)
    return {
        **service.figures(window, project.monitoring),
        "labels for rows nobody asked": float(window.labels_unknown),
        "rows with several labels": float(window.labels_twice),
        **({"p95 milliseconds": float(milliseconds.quantile(0.95))} if len(milliseconds) else {}),
    }


def _inputs(project: Project, reference: pd.DataFrame) -> pd.DataFrame:
    """Return the inputs of the reference that can be held against later ones: moments cannot."""
    said = losses.class_columns(reference).values()
    given = reference.drop(columns=[project.target, "prediction", *said])
    return given[[name for name in given if not columns.is_time(given[name])]]


def _elsewhere(
    inputs: pd.DataFrame, window: Window, broken_before: set[str]
) -> dict[str, columns.SeenElsewhere]:
    """Return what each column had anywhere in the reference, and in the rows just before if it was sound."""
    return {
        name: columns.seen_elsewhere(
            inputs[name], *([] if name in broken_before else [_column(window.earlier, name)])
        )
        for name in map(str, inputs)
    }


def _column(rows: Answers, name: str) -> pd.Series:
    """Return an input column; one that nobody sends is all missing."""
    if name in rows.inputs:
        return rows.inputs[name]
    return pd.Series(np.nan, index=rows.told.index, name=name, dtype="float64")


def _broken(
    inputs: pd.DataFrame, window: Window, looks: list[ColumnLook], before: tuple[BrokenColumn, ...]
) -> list[BrokenColumn]:
    """Return the broken columns with the time since when, one a column: of all rows, else of a slice.

    One that was found broken before keeps its beginning as long as it is.
    """
    found: dict[str, BrokenColumn] = {}
    known = {(one.column, one.part): one for one in before}
    times = window.recent.told["at"].to_numpy(float)
    for one in looks:
        if not one.broken or one.column in found or (one.part and one.rows == len(times)):
            continue
        since = known.get((one.column, one.part))
        begins = since.begins if since else float(times[_onset(window, one)])
        found[one.column] = BrokenColumn(column=one.column, part=one.part, begins=begins, why=one.broken)
    for name in map(str, inputs):
        if name in found:
            continue
        column = _column(window.recent, name)
        at = columns.jump(inputs[name], _column(window.earlier, name), column)
        since = known.get((name, ALL))
        if at is not None:
            begins = since.begins if since else float(times[at])
            after = column.iloc[at:].dropna()
            why = "other values than before, from one row on"
            if after.nunique() == 1:
                why = f"{after.iloc[0]} in all rows, from one on"
            found[name] = BrokenColumn(column=name, part=ALL, begins=begins, why=why)
        elif since and columns.far(inputs[name], column):
            found[name] = since
    return list(found.values())


def _onset(window: Window, one: ColumnLook) -> int:
    """Return the row of the window from which on a column is broken; of a slice, its first row."""
    if one.strange is None or one.part:
        return 0
    return columns.onset(one.strange(_column(window.recent, one.column)))


@dataclass(frozen=True)
class _True:
    """What labels tell, without those of odd senders; whether rows were weighted; how many labels."""

    odd: list[LabelTrouble]
    quality: list[Quality]
    weighted: bool
    calibration: Calibration | None
    labels: int

    @property
    def trains(self) -> bool:
        """Whether quality is lost in a way that may start a training."""
        return any(one.lost for one in self.quality) or bool(self.calibration and self.calibration.off)


def _came_true(
    project: Project, reference: pd.DataFrame, before: np.ndarray, window: Window, alpha: float
) -> _True:
    """Return what labels tell; before they train, less proof is enough that one sender alone says so."""
    suspicion = SUSPICION, project.monitoring.max_loss_increase
    for proof in ((alpha,), suspicion):
        odd = labels.odd_senders(project, reference, window.judged, *proof)
        judged = labels.without(window.judged, odd)
        quality, weighted = _quality(project, reference, before, judged, alpha)
        found = _calibration(project, reference, judged, alpha)
        true = _True(odd, quality, weighted, found, int(judged.told["labelled"].sum()))
        if odd or not true.trains:
            break
    return true


def _quality(
    project: Project, reference: pd.DataFrame, before: np.ndarray, judged: Answers, alpha: float
) -> tuple[list[Quality], bool]:
    """Return the quality that came true, in all rows and in each slice, and whether rows were weighted."""
    settings = project.monitoring
    mask, labelled = judged.told["labelled"].to_numpy(bool), judged.labelled
    if len(labelled) < settings.min_labels:
        return [], False
    now = losses.losses(project, labelled.said, labelled.told["label"])
    days = labelled.days
    weights = losses.weights_of_labelled(judged.inputs, mask)
    found = []
    for part, (mask_before, mask_now) in parts_of(project, reference, labelled).items():
        chosen = None if weights is None else weights[mask_now]
        if mask_now.sum() < settings.min_labels:
            continue
        one, alone = losses.mean(before[mask_before]), losses.mean(now[mask_now], chosen)
        two = losses.mean(now[mask_now], chosen, days[mask_now])
        # What days have in common, those of the reference had, too: it does not tell them apart.
        one = replace(one, error=one.error * (two.error / alone.error if alone.error else 1.0))
        lost = losses.surely_more(one, two, settings.max_loss_increase, alpha)
        found.append(Quality(part, one, two, lost))
    return found, weights is not None


def _said(project: Project, reference: pd.DataFrame, answered: Answers, alpha: float) -> list[ColumnLook]:
    """Return what became of the answers, and of how sure the model is of them."""
    if len(answered) < project.monitoring.min_rows:
        return []
    before, now = (pd.DataFrame({"answer": one["prediction"]}) for one in (reference, answered.said))
    if project.task == "classification":
        before["answer"], now["answer"] = losses.as_text(before["answer"]), losses.as_text(now["answer"])
        if losses.class_columns(reference):
            before["confidence"], now["confidence"] = confidence(reference), confidence(answered.said)
    found = (columns.look(before[name], now[name], project.monitoring, alpha) for name in before)
    return [replace(one, broken="", strange=None) for one in found]


def _calibration(
    project: Project, reference: pd.DataFrame, judged: Answers, alpha: float
) -> Calibration | None:
    labelled = judged.labelled
    if len(labelled) < project.monitoring.min_labels:
        return None
    return calibration(project, reference, labelled.said, labelled.told["label"], labelled.days, alpha)


def _too_few(count: int, settings: Monitoring, window: Window) -> str:
    """Return why quality is not looked at, with the labels that came and wait."""
    told = f"quality: {count} of at least {settings.min_labels} labels of what version {window.champion} said"
    said, begins = window.said.told, window.now - settings.matured_days * DAY
    young = int(said["labelled"][said["at"] > begins].sum()) if settings.matured_days else 0
    days = f"{settings.matured_days:g} day{'' if settings.matured_days == 1 else 's'}"
    return f"{told}; {young} more wait until the answers are {days} old (matured_days)" if young else told


def _estimated(
    project: Project, reference: pd.DataFrame, before: Mean, answered: Answers, alpha: float
) -> tuple[Estimate | None, bool]:
    if len(answered) < project.monitoring.min_rows:
        return None, False
    found = estimate(project, reference, answered.inputs, answered.said)
    if found is None:
        return None, False
    margin = project.monitoring.max_loss_increase
    return found, losses.surely_more(before, found.loss, margin, alpha)
