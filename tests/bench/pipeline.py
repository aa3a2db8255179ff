"""What the pipeline costs: with nothing changed beside DVC, and cold beside one script."""

import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import yaml
from rich.table import Table

from ml import locations
from ml.results import results
from ml.serving import service
from tests.bench.measuring import cpu_seconds, in_turns, record
from tests.bench.peers import environment
from tests.conftest import make_site

ROUNDS = 5
COLD_ROUNDS = 3
STAGES = ("lint", "data", "train", "quality", "deploy")
# The same candidates, folds and seeds, over all cores: what somebody would write who needs no more.
SCRIPT = """
import json, pickle, sys
import pandas as pd
from joblib import Parallel, delayed
from sklearn.metrics import accuracy_score
from sklearn.model_selection import cross_val_score
from ml.project import find_project
from ml.training.folds import make_folds
from ml.training.grid import make_estimator, read_grid
from ml.training.pipeline import build_pipeline

project = find_project("small")
train, test = (pd.read_parquet(f"{sys.argv[1]}/{part}.parquet") for part in ("train", "test"))
target = train[project.target]
folds = make_folds(project, train, target)

def score(candidate):
    pipeline = build_pipeline(project, make_estimator(candidate, project.seed))
    return cross_val_score(pipeline, train, target, cv=folds, scoring="accuracy").mean()

candidates = read_grid(project)
scores = Parallel(n_jobs=-1)(delayed(score)(one) for one in candidates)
best = candidates[max(range(len(scores)), key=scores.__getitem__)]
model = build_pipeline(project, make_estimator(best, project.seed)).fit(train, target)
accuracy_score(test[project.target], model.predict(test))
pickle.dump(model, open(sys.argv[2], "wb"))
"""


def measure_pipeline() -> None:
    """Print one table: our seconds, those of the peer, measured in turns."""
    table = Table(title="The Titanic, seconds (median, least to most)", title_justify="left")
    for heading in ("what", "ours", "the peer's", "ratio"):
        table.add_column(heading)
    with tempfile.TemporaryDirectory(prefix="ml-bench-") as folder:
        root = Path(folder)
        site = make_site(root)
        os.environ |= {"ML_HOME": str(root / "home"), "ML_PROJECTS": str(root / "projects")}
        shutil.copy(locations.ROOT / "ml" / "projects" / "titanic" / "grid.json", site.project / "grid.json")
        port = service.free_port()
        site.edit("project.toml", "production = 8000", f"production = {port}")
        run = [sys.executable, "-m", "ml", "run", "--project", "small", "--build", str(root / "build")]
        script = [sys.executable, "-c", SCRIPT, str(root / "rows"), str(root / "model.pkl")]
        try:
            subprocess.run(run, cwd=locations.ROOT, check=True, stdout=subprocess.DEVNULL)
            shutil.copytree(site.build / "data", root / "rows")
            dvc = _as_dvc_stages(root, site.project)
            _row(
                table,
                "nothing changed, beside `dvc repro` of five stages",
                in_turns([lambda: _seconds(run), lambda: _seconds(dvc, root)], ROUNDS),
            )

            def cold() -> tuple[float, float]:
                service.stop("small", "production")
                for place in (root / "build", root / "home"):
                    shutil.rmtree(place)
                return _seconds(run)

            times = in_turns([lambda: _seconds(script), cold], COLD_ROUNDS)[::-1]
            _row(table, "cold, with every gate, beside one script", times)
            _row(table, "the same, CPU seconds", times, place=1)
        finally:
            service.stop("small", "production")
    results.print(table)


def _row(table: Table, what: str, times: list[list[tuple[float, float]]], place: int = 0) -> None:
    ours, theirs = ([one[place] for one in own] for own in times)
    ratio = statistics.median(ours) / statistics.median(theirs)
    record("pipeline", what, ratio)
    told = [f"{statistics.median(one):.2f} ({min(one):.2f} to {max(one):.2f})" for one in (ours, theirs)]
    table.add_row(what, *told, f"{ratio:.2f}")


def _seconds(command: list[str], folder: Path = locations.ROOT) -> tuple[float, float]:
    """Run a command and return its seconds, and those of the CPU, ended child processes included."""
    started = time.perf_counter()
    with cpu_seconds() as used:
        subprocess.run(command, cwd=folder, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        return time.perf_counter() - started, used()


def _as_dvc_stages(root: Path, project: Path) -> list[str]:
    """Write what was built as five stages of DVC that read the same files, and return the command."""
    dvc = str(environment("dvc") / "dvc")
    files = [str(file) for file in sorted(project.iterdir()) if file.is_file()]
    stages, before = {}, files
    for name in STAGES:
        made = root / "build" / "small" / name if name != "train" else root / "build" / "small" / "model"
        out = [{str(made): {"cache": False, "persist": True}}] if made.exists() else []
        stages[name] = {"cmd": "true", "deps": before, "outs": out}
        before = files + [str(made)] if made.exists() else files
    (root / "dvc.yaml").write_text(yaml.safe_dump({"stages": stages}), encoding="utf-8")
    subprocess.run([dvc, "init", "--no-scm", "--quiet"], cwd=root, check=True)
    subprocess.run([dvc, "config", "core.analytics", "false"], cwd=root, check=True)
    subprocess.run([dvc, "repro", "--quiet"], cwd=root, check=True)
    return [dvc, "repro"]
