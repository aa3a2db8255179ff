"""Whether labels can be believed: they stopped, all say the same, or one sender alone says otherwise."""

from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from ml.console import rounded
from ml.monitoring import columns, losses
from ml.monitoring.losses import Mean
from ml.monitoring.window import Answers, Window
from ml.project import Project

FEW_LABELS = 3  # times fewer than before is a source that stopped
TESTS = 2  # whether they come
ODD = 0.5  # of the mean cost of a row: days are bad for one client alone, but by less than that


@dataclass(frozen=True)
class LabelTrouble:
    """What is wrong with labels; those of rows since ``begins`` (of one ``sender``, or all) teach nothing."""

    why: str
    begins: float | None = None
    sender: str | None = None


def trouble_with_labels(
    project: Project, reference: pd.DataFrame, window: Window, alpha: float
) -> LabelTrouble | None:
    """Return whether labels stopped coming, or say all the same; none if not."""
    settings = project.monitoring
    answers, labelled = window.before
    newest = window.matured.told.tail(columns.newest_rows(len(window.matured), settings.min_rows))
    if answers >= settings.min_rows <= len(newest) and labelled:
        usual, came = labelled / answers, int(newest["labelled"].sum())
        if columns.seldom(came, len(newest), usual / FEW_LABELS, alpha):
            return LabelTrouble(
                f"labels came for {came / len(newest):.1%} of the answers, before for {usual:.1%}"
            )
    told = window.matured.told[window.matured.told["labelled"].astype(bool)]
    if len(told) < settings.min_labels:
        return None
    labels = losses.as_text(told["label"])
    counts = labels.tail(columns.newest_rows(len(told), settings.min_labels)).value_counts(normalize=True)
    before = losses.as_text(reference[project.target]).value_counts(normalize=True)
    if counts.iloc[0] >= columns.CONSTANT and before.get(counts.index[0], 0.0) < columns.NOT_CONSTANT:
        since = columns.onset((labels == counts.index[0]).to_numpy())
        why = f"{counts.iloc[0]:.0%} of the labels say {counts.index[0]!r}"
        return LabelTrouble(why, float(told["at"].iloc[since]))
    return None


def odd_senders(
    project: Project, reference: pd.DataFrame, judged: Answers, alpha: float, more: float = ODD
) -> list[LabelTrouble]:
    """Return whose labels cost surely and considerably more than they were said to, while the rest's do not.

    ``more`` is by how much, of the mean cost of a row.

    A world that changed does so for all; what one sender alone tells may be poisoned, and teaches nothing
    until a person has looked. What a row costs counts beyond what the model itself states, so that who asks
    about hard rows is not odd.
    """
    labelled = judged.labelled
    senders = labelled.told["sender"].fillna("").to_numpy(str)
    names, counts = np.unique(senders, return_counts=True)
    least, found = project.monitoring.min_labels, []
    if len(names) < 2:
        return []
    beyond = _beyond(project, labelled.said, labelled.told["label"])
    usual = losses.mean(_beyond(project, reference, reference[project.target]))
    margin = more * losses.losses(project, reference, reference[project.target]).mean()
    for name in names[counts >= least]:
        own = senders == name
        rest = losses.mean(beyond[~own])
        one = losses.mean(beyond[own])
        if rest.rows < least or losses.surely_above(usual, rest, margin, alpha):
            continue
        if losses.surely_above(rest, one, margin, alpha / len(names)):
            begins = float(labelled.told["at"].to_numpy(float)[own].min())
            found.append(LabelTrouble(_told(str(name), one, rest), begins, str(name)))
    return found


def without(judged: Answers, senders: list[LabelTrouble]) -> Answers:
    """Return the rows as if the labels of these senders had not come."""
    if not senders:
        return judged
    odd = judged.told["sender"].fillna("").isin([one.sender for one in senders])
    return replace(judged, told=judged.told.assign(labelled=judged.told["labelled"].astype(bool) & ~odd))


def _beyond(project: Project, said: pd.DataFrame, truth: pd.Series) -> np.ndarray:
    """Return by how much each row costs more than its probabilities state."""
    cost = losses.losses(project, said, truth)
    if project.task == "regression" or not (names := losses.class_columns(said)):
        return cost
    stated = np.clip(said[list(names.values())].to_numpy(float), losses.LEAST_PROBABILITY, 1.0)
    return np.asarray(cost + (stated * np.log(stated)).sum(axis=1))


def _told(name: str, one: Mean, rest: Mean) -> str:
    who = f"sender {name}" if name else "a sender without a key"
    return (
        f"{one.rows} labels of {who} cost {rounded(one.value, 3)} a row beyond what was stated, "
        f"the {rest.rows} of the others {rounded(rest.value, 3)}"
    )
