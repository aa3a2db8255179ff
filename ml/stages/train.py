"""The train stage: search the candidates with cross-validation, refit the best, sign it."""

import pickle
import shutil
import time
from pathlib import Path
from typing import Any

from ml.console import say
from ml.files import read_json, write_json
from ml.project import Project
from ml.registry.provenance import provenance
from ml.registry.versions import Registry
from ml.workspace import ROWS_FILE, RUN_KEYS, StageResult, Workspace, code_digest, declaration_digests


def train_model(project: Project, workspace: Workspace, *, force: bool = False) -> StageResult:
    """Write ``model.pkl``, its golden predictions, the project's files and every trial; sign the manifest.

    Raises ``MlError`` for a grid that cannot be read, a feature that is constant or a duplicate, and a
    candidate that cannot be fitted; ``GateRefused`` for a made feature that gives the target away.
    """
    metrics = sorted({project.training.metric, *project.gates.floors})
    data = workspace.record("data")
    declared = declaration_digests(project)
    inputs = {
        "train.parquet": data["outputs"]["train.parquet"],
        **{name: declared[name] for name in ("contract.py", "features.py", "grid.json") if name in declared},
        "settings": project.model_dump(
            mode="json",
            include={"task", "target", "positive", "id", "seed", "features", "training", "data_gates"},
        )
        | {"metrics": metrics},
        "code": code_digest(Path(__file__)),
    }

    def work(folder: Path) -> dict[str, Any]:
        registry = Registry(project.name)
        if not force and (version := registry.trained_from(inputs)):
            say(
                f"train: version {version} was made from the same inputs: its model is taken (--force trains)"
            )
            return _take_from(registry.folder(version) / "model", folder)
        # Imported only when there is work: an unchanged stage answers at once.
        import pandas as pd

        from ml.data.giveaways import check_made
        from ml.data.personal import nothing_told
        from ml.training.bundle import golden_predictions
        from ml.training.categories import count_many_valued
        from ml.training.grid import read_grid
        from ml.training.pipeline import feature_table
        from ml.training.scores import positive_class, scorer
        from ml.training.search import check_features, fit, search

        candidates = read_grid(project)
        for metric in metrics:
            scorer(metric)
        started = time.monotonic()
        rows = pd.read_parquet(workspace.folder("data") / "train.parquet")
        target = rows.pop(project.target)
        with nothing_told(rows, project):
            features = feature_table(project, rows)
            check_features(project, features)
            check_made(project, rows, features, target)
            many_valued = count_many_valued(project, features)
            if many_valued:
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
            trials = search(project, candidates, rows, target, metrics, folder / "trials.jsonl")
        best = max(trials, key=lambda number: trials[number]["scores"][project.training.metric]["mean"])
        searched = time.monotonic()
        chosen = candidates[best]
        with nothing_told(rows, project):
            pipeline = fit(project, chosen, rows, target)
        (folder / "model.pkl").write_bytes(pickle.dumps(pipeline, protocol=5))
        write_json(folder / "golden.json", golden_predictions(pipeline, project, rows))
        shutil.copy(workspace.record_file("data"), folder / "data-manifest.json")
        shutil.copy(workspace.folder("data") / ROWS_FILE, folder / ROWS_FILE)
        (folder / "project").mkdir()
        for file in project.declarations:
            shutil.copy(file, folder / "project" / file.name)
        score = trials[best]["scores"][project.training.metric]
        say(
            f"train: best of {len(trials)} trials: {chosen}, "
            f"{project.training.metric} {score['mean']:.4f} in cross-validation"
        )
        return {
            "estimator": chosen.estimator,
            "parameters": chosen.parameters,
            "positive": positive,
            "cross_validation": trials[best]["scores"],
            "training_score": float(scorer(project.training.metric, positive)(pipeline, rows, target)),
            "trials": len(trials),
            "seeds": {"split": project.seed, "folds": project.seed, "estimator": project.seed},
            "data_sha256": data["outputs"],
            "durations": {
                "search": round(searched - started, 3),
                "refit": round(time.monotonic() - searched, 3),
            },
            "provenance": provenance(),
        }

    return workspace.run("train", inputs, work, force=force, signed=True)


def _take_from(registered: Path, folder: Path) -> dict[str, Any]:
    """Copy what an earlier training wrote and return what its manifest tells, its provenance included."""
    manifest = read_json(registered / "manifest.json")
    for name in manifest["outputs"]:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(registered / name, folder / name)
    return {key: value for key, value in manifest.items() if key not in RUN_KEYS}
