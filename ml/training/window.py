"""How far back a model learns: all rows, or only the newest days, if that predicts what came next better."""

import pandas as pd

from ml.data.split import times
from ml.errors import MlError
from ml.project import Project
from ml.training.grid import EstimatorChoice
from ml.training.scores import positive_class, scorer
from ml.training.search import fit

# The rows that judge are as many as this share of a part that is as long as the test; fewer judge nothing.
OF_THE_TEST, LEAST_ROWS = 0.5, 100


def newest(project: Project, rows: pd.DataFrame, days: float | None) -> pd.DataFrame:
    """Return the rows of the newest days; all, if no number is given."""
    if days is None:
        return rows
    when = times(rows, project)
    found: pd.DataFrame = rows[(when > when.max() - pd.Timedelta(days=days)).to_numpy()]
    return found


def choose_window(
    project: Project, chosen: EstimatorChoice, rows: pd.DataFrame, target: pd.Series
) -> tuple[float | None, dict[str, float]]:
    """Return how many of the newest days to learn from, none for all, and what each choice scored.

    Each is learned from what was before a stretch half as long as the test, and the gap, and judged by that
    stretch: forward in time. A window that has too few rows, or one class only, is not tried.
    """
    windows = project.training.windows_days
    if not windows:
        return None, {}
    if project.split.kind != "time":
        raise MlError('project.toml: training.windows_days needs [split] kind = "time"')
    when = times(rows, project)
    longest = (when.max() - when.min()) * project.split.test_share
    if project.split.max_test_days is not None:
        longest = min(longest, pd.Timedelta(days=project.split.max_test_days))
    start = when.max() - longest * OF_THE_TEST
    before, after = when < start - pd.Timedelta(days=project.split.gap_days), when >= start
    least = 2 if project.task == "classification" else 1
    if after.sum() < LEAST_ROWS or target[after.to_numpy()].nunique() < least:
        return None, {}
    known = rows[before.to_numpy()].assign(**{project.target: target[before.to_numpy()]})
    score = scorer(project.training.metric, positive_class(project, target))
    scores: dict[float | None, float] = {}
    for days in (None, *windows):
        learned = newest(project, known, days)
        if len(learned) < LEAST_ROWS or learned[project.target].nunique() < least:
            continue
        pipeline = fit(project, chosen, learned.drop(columns=project.target), learned[project.target])
        scores[days] = float(score(pipeline, rows[after.to_numpy()], target[after.to_numpy()]))
    best = max(scores, key=lambda days: scores[days], default=None)
    return best, {"all" if days is None else f"{days:g} days": one for days, one in scores.items()}
