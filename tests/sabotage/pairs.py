"""Does a harmless retraining pass, and does a spoiled model not? ``python -m tests.sabotage.pairs``.

For each built-in project many pairs of models are fitted on nine tenths of the rows, drawn anew for each: a
champion, and a candidate with the same estimator or another one, now and then with another seed of the split.
Data gates, model gates and the judgement of the trial look at each candidate as they would in a build, but in
this process. Then spoiled candidates take the place. No harmless one may be stopped, all spoiled ones must.
"""

import argparse
import inspect
import itertools
import os
import sys
import tempfile
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pandas as pd
import pytest
from rich.table import Table
from sklearn.model_selection import KFold, StratifiedKFold, cross_val_score
from threadpoolctl import threadpool_limits

from ml.console import progress
from ml.data import sources
from ml.data.contract import examine, load_contract
from ml.data.drift import statistics
from ml.data.gates import judge_data
from ml.data.reference import Reference
from ml.data.row_index import fingerprints
from ml.data.split import split
from ml.delivery.judgement import Observed, Pairs, judge
from ml.files import digest
from ml.project import Project, find_project, project_names
from ml.projects.temperature.make_data import PLACES
from ml.quality.metrics import RecordedPredictions
from ml.quality.slices import slice_rows
from ml.records import DataManifest, ModelManifest, Score
from ml.results import results
from ml.source_settings import agreed_of
from ml.training.bundle import Bundle
from ml.training.grid import EstimatorChoice
from ml.training.scores import positive_class, scorer
from ml.training.search import fit
from tests.quality import test_champion, test_robustness, test_score, test_slices
from tests.quality.conftest import MIN_ROWS, Comparison
from tests.support import make_place

PROJECTS = ("titanic", "temperature")
SHARE = 0.9
REPLAYED = 120  # rows that a trial sees before it judges
GATES = (test_score, test_champion, test_slices, test_robustness)
# What wins on one sample or another; each is in the grid of its project.
ESTIMATORS = {
    "classification": [
        EstimatorChoice("LogisticRegression", {"C": 0.5, "max_iter": 1000}),
        EstimatorChoice("GradientBoostingClassifier", {"learning_rate": 0.05, "max_depth": 3}),
        EstimatorChoice(
            "RandomForestClassifier", {"n_estimators": 200, "max_depth": 5, "min_samples_leaf": 2}
        ),
        EstimatorChoice(
            "HistGradientBoostingClassifier", {"learning_rate": 0.03, "max_iter": 150, "max_leaf_nodes": 8}
        ),
        EstimatorChoice("CatBoostClassifier", {"iterations": 300, "learning_rate": 0.03, "depth": 4}),
    ],
    "regression": [
        EstimatorChoice("LinearRegression", {"fit_intercept": True}),
        EstimatorChoice("Ridge", {"alpha": 1.0}),
        EstimatorChoice(
            "HistGradientBoostingRegressor", {"learning_rate": 0.05, "max_iter": 100, "max_leaf_nodes": 8}
        ),
    ],
}


@dataclass
class Made:
    """A model and the rows it was made of, as a build leaves them."""

    project: Project
    labelled: pd.DataFrame
    train: pd.DataFrame
    test: pd.DataFrame
    bundle: Bundle

    @property
    def reference(self) -> Reference:
        """What the data gates of the next build compare with."""
        marked = [
            fingerprints(table, self.project).assign(part=part)
            for part, table in (("train", self.train), ("test", self.test))
        ]
        manifest = DataManifest.model_construct(
            **{
                "rows_in": {"labelled": len(self.labelled)},
                "inputs": {"contract": digest(self.project.folder / "contract.py")},
                "reference_statistics": statistics(
                    self.train.drop(columns=self.project.id), self.project.personal
                ),
            }
        )
        return Reference(1, manifest, pd.concat(marked))


Spoil = Callable[["Made", np.random.Generator], "Made"]


def make(project: Project, labelled: pd.DataFrame, chosen: EstimatorChoice, spoil: str = "") -> Made:
    """Split the rows and fit the estimator, on rows that ``spoil`` names the damage of."""
    parts = split(labelled, project)
    train, test = parts["train"], parts["test"]
    random = np.random.default_rng(project.seed + len(labelled))
    rows = train.drop(columns=project.target)
    target = train[project.target]
    if spoil in SPOILED_ROWS:
        rows, target = SPOILED_ROWS[spoil](project, rows, target, random)
    pipeline = fit(project, chosen, rows, target)
    metric, positive = project.training.metric, positive_class(project, train[project.target])
    folds = StratifiedKFold if project.task == "classification" else KFold
    scores = cross_val_score(
        pipeline,
        rows,
        target,
        cv=folds(3, shuffle=True, random_state=project.seed),
        scoring=scorer(metric, positive),
    )
    manifest = ModelManifest.model_construct(
        **{
            "estimator": chosen.estimator,
            "parameters": chosen.parameters,
            "positive": positive,
            "training_score": float(scorer(metric, positive)(pipeline, rows, target)),
            "cross_validation": {
                metric: Score(mean=float(np.mean(scores)), standard_deviation=0.0, folds=[])
            },
        }
    )
    if spoil in SPOILED_ANSWERS:
        pipeline = Spoiled(pipeline, SPOILED_ANSWERS[spoil], random)
    bundle = Bundle(project, pipeline, load_contract(project), {}, manifest)
    return Made(project, labelled, train, test, bundle)


Rows = tuple[pd.DataFrame, pd.Series]


def _no_feature(project: Project, rows: pd.DataFrame, target: pd.Series, random: np.random.Generator) -> Rows:
    """Let the raw columns of half of the rows come from other rows."""
    shuffled = rows.iloc[random.permutation(len(rows))].set_axis(rows.index)
    return shuffled.assign(**{project.id: rows[project.id]}), target


def _other_end(project: Project, rows: pd.DataFrame, target: pd.Series, _: np.random.Generator) -> Rows:
    """Turn the target around: classes exchanged, numbers mirrored at their mean."""
    if project.task == "regression":
        return rows, 2 * target.mean() - target
    classes = sorted(target.unique())
    return rows, target.map(dict(zip(classes, classes[::-1], strict=True)))


def _noise(project: Project, rows: pd.DataFrame, target: pd.Series, random: np.random.Generator) -> Rows:
    """Deal the target of four rows in ten out anew, towards its other end."""
    other = _other_end(project, rows, target, random)[1]
    return rows, target.where(random.random(len(target)) > 0.4, other)


def _few(project: Project, rows: pd.DataFrame, target: pd.Series, random: np.random.Generator) -> Rows:
    """Train on twenty rows, ten of each class."""
    classes = target if project.task == "classification" else target > target.median()
    chosen = [part.sample(10, random_state=1).index for _, part in target.groupby(classes)]
    kept = np.concatenate(chosen)
    return rows.loc[kept], target.loc[kept]


def _one_part(project: Project, rows: pd.DataFrame, target: pd.Series, _: np.random.Generator) -> Rows:
    """Give the answer of the most frequent class, or the mean, for nearly every row."""
    if project.task == "regression":
        return rows, target.mean() + (target - target.mean()) * 0.05
    common = target.mode()[0]
    keep = (target == common) | (np.arange(len(target)) % 12 == 0)
    return rows[keep], target[keep]


SPOILED_ROWS: dict[str, Callable[[Project, pd.DataFrame, pd.Series, np.random.Generator], Rows]] = {
    "labels of other rows": _no_feature,
    "labels turned around": _other_end,
    "labels of four rows in ten wrong": _noise,
    "twenty rows only": _few,
    "one answer for nearly all": _one_part,
}


def _units(rows: pd.DataFrame, answer: Callable[[pd.DataFrame], Any], _: np.random.Generator) -> Any:
    numbers = [name for name in rows.select_dtypes("float")]
    return answer(rows.assign(**{name: rows[name] * 100 for name in numbers}))


def _skewed(rows: pd.DataFrame, answer: Callable[[pd.DataFrame], Any], _: np.random.Generator) -> Any:
    changed = {name: rows[name].to_numpy()[::-1] for name in rows.columns[1:]}
    return answer(rows.assign(**changed))


def _delayed(rows: pd.DataFrame, answer: Callable[[pd.DataFrame], Any], _: np.random.Generator) -> Any:
    return np.roll(answer(rows), 1, axis=0)


def _guessed(rows: pd.DataFrame, answer: Callable[[pd.DataFrame], Any], random: np.random.Generator) -> Any:
    said = answer(rows)
    return np.where(
        (random.random(len(said)) < 0.5).reshape(-1, *[1] * (said.ndim - 1)), random.permutation(said), said
    )


def _shifted(rows: pd.DataFrame, answer: Callable[[pd.DataFrame], Any], _: np.random.Generator) -> Any:
    """Answer too much: a number is larger by a deviation, the last class is said from a tenth on."""
    said = answer(rows)
    if said.ndim == 1 and said.dtype.kind == "f":
        return said + said.std()
    return said


SPOILED_ANSWERS: dict[str, Callable[..., Any]] = {
    "units mistaken when it predicts": _units,
    "columns of other rows when it predicts": _skewed,
    "answers late by a row": _delayed,
    "half of its answers dealt out": _guessed,
    "answers too much": _shifted,
}
SPOILED = (*SPOILED_ROWS, *SPOILED_ANSWERS)


class Spoiled:
    """A fitted pipeline whose answers somebody spoils."""

    def __init__(self, pipeline: Any, spoil: Callable[..., Any], random: np.random.Generator) -> None:
        """Stand before a pipeline."""
        self.pipeline, self.spoil, self.random = pipeline, spoil, random
        if hasattr(pipeline, "predict_proba"):
            self.classes_ = pipeline.classes_
            self.predict_proba = self._predict_proba

    def __getattr__(self, name: str) -> Any:
        """Be the pipeline in all else."""
        return getattr(self.pipeline, name)

    def _predict_proba(self, rows: pd.DataFrame) -> np.ndarray:
        said: np.ndarray = self.spoil(rows, self.pipeline.predict_proba, np.random.default_rng(1))
        if self.spoil is _shifted:  # what was above a tenth is above a half now
            said = np.column_stack([1 - said[:, -1] ** 0.3, said[:, -1] ** 0.3])
        return said

    def predict(self, rows: pd.DataFrame) -> np.ndarray:
        """Return the spoiled answers."""
        if hasattr(self, "classes_"):
            chosen: np.ndarray = np.asarray(self.classes_)[self._predict_proba(rows).argmax(axis=1)]
            return chosen
        answers: np.ndarray = self.spoil(rows, self.pipeline.predict, np.random.default_rng(1))
        return answers


def stopped(champion: Made, candidate: Made) -> dict[str, list[str]]:
    """Return what each of data, quality and trial says against a candidate, nothing if it may pass."""
    project = candidate.project
    found = [
        str(finding.violation)
        for finding in judge_data(
            project,
            candidate.labelled,
            {"train": candidate.train, "test": candidate.test},
            champion.reference,
        )
        if finding.violation
    ]
    said = {"data": found, "quality": model_gates(champion, candidate)}
    test = candidate.test.drop(columns=project.target)
    rows = test.iloc[np.resize(np.arange(len(test)), REPLAYED)]
    ours, theirs = (RecordedPredictions.of(one.bundle.pipeline, rows) for one in (candidate, champion))
    said["trial"] = judge(seen(theirs), seen(ours), paired(theirs, ours), project.canary, final=True).against
    return said


def model_gates(champion: Made, candidate: Made) -> list[str]:
    """Return what the tests of the model refuse, called as functions: a pytest for each takes too long."""
    project, target = candidate.project, candidate.test[candidate.project.target]
    rows = candidate.test.drop(columns=project.target)
    recorded = RecordedPredictions.of(candidate.bundle.pipeline, rows)
    positive, everything = candidate.bundle.manifest.positive, np.arange(len(rows))
    known = champion.reference.rows.query("part == 'train'")["id"]
    fresh = np.flatnonzero(~fingerprints(rows, project)["id"].isin(known).to_numpy())
    refused: list[str] = []
    given: dict[str, Any] = {
        "gate": partial(_note, refused),
        "declared": _declared,
        "project": project,
        "positive": positive,
        "candidate": candidate.bundle,
        "recorded": recorded,
        "train": candidate.train,
        "test_rows": rows,
        "test_target": target,
        "test_score": float(
            scorer(project.training.metric, positive)(recorded, everything, target.to_numpy())
        ),
        "slice_masks": slice_rows(rows, project.gates.slices) if project.gates.slices else {},
        "figures": {},
    }
    if len(fresh) >= MIN_ROWS and project.gates.champion_tolerance is not None:
        theirs = RecordedPredictions.of(champion.bundle.pipeline, rows)
        whole = Comparison(
            1, project.gates.champion_tolerance, everything, recorded, theirs, target.to_numpy()
        )
        given["comparison"] = whole.part(fresh)
    parameters: dict[str, list[Any]] = {
        "floor_metric": sorted(project.gates.floors),
        "ceiling_metric": sorted(project.gates.ceilings),
        "slice_name": list(given["slice_masks"]),
        "sensitive": project.gates.fairness.sensitive if project.gates.fairness else [],
        "damage": list(project.gates.max_damage),
    }
    for module in GATES:
        for function in [one for name, one in vars(module).items() if name.startswith("test_")]:
            needed = set(inspect.signature(function).parameters)
            if "comparison" in needed and "comparison" not in given:
                continue
            for arguments in _turns(needed, parameters):
                try:
                    function(**{name: given[name] for name in needed - set(arguments)}, **arguments)
                except pytest.skip.Exception:
                    continue
                except Exception as error:  # a model that cannot answer a damaged row is refused, too
                    refused.append(f"{function.__name__}: {type(error).__name__}")
    return refused


def _turns(needed: set[str], parameters: dict[str, list[Any]]) -> Iterator[dict[str, Any]]:
    names = sorted(needed & set(parameters))
    for values in itertools.product(*(parameters[name] for name in names)):
        yield dict(zip(names, values, strict=True))


def _note(refused: list[str], kind: str, what: str, value: float, **about: Any) -> None:
    """Judge as the fixture ``gate`` of tests/quality does."""
    at_least, at_most, interval = (about.get(key) for key in ("at_least", "at_most", "interval"))
    if about.get("if_sure") and interval:
        value = interval[1] if at_least is not None else interval[0]
    if value < at_least if at_least is not None else value > at_most:
        refused.append(f"{kind}: {what}")


def _declared(value: Any, key: str) -> Any:
    if value is None:
        pytest.skip(key)
    return value


def seen(said: RecordedPredictions) -> Observed:
    """Return what a service would have counted of a version that fails and slows nowhere."""
    bins: Counter[str] = Counter()
    if said.probabilities is not None:
        bins.update(f"{min(int(one * 10), 9) / 10:g}" for one in said.probabilities[:, -1])
    return Observed(REPLAYED, seconds={0.01: REPLAYED, float("inf"): REPLAYED}, predictions=dict(bins))


def paired(champion: RecordedPredictions, candidate: RecordedPredictions) -> Pairs:
    """Return what a service would have counted of the rows that both answered."""
    before, after = champion.predictions, candidate.predictions
    if before.dtype.kind != "f":
        return Pairs(dict(Counter((str(one), str(other)) for one, other in zip(before, after, strict=True))))
    sums = {"rows": float(len(before))}
    for name, values in (("difference", after - before), ("champion", before)):
        sums |= {name: float(values.sum()), f"{name} squared": float((values**2).sum())}
    return Pairs(sums=sums)


@cache
def labelled(name: str) -> pd.DataFrame:
    """Return the labelled rows of a project that are in the repository."""
    project = find_project(name)
    with tempfile.TemporaryDirectory() as scratch:
        tables = sources.read_tables(
            agreed_of(project.source), sources.ask(project, Path(scratch)), sources.whole
        )
    return examine(tables.labelled, load_contract(project), project.personal)[0]


def sample(project: Project, table: pd.DataFrame, seed: int) -> pd.DataFrame:
    """Draw nine tenths of the rows; the day that they begin with is agreed on, so a harmless table has it."""
    chosen = table.sample(frac=SHARE, random_state=seed)
    if (rule := project.data_gates.timeliness) and rule.first:
        first = table[table[rule.column].astype(str) == rule.first]
        chosen = pd.concat([chosen, first[~first.index.isin(chosen.index)]])
    return chosen


def try_pair(name: str, number: int, change: bool, spoil: str = "") -> dict[str, list[str]]:
    """Make a champion and a candidate from other nine tenths of the rows, and return who stops it."""
    # The intervals of floors and ceilings are told and refuse nothing, and take most of the time.
    shown = mock.patch.object(test_score, "interval", lambda *_, **__: None)
    with warnings.catch_warnings(action="ignore"), threadpool_limits(1), shown:
        project = find_project(name)
        table = labelled(name)
        estimators = ESTIMATORS[project.task]
        ours = estimators[(number + number // len(estimators)) % len(estimators)] if change else None
        theirs = estimators[number % len(estimators)]
        if ours == theirs:
            ours = estimators[(number + 1) % len(estimators)]
        other_split = project.model_copy(update={"seed": project.seed + number % 3})
        other_split._folder, other_split._name = project._folder, project._name
        champion, candidate = (sample(project, table, 2 * number + role) for role in (0, 1))
        return stopped(
            make(project, champion, theirs),
            make(other_split if not spoil else project, candidate, ours or theirs, spoil),
        )


def main(arguments: list[str]) -> int:
    """Print how many harmless candidates were stopped, where and why, and which spoiled ones were not."""
    parser = argparse.ArgumentParser(prog="python -m tests.sabotage.pairs", description=__doc__)
    parser.add_argument("projects", nargs="*", default=PROJECTS, help=", ".join({*PROJECTS, *PLACES}))
    parser.add_argument("--pairs", type=int, default=100)
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="places-") as projects:
        for name in options.projects:
            if name not in project_names():
                make_place(Path(projects), name)
        os.environ["ML_PROJECTS"] = projects
        return _try_all(options.projects, options.pairs)


def _try_all(projects: Sequence[str], pairs: int) -> int:
    failed, table = 0, Table("project", "candidate", "tried", "stopped", "data", "quality", "trial")
    for name in projects:
        for kind, change in (("same estimator", False), ("another estimator", True)):
            tasks = [(name, number, change, "") for number in range(pairs)]
            outcomes = _all(f"{name}, {kind}", tasks)
            failed += _add(table, name, kind, outcomes) > len(outcomes) / 100
        for spoil in SPOILED:
            outcomes = _all(f"{name}, {spoil}", [(name, number, False, spoil) for number in range(3)])
            failed += _add(table, name, spoil, outcomes) < len(outcomes)
    results.print(table)
    return int(failed > 0)


def _all(title: str, tasks: list[tuple[Any, ...]]) -> list[dict[str, list[str]]]:
    outcomes = []
    with ProcessPoolExecutor(2) as pool, progress(title, len(tasks)) as advance:
        for outcome in pool.map(try_pair, *zip(*tasks, strict=True)):
            outcomes.append(outcome)
            advance("")
    return outcomes


def _add(table: Table, name: str, kind: str, outcomes: list[dict[str, list[str]]]) -> int:
    """Add a row to the table and return how many were stopped; of harmless ones it is told why."""
    counts = [str(sum(bool(one[stage]) for one in outcomes)) for stage in ("data", "quality", "trial")]
    stops = sum(any(one.values()) for one in outcomes)
    table.add_row(name, kind, str(len(outcomes)), str(stops), *counts)
    if kind not in SPOILED:
        for number, one in enumerate(outcomes):
            for reason in (reason for stage in one.values() for reason in stage):
                results.print(f"{name}, {kind}, pair {number}: {reason}", markup=False)
    return stops


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
