"""The train stage: search the candidates with cross-validation, refit the best, sign it."""

import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ml.console import rounded, say
from ml.errors import MlError
from ml.files import write_json
from ml.project import Project
from ml.records import DataManifest, ModelManifest, Record
from ml.registry.provenance import provenance
from ml.registry.versions import Registry
from ml.stages import Context
from ml.workspace import ROWS_FILE, Outcome, code_digest, declared_for_training

if TYPE_CHECKING:
    import pandas as pd


def run(context: Context) -> Outcome[ModelManifest]:
    """Write ``model.pkl``, its golden predictions, the project's files and every trial; sign the manifest.

    Raises ``MlError`` for a grid that cannot be read, a feature that is constant or a duplicate, and a
    candidate that cannot be fitted; ``GateRefused`` for a made feature that gives the target away.
    """
    project, workspace, force = context.project, context.workspace, context.force
    metrics = sorted({project.training.metric, *project.gates.floors})
    data = workspace.record(DataManifest)
    inputs: dict[str, Any] = {
        # The test rows, too: a version keeps what the looks at production compare with.
        **{
            f"{part}.parquet": data.outputs.get(f"{part}.parquet") for part in ("train", "validation", "test")
        },
        **(declared := declared_for_training(project)),
        "settings": declared["settings"] | {"metrics": metrics},
        "code": code_digest(Path(__file__)),
    }

    def work(folder: Path) -> dict[str, Any]:
        registry = Registry(project.name)
        if not force and (version := registry.trained_from(inputs)):
            say(
                f"train: version {version} was made from the same inputs: its model is taken (--force trains)"
            )
            return _take_from(registry, version, folder)
        return _train(context, metrics, folder) | {"data_sha256": data.outputs}

    return workspace.run(ModelManifest, inputs, work, force=force, signed=True)


def _train(context: Context, metrics: list[str], folder: Path) -> dict[str, Any]:
    """Search, refit the best, write everything into the folder and return what the manifest tells."""
    # Imported only when there is work: an unchanged stage answers at once.
    from ml.data.personal import nothing_told
    from ml.training.bundle import golden_predictions, pickled
    from ml.training.folds import make_folds, read_part
    from ml.training.grid import read_grid
    from ml.training.scores import check_metrics, scorer
    from ml.training.search import fit, search
    from ml.training.window import choose_window, newest

    project, workspace = context.project, context.workspace
    candidates = read_grid(project)
    started = time.monotonic()
    rows = read_part(project, workspace.folder("data"), "train")
    target = rows.pop(project.target)
    with nothing_told(rows, project):
        check_metrics(project, metrics, target)
        positive = _check(project, rows, target)
        seen, seen_target, held_out = _with_validation(context, rows, target)
        folds = make_folds(project, seen, seen_target, held_out)
        metric, point = project.training.metric, _curve(context)
        log = folder / "trials.jsonl"
        trials = search(
            project, candidates, seen, seen_target, metrics, folds, log, point, _scheduler(context)
        )
    best = max(trials, key=lambda number: trials[number]["scores"][metric]["mean"])
    searched = time.monotonic()
    chosen = candidates[best]
    with nothing_told(rows, project):
        window, windows = choose_window(project, chosen, rows, target)
        if window is not None:
            rows = newest(project, rows.assign(**{project.target: target}), window)
            target = rows.pop(project.target)
        pipeline = fit(project, chosen, rows, target)
    (folder / "model.pkl").write_bytes(pickled(pipeline))
    write_json(folder / "golden.json", golden_predictions(pipeline, project, rows))
    _copy_beside(context, folder)
    mean = trials[best]["scores"][metric]["mean"]
    where = project.compared_in
    say(f"train: best of {len(trials)} trials: {chosen}, {metric} {rounded(mean)} in {where}")
    _say_window(metric, window, windows)
    return {
        "estimator": chosen.estimator,
        "parameters": chosen.parameters,
        "positive": positive,
        "cross_validation": trials[best]["scores"],
        "training_score": float(scorer(project.training.metric, positive)(pipeline, rows, target)),
        "trials": len(trials),
        "window_days": window,
        "windows": windows,
        "seeds": {"split": project.seed, "folds": project.seed, "estimator": project.seed},
        "durations": {"search": round(searched - started, 3), "refit": round(time.monotonic() - searched, 3)},
        "provenance": provenance(),
    }


def _with_validation(
    context: Context, rows: "pd.DataFrame", target: "pd.Series"
) -> tuple["pd.DataFrame", "pd.Series", int]:
    """Return the rows that candidates are compared on, their target, and how many at the end only judge."""
    import pandas as pd

    if not (file := context.workspace.folder("data") / "validation.parquet").exists():
        return rows, target, 0
    validation = pd.read_parquet(file)
    of_both = pd.concat([target, validation.pop(context.project.target)])
    return pd.concat([rows, validation], ignore_index=True), of_both, len(validation)


def _scheduler(context: Context) -> str | None:
    """Return the address of the Dask cluster that the search runs on; none, if it runs here."""
    if (context.backend or context.project.training.backend) == "local":
        return None
    if not context.scheduler:
        raise MlError(
            "a search on Dask needs its scheduler: name it with --scheduler tcp://HOST:8786, or in "
            "DASK_SCHEDULER_ADDRESS"
        )
    return context.scheduler


def _say_window(metric: str, window: float | None, windows: dict[str, float]) -> None:
    if windows:
        told = ", ".join(f"{name} {rounded(one)}" for name, one in windows.items())
        learned = f"the newest {window:g} days" if window else "all rows"
        say(f"train: learned from {learned} ({metric}: {told})")


def _curve(context: Context) -> Callable[[dict[str, Any], float], None]:
    """Return what notes a finished trial, and how far the search is, in the store."""
    from ml.store.history import Curve
    from ml.training.grid import EstimatorChoice

    metric = context.project.training.metric
    curve = Curve(context.project.name, context.channel, metric)

    def point(trial: dict[str, Any], percent: float) -> None:
        what = str(EstimatorChoice(trial["estimator"], trial["parameters"]))
        curve.point(what, trial["learned"], trial["scores"][metric]["mean"], percent)

    return point


def _check(project: Project, rows: "pd.DataFrame", target: "pd.Series") -> Any:
    """Judge the features before anything is fitted; tell what is not plain, and return the positive class."""
    from ml.data.giveaways import check_made
    from ml.training.categories import count_many_valued
    from ml.training.pipeline import feature_table
    from ml.training.scores import positive_class
    from ml.training.search import check_features

    features = feature_table(project, rows)
    check_features(project, features)
    check_made(project, rows, features, target)
    if many_valued := count_many_valued(project, features):
        told = ", ".join(f"'{name}' ({count})" for name, count in many_valued.items())
        say(
            f"train: more than {project.features.max_categories} values (max_categories): {told}: "
            "not one-hot; CatBoost takes them as categories, others the mean of the target for each"
        )
    positive = positive_class(project, target)
    if positive not in (None, 1) and project.positive is None:
        say(
            f"train: the positive class of '{project.target}' is {positive!r}, the rarer one "
            "(positive = ... in project.toml names another)"
        )
    return positive


def _copy_beside(context: Context, folder: Path) -> None:
    """Copy what travels with a model: the record and fingerprints of its data, the project's files."""
    shutil.copy(context.workspace.record_file("data"), folder / "data-manifest.json")
    shutil.copy(context.workspace.folder("data") / ROWS_FILE, folder / ROWS_FILE)
    (folder / "project").mkdir()
    for file in context.project.declarations:
        shutil.copy(file, folder / "project" / file.name)


def _take_from(registry: Registry, version: int, folder: Path) -> dict[str, Any]:
    """Copy what an earlier training wrote and return what its manifest tells, its provenance included."""
    manifest, registered = registry.record(ModelManifest, version), registry.folder(version) / "model"
    for name in manifest.outputs:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(registered / name, folder / name)
    return manifest.model_dump(exclude=set(Record.model_fields))


def tell(context: Context, record: ModelManifest) -> str:
    """Return what was trained, with the parameters that were searched, and its score in the search."""
    metric = context.project.training.metric
    score = record.cross_validation[metric].mean
    chosen = ", ".join(f"{name}={value}" for name, value in record.parameters.items())
    return f"train: {record.estimator}({chosen}), {metric} {rounded(score)} in {context.project.compared_in}"
