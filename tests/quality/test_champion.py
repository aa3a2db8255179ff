"""Is the candidate no worse than what is served now, overall and on every slice? Both on the same rows."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from ml.console import rounded
from ml.project import Project
from ml.quality.metrics import mcnemar, paired_interval
from ml.training.scores import scorer
from tests.quality.conftest import MIN_ROWS, SURE, Comparison


def test_no_worse_than_the_champion(
    gate: Callable[..., None],
    project: Project,
    positive: Any,
    comparison: Comparison,
    figures: dict[str, Any],
) -> None:
    """The score is not for sure more than ``champion_tolerance`` below the champion's.

    On a few hundred rows chance alone moves the difference of two equally good models by more than that.
    """
    metric = project.training.metric
    ours, theirs = _scores(comparison, metric, positive)
    which = f"these {len(comparison.rows)} {'newer ' * comparison.newer}rows"
    figures["champion"] = {
        name: dict(zip(("candidate", "champion"), _scores(comparison, name, positive), strict=True))
        for name in sorted({metric, *project.gates.floors})
    }
    gate(
        "champion",
        f"{metric}, candidate minus champion",
        ours - theirs,
        at_least=-comparison.tolerance,
        interval=paired_interval(
            metric,
            comparison.ours,
            comparison.theirs,
            comparison.target,
            project.seed,
            SURE,
            positive,
        ),
        if_sure=True,
        note=f"({rounded(ours)}; version {comparison.version} on {which} {rounded(theirs)})",
    )


def test_not_surely_worse_than_the_champion(
    gate: Callable[..., None], declared: Callable[..., float], project: Project, comparison: Comparison
) -> None:
    """The rows on which only one of the two is right do not speak against the candidate (McNemar).

    A share of ``champion_tolerance`` of all rows may be lost.
    """
    least = declared(project.gates.min_mcnemar_p, "min_mcnemar_p")
    ours, theirs = comparison.ours.predictions, comparison.theirs.predictions
    p_value = mcnemar(ours, theirs, comparison.target, comparison.tolerance)
    gate("champion", "McNemar p-value", p_value, at_least=least)


def test_no_slice_is_worse_than_the_champion(
    slice_name: str,
    gate: Callable[..., None],
    project: Project,
    positive: Any,
    comparison: Comparison,
    slice_masks: dict[str, np.ndarray],
) -> None:
    """No slice loses for sure; the certainty is shared by all slices (Bonferroni)."""
    part = comparison.part(slice_masks[slice_name][comparison.rows])
    if len(part.rows) < MIN_ROWS or len(np.unique(part.target)) < 2:
        pytest.skip(f"too few of its rows are new to version {comparison.version}")
    metric = project.training.metric
    ours, theirs = _scores(part, metric, positive)
    certainty = 1 - (1 - SURE) / len(slice_masks)
    gate(
        "champion",
        f"{metric} of {slice_name}",
        ours - theirs,
        at_least=-part.tolerance,
        interval=paired_interval(
            metric, part.ours, part.theirs, part.target, project.seed, certainty, positive
        ),
        if_sure=True,
    )


def _scores(comparison: Comparison, metric: str, positive: Any) -> tuple[float, float]:
    everything = np.arange(len(comparison.rows))
    ours, theirs = (
        float(scorer(metric, positive)(one, everything, comparison.target))
        for one in (comparison.ours, comparison.theirs)
    )
    return ours, theirs
