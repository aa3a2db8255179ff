"""How far back a model learns: all rows, or only the newest days, if that predicts what came next better."""

import numpy as np
import pandas as pd
from sklearn.pipeline import Pipeline

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

    Tried are all rows, the declared windows, and those since rows began to come true otherwise. Each is
    learned from what was before a stretch half as long as the test, and the gap, and judged by that stretch:
    forward in time. A window that has too few rows, or one class only, is not tried.
    """
    if not project.training.windows_days:
        return None, {}
    if project.split.kind != "time":
        raise MlError('project.toml: training.windows_days needs [split] kind = "time"')
    when = times(rows, project)
    longest = (when.max() - when.min()) * project.split.test_share
    if project.split.max_test_days is not None:
        longest = min(longest, pd.Timedelta(days=project.split.max_test_days))
    start = when.max() - longest * OF_THE_TEST
    before, after = when < start - pd.Timedelta(days=project.split.gap_days), when >= start
    if not _teaches(project, target[after.to_numpy()]):
        return None, {}
    known = rows[before.to_numpy()].assign(**{project.target: target[before.to_numpy()]})
    score = scorer(project.training.metric, positive_class(project, target))
    # How long each is before the stretch that judges, and how long at the end.
    windows: dict[str, tuple[float | None, float | None]] = {"all": (None, None)}
    windows |= {f"{days:g} days": (days, days) for days in project.training.windows_days}
    begins = _change(project, chosen, known)
    if begins is not None:
        until = when[before.to_numpy()].max()
        windows["since the change"] = _days(until - begins), _days(when.max() - begins)
    scores = {}
    for name, (days, _) in windows.items():
        learned = newest(project, known, days)
        if _teaches(project, learned[project.target]):
            pipeline = fit(project, chosen, *_apart(project, learned))
            scores[name] = float(score(pipeline, rows[after.to_numpy()], target[after.to_numpy()]))
    best = max(scores, key=lambda name: scores[name], default="all")
    return windows[best][1], scores


def _change(project: Project, chosen: EstimatorChoice, known: pd.DataFrame) -> pd.Timestamp | None:
    """Return since when the newer half of the rows comes true otherwise than what the older half taught.

    It is where two means fit the cost of the rows best, by least squares (Hinkley, 1970), and the second is
    higher. Whether it is more than chance is not asked: a window is judged by what it predicts.
    """
    when = times(known, project)
    order = np.argsort(when.to_numpy(), kind="stable")
    half = len(order) // 2
    older, newer = known.iloc[order[:half]], known.iloc[order[half:]]
    if not _teaches(project, older[project.target]) or len(newer) < 2 * LEAST_ROWS:
        return None
    cost = _cost(project, fit(project, chosen, *_apart(project, older)), *_apart(project, newer))
    count = np.arange(LEAST_ROWS, len(cost) - LEAST_ROWS + 1)
    sums = cost.cumsum()
    first, second = sums[count - 1] / count, (sums[-1] - sums[count - 1]) / (len(cost) - count)
    gained = np.where(second > first, count * (len(cost) - count) * (second - first) ** 2, 0.0)
    if not gained.any():
        return None
    begins: pd.Timestamp = when.iloc[order[half + count[gained.argmax()]]]
    return begins


def _cost(project: Project, pipeline: Pipeline, rows: pd.DataFrame, truth: pd.Series) -> np.ndarray:
    """Return how far off each answer is; of classes, the probability of the others, or whether it is one."""
    if project.task == "regression":
        return np.asarray(np.abs(np.asarray(pipeline.predict(rows), float) - truth.to_numpy(float)))
    if not hasattr(pipeline, "predict_proba"):
        return np.asarray(np.asarray(pipeline.predict(rows)) != truth.to_numpy(), float)
    places = pd.Index(pipeline.classes_).get_indexer(truth)
    chances = np.column_stack([pipeline.predict_proba(rows), np.zeros(len(rows))])
    return np.asarray(1.0 - chances[np.arange(len(rows)), places])


def _teaches(project: Project, target: pd.Series) -> bool:
    """Tell whether rows of this target are enough to learn from, or to be judged by."""
    return len(target) >= LEAST_ROWS and target.nunique() >= (2 if project.task == "classification" else 1)


def _apart(project: Project, known: pd.DataFrame) -> tuple[pd.DataFrame, pd.Series]:
    return known.drop(columns=project.target), known[project.target]


def _days(length: pd.Timedelta) -> float:
    """Return how many days a window is long whose oldest row is so much older than its newest."""
    return (length + pd.Timedelta(seconds=1)) / pd.Timedelta(days=1)
