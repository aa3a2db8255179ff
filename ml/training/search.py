"""The search: candidates compared by cross-validation over all cores, and the fit of the chosen one."""

import json
import signal
import time
import uuid
import warnings
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from joblib import Parallel, delayed
from pandas.api import types
from sklearn.exceptions import ConvergenceWarning
from sklearn.pipeline import Pipeline
from threadpoolctl import threadpool_limits

from ml.console import progress, rounded
from ml.errors import MlError
from ml.project import Project
from ml.training.categories import count_many_valued
from ml.training.cluster import on_cluster
from ml.training.cross_validation import SearchedRows, cross_validate
from ml.training.folds import Folds
from ml.training.grid import EstimatorChoice, make_estimator
from ml.training.pipeline import build_pipeline, feature_table

MAX_RENAMED = 20  # different values: more of them do not fall into the same order by design


@dataclass(frozen=True)
class _Wanted:
    """What is searched: the candidates, in what they are scored, and on which rows."""

    candidates: list[EstimatorChoice]
    metrics: list[str]
    on: SearchedRows


def check_features(project: Project, features: pd.DataFrame) -> None:
    """Raise ``MlError`` with each feature that has one value, tells what another does, misses values.

    Two features tell the same if the values of one can be renamed into those of the other; of numbers that
    are nearly all different this is asked only for a renaming along a line. How often a
    feature that a function makes may be missing is in ``data_gates.max_missing``.
    """
    problems = list(useless_features(project, features).values())
    for name in features:
        missing, most = features[name].isna().mean(), project.data_gates.max_missing.get(str(name), 1.0)
        if missing > most:
            problems.append(
                f"feature '{name}' is missing in {missing:.1%} of the training rows, and "
                f"data_gates.max_missing allows {most:.1%}: mend the function or source that makes it"
            )
    if problems:
        raise MlError("; ".join(problems))


def useless_features(project: Project, features: pd.DataFrame) -> dict[str, str]:
    """Return the features that have one value, or tell what one before tells, each with what to do."""
    seen: dict[bytes, str] = {}
    found = {}
    for name in map(str, features):
        codes, values = pd.factorize(features[name])
        if len(values) < 2:
            shown = "" if name in project.personal else f" {values[0]}" if len(values) else ""
            value = f"the one value{shown}" if len(values) else "no value at all"
            found[name] = (
                f"feature '{name}' is constant in the training data ({value}): mend the function or source "
                "that makes it, or take it out of [features] in project.toml"
            )
            continue
        twin = seen.setdefault(codes.tobytes(), name)
        if twin != name and (len(values) <= MAX_RENAMED or _on_a_line(features[twin], features[name])):
            found[name] = (
                f"features '{twin}' and '{name}' are duplicates in the training data: take one out of "
                "[features] in project.toml"
            )
    return found


def _on_a_line(one: pd.Series, other: pd.Series) -> bool:
    if not (types.is_numeric_dtype(one) and types.is_numeric_dtype(other)):
        return True
    return bool(abs(one.corr(other)) > 1 - 1e-9)


def search(
    project: Project,
    candidates: list[EstimatorChoice],
    rows: pd.DataFrame,
    target: pd.Series,
    metrics: list[str],
    folds: Folds,
    file: Path,
    each: Callable[[dict[str, Any], float], None] = lambda trial, percent: None,
    scheduler: str | None = None,
) -> dict[int, dict[str, Any]]:
    """Score every candidate in every fold, over all cores; return the trials in the order of the grid.

    With a ``scheduler``, these are the cores of its Dask cluster. ``each`` gets a trial as soon as it is
    finished, and how much of the search is done, in percent.
    """
    many_valued = list(count_many_valued(project, feature_table(project, rows)))
    carried = project.carried() if scheduler else project
    on = SearchedRows(uuid.uuid4().hex, carried, rows, target, folds, many_valued)
    wanted = _Wanted(candidates, metrics, on)
    trials: dict[int, dict[str, Any]] = {}
    with open(file, "w", encoding="utf-8") as log, progress("train: trials", len(candidates)) as advance:
        if scheduler:
            finished = on_cluster(scheduler, _trial, len(candidates), wanted)
        else:
            finished = _on_all_cores(wanted)
        try:
            for number, trial in finished:
                trials[number] = trial
                log.write(json.dumps(trial) + "\n")
                log.flush()
                mean = trial["scores"][project.training.metric]["mean"]
                advance(f"{trial['estimator']} {project.training.metric} {rounded(mean)}")
                each(trial, 100 * len(trials) / len(candidates))
        finally:
            # Whoever interrupts knows that trials are lost; joblib need not warn of it after our last line.
            with warnings.catch_warnings(action="ignore"):
                finished.close()
    return dict(sorted(trials.items()))


def _on_all_cores(wanted: _Wanted) -> Generator[tuple[int, dict[str, Any]], None, None]:
    with _started_deaf_to_interrupts():
        finished: Generator[tuple[int, dict[str, Any]], None, None]
        finished = Parallel(n_jobs=-1, return_as="generator_unordered")(
            delayed(_trial)(number, wanted) for number in range(len(wanted.candidates))
        )
    return finished


@contextmanager
def _started_deaf_to_interrupts() -> Iterator[None]:
    """Let processes started in here ignore Ctrl-C: this one gets it too, and ends them without tracebacks."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def fit(
    project: Project,
    candidate: EstimatorChoice,
    rows: pd.DataFrame,
    target: pd.Series,
    seed: int | None = None,
) -> Pipeline:
    """Return the fitted pipeline; equal inputs give a pipeline that pickles to equal bytes.

    An estimator that does not converge raises ``MlError``. The seed is the project's unless one is given.
    """
    many_valued = list(count_many_valued(project, feature_table(project, rows)))
    estimator = make_estimator(candidate, project.seed if seed is None else seed)
    pipeline = build_pipeline(project, estimator, many_valued)
    with threadpool_limits(1), warnings.catch_warnings():
        warnings.simplefilter("error", ConvergenceWarning)
        try:
            pipeline.fit(rows, target)
        except ConvergenceWarning as error:
            reason = str(error).strip().splitlines()[0]
            raise MlError(f"grid.json: {candidate} was stopped before it converged: {reason}") from error
    _forget_the_clock(pipeline[-1])
    return pipeline


def _trial(number: int, wanted: _Wanted) -> tuple[int, dict[str, Any]]:
    start, candidate = time.monotonic(), wanted.candidates[number]
    try:
        with warnings.catch_warnings(action="ignore", category=ConvergenceWarning):
            metric = wanted.on.project.training.metric
            scores, learned = cross_validate(candidate, wanted.on, wanted.metrics, metric)
    except Exception as error:
        reason = str(error).strip().splitlines()[0]
        raise MlError(f"grid.json: {candidate} cannot be fitted: {reason}") from error
    return number, {
        "estimator": candidate.estimator,
        "parameters": candidate.parameters,
        "scores": {
            name: {"mean": float(np.mean(each)), "standard_deviation": float(np.std(each)), "folds": each}
            for name, each in scores.items()
        },
        "learned": learned,
        "seconds": round(time.monotonic() - start, 3),
    }


def _forget_the_clock(estimator: Any) -> None:
    """Take out of a CatBoost model what differs between two equal fits: an id and the time of day."""
    if hasattr(estimator, "get_metadata"):
        metadata = estimator.get_metadata()
        for key in ("model_guid", "train_finish_time"):
            if key in metadata.keys():
                metadata[key] = ""
