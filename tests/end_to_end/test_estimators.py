"""Every estimator that ``grid.json`` may name goes through every gate, for each kind of target."""

import importlib
import importlib.util
import inspect
import itertools
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import joblib
import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import f1_score

from ml.cli import main
from ml.data.formats import read_json
from ml.data.rows import records
from ml.errors import MlError
from ml.project import find_project
from ml.quality.metrics import RecordedPredictions
from ml.quality.slices import slice_rows
from ml.serving.loaded import ready
from ml.serving.openapi import describe_rows
from ml.training.bundle import load_bundle
from ml.training.grid import MODULES, OPTIONAL, UNFIT, read_grid, unfit
from ml.training.scores import scorer
from ml.workspace import Workspace
from tests.conftest import Site
from tests.quality import test_expectations, test_robustness, test_runtime, test_score, test_slices
from tests.quality import test_training as training_gates

pytestmark = pytest.mark.slow

ROWS = 150
GATES: tuple[ModuleType, ...] = (
    test_expectations,
    test_robustness,
    test_runtime,
    test_score,
    test_slices,
    training_gates,
)
# What an estimator needs to be quick, to converge or to have neighbours
PARAMETERS: dict[str, dict[str, list[Any]]] = {
    "LogisticRegression": {"max_iter": [500]},
    "LogisticRegressionCV": {"max_iter": [500], "Cs": [3], "cv": [2]},
    "Perceptron": {"max_iter": [1000], "tol": [0.01]},
    "PassiveAggressiveClassifier": {"max_iter": [2000], "tol": [0.01]},
    "PassiveAggressiveRegressor": {"max_iter": [2000], "tol": [0.01]},
    "SGDClassifier": {"max_iter": [2000], "tol": [0.01]},
    "SGDRegressor": {"max_iter": [2000], "tol": [0.01]},
    "BaggingClassifier": {"n_estimators": [5]},
    "BaggingRegressor": {"n_estimators": [5]},
    "ExtraTreesClassifier": {"n_estimators": [10]},
    "ExtraTreesRegressor": {"n_estimators": [10]},
    "RandomForestClassifier": {"n_estimators": [10]},
    "RandomForestRegressor": {"n_estimators": [10]},
    "GradientBoostingClassifier": {"n_estimators": [10]},
    "GradientBoostingRegressor": {"n_estimators": [10]},
    "HistGradientBoostingClassifier": {"max_iter": [5]},
    "HistGradientBoostingRegressor": {"max_iter": [5]},
    "AdaBoostClassifier": {"n_estimators": [5]},
    "AdaBoostRegressor": {"n_estimators": [5]},
    "RadiusNeighborsClassifier": {"radius": [1000.0]},
    "RadiusNeighborsRegressor": {"radius": [1000.0]},
    "LinearSVC": {"max_iter": [20000]},
    "LinearSVR": {"max_iter": [20000]},
    "NuSVC": {"nu": [0.2]},
    "MLPClassifier": {"hidden_layer_sizes": [[4]], "max_iter": [3000], "tol": [0.01]},
    "MLPRegressor": {"hidden_layer_sizes": [[4]], "max_iter": [3000], "tol": [0.1]},
    "QuadraticDiscriminantAnalysis": {"reg_param": [0.5]},
    "ElasticNetCV": {"cv": [2]},
    "LassoCV": {"cv": [2]},
    "LarsCV": {"cv": [2]},
    "LassoLarsCV": {"cv": [2]},
    "OrthogonalMatchingPursuitCV": {"cv": [2]},
    "TheilSenRegressor": {"max_subpopulation": [100], "max_iter": [1000]},
    "HuberRegressor": {"max_iter": [1000]},
    "GammaRegressor": {"max_iter": [1000]},
    "PoissonRegressor": {"max_iter": [1000]},
    "TweedieRegressor": {"max_iter": [1000]},
    "CatBoostClassifier": {"iterations": [5], "depth": [2]},
    "CatBoostRegressor": {"iterations": [5], "depth": [2]},
}
# Some take counts or categories and no scaled numbers, some no columns that sum up to one: they are for
# projects whose features are all of one kind.
COUNTS, NUMBERS = {"numeric": "[]"}, {"categorical": "[]"}
FEATURES = dict.fromkeys(("MultinomialNB", "ComplementNB", "CategoricalNB"), COUNTS) | dict.fromkeys(
    ("Lars", "LarsCV", "LassoLars", "LassoLarsCV", "LassoLarsIC"), NUMBERS
)
SAME_ANSWERS = (
    *("pickle", "isolation", "batch", "serving", "fast path", "reproducible", "environment", "expectation"),
)
AROUND_ANOTHER = {"StackingClassifier", "StackingRegressor", "VotingClassifier", "VotingRegressor"}
TARGETS = {
    "regression": ("regression", "float", "r2"),
    "large numbers": ("regression", "float", "r2"),
    "two classes": ("classification", "int", "accuracy"),
    "three classes": ("classification", "int", "accuracy"),
    "text classes": ("classification", "str", "accuracy"),
    "yes or no": ("classification", "str", "f1"),
}
SETTINGS = """
title = "Estimators"
task = "{task}"
target = "answer"
id = "number"
source = {{kind = "csv", labelled = "rows.csv"}}
split = {{test_share = 0.3}}
training = {{metric = "{metric}", folds = 2}}
channels = {{production = 8002}}
[features]
numeric = {numeric}
categorical = {categorical}
[gates]
floors = {{{metric} = 0.01, {more} = 0.01}}
ceilings = {{{error} = 1e99}}
min_gain_over_dummy = -1.0
min_gain_over_one_feature = -1.0
max_gap = 1.0
max_surprise = 1.0
max_score = 1.0
max_divergence = 1e99
max_seed_spread = 1.0
max_seconds_per_row = 1e99
max_seconds_per_request = 1e99
max_seconds_to_load = 1e99
max_model_bytes = 1_000_000_000
max_memory_bytes = 1_000_000_000_000
slices = {{by = [["kind"]], floor = 0.01}}
max_damage = {{noise = 1.0, "swapped categories" = 1.0, "missing values" = 1.0, units = {units}, text = 1.0}}
{fairness}
"""
CONTRACT = '''
"""Rows."""

import pandera.pandas as pa


class Rows(pa.DataFrameModel):
    """One row."""

    number: int = pa.Field(unique=True)
    size: float = pa.Field(nullable=True)
    weight: float
    kind: str
    place: str = pa.Field(nullable=True)
    answer: {dtype}
'''
EXPECTATIONS = '''
"""What is expected."""

from ml.expectations import Invariant

EXPECTATIONS = [Invariant("nothing changes", lambda rows: rows)]
'''


def table(target: str) -> pd.DataFrame:
    random = np.random.default_rng(1)
    size, weight = random.normal(size=ROWS), random.normal(size=ROWS)
    kind = random.choice(["round", "square", "long"], ROWS)
    place = pd.Series(random.choice(["north", "south"], ROWS)).mask(random.random(ROWS) < 0.1)
    truth = size + weight + (kind == "round") + random.normal(0, 0.3, ROWS)
    answers = {
        "regression": np.exp(truth / 2) + 1,
        "large numbers": truth * 1e9,
        "two classes": (truth > 0.3).astype(int),
        "three classes": np.digitize(truth, [-0.5, 1.0]),
        "yes or no": np.where(truth > 1, "Yes", "No"),
        "text classes": np.array(["few", "many, or more", "some"])[np.digitize(truth, [-0.5, 1.0])],
    }
    return pd.DataFrame(
        {
            "number": range(ROWS),
            "size": pd.Series(size).mask(random.random(ROWS) < 0.05),
            "weight": weight,
            "kind": kind,
            "place": place,
            "answer": answers[target],
        }
    )


def estimators() -> dict[str, type]:
    found: dict[str, type] = {}
    optional = [name for name in OPTIONAL.values() if importlib.util.find_spec(name)]
    for module in map(importlib.import_module, (*MODULES, *optional)):
        found |= {name: one for name, one in vars(module).items() if inspect.isclass(one) and name[0] != "_"}
    return {name: one for name, one in sorted(found.items()) if not name.startswith("Dask")}


def recording(said: list[str]) -> dict[str, Callable[..., Any]]:
    """Return what stands for the fixtures ``gate``, ``warn`` and ``declared``."""

    def gate(
        kind: str, about: str, value: float, *, at_least: Any = None, at_most: Any = None, **_: Any
    ) -> None:
        name = f"{kind}: {about}"
        passed = value >= at_least if at_least is not None else value <= at_most
        good_enough = kind not in SAME_ANSWERS  # how good it is on such few rows is not asked here
        said.append(name if passed or good_enough else f"REFUSED {name}: {value}")

    return {"gate": gate, "warn": lambda *_: None, "declared": lambda value, _: value}


def calls(function: Callable[..., Any], declared: dict[str, list[Any]]) -> Iterator[dict[str, Any]]:
    """Return the arguments of each test that pytest would make of a function."""
    names = [name for name in inspect.signature(function).parameters if name in declared]
    for values in itertools.product(*(declared[name] for name in names)):
        yield dict(zip(names, values, strict=True))


def judge(name: str, build: Path) -> list[str]:
    """Let every gate look at the candidate; return what they say."""
    from ml.expectations import load_expectations

    project, workspace = find_project(name), Workspace(build, name)
    candidate = load_bundle(workspace.folder("train"))
    data = workspace.folder("data")
    parts = {part: pd.read_parquet(data / f"{part}.parquet") for part in ("train", "test")}
    target = parts["test"].pop(project.target)
    recorded = RecordedPredictions.of(candidate.pipeline, parts["test"])
    served = ready(0, candidate)
    answers = json.loads(json.dumps(records(candidate.predict(parts["test"]))))
    assert project.gates.slices
    slices = slice_rows(parts["test"], project.gates.slices)
    said: list[str] = []
    given = recording(said) | {
        "project": project,
        "positive": (positive := candidate.manifest.positive),
        "workspace": workspace,
        "candidate": candidate,
        "loaded": served,
        "recorded": recorded,
        "train": parts["train"],
        "test_rows": parts["test"],
        "test_target": target,
        "test_score": scorer(project.training.metric, positive)(
            recorded, np.arange(len(target)), target.to_numpy()
        ),
        "slice_masks": slices,
        "figures": {},
        "elsewhere": (there := {"tried": [], "answers": answers, "answers_later": answers}),
        "answered_elsewhere": there | {"load_seconds": 0.1, "memory_bytes": 1},
        "service": lambda rows: json.loads(
            json.dumps(served.answer(read_json(json.dumps(rows).encode(), served.reader)))
        ),
    }
    declared: dict[str, list[Any]] = {
        "floor_metric": sorted(project.gates.floors),
        "ceiling_metric": sorted(project.gates.ceilings),
        "slice_name": list(slices),
        "sensitive": project.gates.fairness.sensitive if project.gates.fairness else [],
        "damage": list(project.gates.max_damage),
        "expectation": load_expectations(project),
    }
    for module in GATES:
        for test, function in list(vars(module).items()):
            if test.startswith("test_"):
                needed = set(inspect.signature(function).parameters) & set(given)
                for arguments in calls(function, declared):
                    try:
                        function(**{one: given[one] for one in needed}, **arguments)  # type: ignore[arg-type]
                    except pytest.skip.Exception as reason:
                        said.append(f"skipped {test}: {reason}")
    return said


def make_project(site: Site, target: str, **more: Any) -> Path:
    task, dtype, metric = TARGETS[target]
    classify = task == "classification"
    folder = site.root / "projects" / target.replace(" ", "-")
    folder.mkdir(exist_ok=True)
    settings = {
        "task": task,
        "metric": metric,
        "more": "f1_macro" if classify else "explained_variance",
        "error": "mean_absolute_error",
        "units": "1.0" if classify else "9.0",
        "numeric": '["size", "weight"]',
        "categorical": '["kind", "place"]',
        "fairness": '[gates.fairness]\nsensitive = ["kind"]\nmax_selection_rate_difference = 1.0\n'
        "max_error_rate_difference = 1.0"
        if classify
        else "",
    }
    text = SETTINGS.format(**settings | more)
    text = text.replace("ceilings = {mean_absolute_error = 1e99}\n", "") if classify else text
    (folder / "project.toml").write_text(text)
    (folder / "contract.py").write_text(CONTRACT.format(dtype=dtype))
    (folder / "expectations.py").write_text(EXPECTATIONS)
    table(target).to_csv(folder / "rows.csv", index=False)
    return folder


@pytest.mark.parametrize("target", ["regression", "two classes", "text classes"])
@pytest.mark.filterwarnings("ignore")
def test_every_estimator_passes_through_every_gate(
    site: Site, target: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ml.quality.metrics.RESAMPLES", 5)
    monkeypatch.setattr(test_runtime, "MAX_ROWS_ALONE", 5)
    monkeypatch.setattr(training_gates, "SHUFFLES", 1)
    monkeypatch.setattr(test_robustness, "STRENGTHS", (0.1,))
    monkeypatch.setattr(test_robustness, "JUDGED_DRAWS", 1)
    monkeypatch.setattr(test_runtime, "_median_seconds", lambda work: 0.0 * len(str(work())))
    folder, build = make_project(site, target), site.root / "build"
    name = folder.name
    problems = []
    assert main(["data", "--project", name, "--build", str(build)]) == 0
    for estimator, found in estimators().items():
        if unfit(found, TARGETS[target][0]):
            continue
        make_project(site, target, **FEATURES.get(estimator, {}))
        (folder / "grid.json").write_text(json.dumps({estimator: PARAMETERS.get(estimator, {})}))
        try:
            with joblib.parallel_config(backend="sequential"):
                code = main(["train", "--project", name, "--build", str(build)])
            said = judge(name, build) if code == 0 else [f"REFUSED by training, exit {code}"]
        except (Exception, pytest.fail.Exception) as error:
            said = [f"REFUSED {type(error).__name__}: {error}"]
        if not any(one.startswith("REFUSED") for one in said):
            assert len(said) >= 20, f"{estimator} was asked by {len(said)} gates only"
        problems += [f"{estimator}: {one}" for one in said if one.startswith("REFUSED")]
    assert problems == []


@pytest.mark.parametrize(
    ("target", "estimator"),
    [
        ("regression", "CatBoostRegressor"),
        ("text classes", "LinearSVC"),
        ("three classes", "HistGradientBoostingClassifier"),
    ],
)
def test_the_quality_stage_judges_and_draws_it(site: Site, target: str, estimator: str) -> None:
    folder, build = make_project(site, target), site.root / "build"
    (folder / "grid.json").write_text(json.dumps({estimator: PARAMETERS[estimator]}))
    stages = ("data", "train", "quality")
    assert [main([stage, "--project", folder.name, "--build", str(build)]) for stage in stages] == [0, 0, 0]


def test_a_processor_that_adds_up_in_another_order_makes_no_other_model(site: Site) -> None:
    """Agents differ, and services' hosts: OpenBLAS may be told to take a processor for another."""
    folder, build = make_project(site, "large numbers", units="1e99"), site.root / "build"
    (folder / "grid.json").write_text('{"Ridge": {}}')
    given = ["--project", folder.name, "--build", str(build)]
    assert [main([stage, *given]) for stage in ("data", "train")] == [0, 0]
    command = [sys.executable, "-m", "ml", "quality", *given]
    environment = os.environ | {"OPENBLAS_CORETYPE": "Nehalem"}
    told = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert told.returncode == 0, told.stderr[-2000:]


@pytest.mark.filterwarnings("ignore")
def test_what_can_be_no_candidate_is_refused_with_its_reason(site: Site) -> None:
    folder = make_project(site, "regression")
    told = {}
    for name, found in estimators().items():
        reasons = {unfit(found, task) for task in ("regression", "classification")}
        if not any("is no " in reason or reason == "" for reason in reasons):
            (folder / "grid.json").write_text(json.dumps({name: {}}))
            with pytest.raises(MlError, match=rf"grid.json: '{name}' ") as caught:
                read_grid(find_project("regression"))
            told[name] = str(caught.value)
    assert set(told) == {*UNFIT, *AROUND_ANOTHER}
    assert all("is built around another estimator" in told[name] for name in AROUND_ANOTHER)


@pytest.mark.parametrize(("declared", "positive"), [("", "Yes"), ('positive = "No"\n', "No")])
def test_a_target_of_texts_has_a_positive_class_that_is_told(
    site: Site, capsys: pytest.CaptureFixture[str], declared: str, positive: str
) -> None:
    folder, build = make_project(site, "yes or no", more="precision"), site.root / "build"
    settings = (folder / "project.toml").read_text()
    settings = settings.replace("floors = {", "floors = {average_precision = 0.01, ")
    errors = "ceilings = {brier_score = 0.5, calibration_error = 1.0}"
    settings = settings.replace("[gates]\n", f"[gates]\n{errors}\n")
    (folder / "project.toml").write_text(declared + settings)
    (folder / "grid.json").write_text('{"LogisticRegression": {}}')
    stages = ("data", "train", "quality")
    assert [main([stage, "--project", folder.name, "--build", str(build)]) for stage in stages] == [0, 0, 0]
    told = f"the positive class of 'answer' is '{positive}', the rarer one" in capsys.readouterr().err
    assert told is not bool(declared)
    verdict = json.loads((build / folder.name / "quality" / "verdict.json").read_text())
    gates = {gate["gate"]: gate for gate in verdict["gates"]}
    for name in ("floor: f1", "floor: precision", "floor: average_precision", "ceiling: brier_score"):
        assert gates[name]["message"].endswith(f"(of class '{positive}')")
        assert gates[name]["interval"][0] <= gates[name]["value"] <= gates[name]["interval"][1]
    bundle = load_bundle(build / folder.name / "model")
    test = pd.read_parquet(build / folder.name / "data" / "test.parquet")
    right = f1_score(test["answer"], bundle.predict(test)["prediction"], pos_label=positive)
    assert gates["floor: f1"]["value"] == pytest.approx(right)
    schema: dict[str, Any] = {"paths": {"/predict": {"post": {}}}}
    schema["components"] = {"schemas": {"Answer": {"properties": {"predictions": {}}}}}
    describe_rows(schema, ready(1, bundle))
    assert f"positive class is '{positive}'" in str(schema["components"]["schemas"]["Prediction"])
