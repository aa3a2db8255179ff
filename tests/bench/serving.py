"""What a row costs by the fast path and by the pickle, and how much of a bare framework's speed is kept."""

import json
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd
import sklearn
from rich.table import Table

from ml.console import results
from ml.data.contract import load_contract
from ml.data.rows import records, typed_table
from ml.errors import MlError
from ml.project import find_project
from ml.serving import service
from ml.serving.fast_path import differences, proving_rows
from ml.serving.loaded import ready
from ml.training.bundle import Bundle
from ml.training.grid import EstimatorChoice
from ml.training.search import fit
from tests.conftest import make_site

FAMILIES: dict[str, dict[str, Any]] = {
    "LogisticRegression": {"max_iter": 1000},
    "DecisionTreeClassifier": {"max_depth": 6},
    "RandomForestClassifier": {"n_estimators": 200, "max_depth": 7},
    "GradientBoostingClassifier": {"max_depth": 3},
    "HistGradientBoostingClassifier": {"max_iter": 150},
    "CatBoostClassifier": {"iterations": 300, "depth": 6},
    "DummyClassifier": {},
}
CONNECTIONS = (1, 8, 64, 256)
ROUNDS, SECONDS = 3, 3
HELLO = """
from fastapi import FastAPI
app = FastAPI()
@app.get("/hello")
async def hello() -> dict[str, str]:
    return {"hello": "world"}
"""
ASK = """
wrk.method = "POST"
wrk.headers["Content-Type"] = "application/json"
wrk.body = [[{body}]]
"""


def measure_serving() -> None:
    """Print both tables; the second needs wrk."""
    results.print(_families())
    if not shutil.which("wrk"):
        raise MlError("wrk is not installed: on Debian, apt-get install wrk")
    results.print(_beside_hello())


def _families() -> Table:
    table = Table(title="Titanic, one row alone", title_justify="left")
    for heading in ("estimator", "way", "fast path, µs", "pickle, µs", "ratio", "rows the same"):
        table.add_column(heading)
    project = find_project("titanic")
    rows = pd.read_csv(project.folder / "data" / "train.csv")
    target = rows.pop(project.target)
    contract = load_contract(project)
    for name, parameters in FAMILIES.items():
        pipeline = fit(project, EstimatorChoice(name, parameters), rows, target)
        bundle = Bundle(project, pipeline, contract, {}, SimpleNamespace())  # type: ignore[arg-type]
        known = typed_table(records(rows), bundle.request_contract).head(20)
        golden = {"rows": records(known), "predictions": records(bundle.predict(known))}
        bundle = Bundle(project, pipeline, contract, golden, SimpleNamespace())  # type: ignore[arg-type]
        loaded = ready(1, bundle)
        asked = [*records(rows), *proving_rows(bundle)]
        wrong = len(differences(loaded.fast_path, bundle, asked)) if loaded.fast_path else len(asked)
        with sklearn.config_context(assume_finite=True, skip_parameter_validation=True):  # as in the service
            ours, theirs = _side_by_side(
                lambda: loaded.answer_at_once(asked[:1]),
                lambda: loaded.answer_table(typed_table(asked[:1], bundle.request_contract)),
            )
        same = f"{len(asked) - wrong:,} of {len(asked):,}"
        table.add_row(name, loaded.scoring, f"{ours:.0f}", f"{theirs:.0f}", f"{theirs / ours:.0f}", same)
    return table


def _side_by_side(*works: Callable[[], object], rounds: int = 9) -> list[float]:
    """Return the median microseconds of each work, measured in turns."""
    times: list[list[float]] = [[] for _ in works]
    for _ in range(rounds):
        for own, work in zip(times, works, strict=True):
            work()
            started, count = time.perf_counter(), 0
            while time.perf_counter() - started < 0.05:
                work()
                count += 1
            own.append((time.perf_counter() - started) / count * 1e6)
    return [statistics.median(own) for own in times]


def _beside_hello() -> Table:
    table = Table(title="One worker each, metrics and logs on, by wrk", title_justify="left")
    for heading in ("connections", "predict, requests/s", "hello, requests/s", "ratio", "p50, ms", "p99, ms"):
        table.add_column(heading)
    with tempfile.TemporaryDirectory(prefix="ml-bench-") as folder, _service(Path(folder)) as (url, script):
        with _hello(Path(folder)) as hello:
            for connections in CONNECTIONS:
                ours, theirs = [], []
                for _ in range(ROUNDS):
                    ours.append(_wrk(f"{url}/predict", connections, "-s", str(script)))
                    theirs.append(_wrk(hello, connections))
                rate, bare = (statistics.median(one[0] for one in own) for own in (ours, theirs))
                told = [f"{statistics.median(one[place] for one in ours):.2f}" for place in (1, 2)]
                table.add_row(str(connections), f"{rate:,.0f}", f"{bare:,.0f}", f"{rate / bare:.2f}", *told)
    return table


@contextmanager
def _service(folder: Path) -> Iterator[tuple[str, Path]]:
    """Run the service of a Titanic model; yield its address, and what wrk asks."""
    site = make_site(folder)
    os.environ |= {"ML_HOME": str(folder / "home"), "ML_PROJECTS": str(folder / "projects")}
    site.grid({"GradientBoostingClassifier": {"learning_rate": [0.05], "max_depth": [2]}})
    port = service.free_port()
    for stage in ("data", "train", "quality"):
        assert site.ml(stage) == 0, stage
    assert site.ml("deploy", "--port", str(port)) == 0
    script = folder / "ask.lua"
    row = records(pd.read_parquet(site.build / "data" / "test.parquet").drop(columns="Survived").head(1))[0]
    script.write_text(ASK.format(body=json.dumps(row)), encoding="utf-8")
    try:
        yield f"http://127.0.0.1:{port}", script
    finally:
        service.stop("small", "production")


@contextmanager
def _hello(folder: Path) -> Iterator[str]:
    """Run a FastAPI application that does nothing; yield its address."""
    (folder / "bare_hello.py").write_text(HELLO, encoding="utf-8")
    port = service.free_port()
    command = [sys.executable, "-m", "uvicorn", "bare_hello:app", "--port", str(port)]
    command += ["--log-level", "warning", "--no-access-log"]
    with subprocess.Popen(command, cwd=folder) as process:
        time.sleep(5)
        yield f"http://127.0.0.1:{port}/hello"
        process.terminate()


def _wrk(url: str, connections: int, *more: str) -> tuple[float, float, float]:
    """Return requests a second, and the milliseconds within which half and 99 % are answered."""
    command = ["wrk", "-t1", f"-c{connections}", f"-d{SECONDS}s", "--latency", *more, url]
    told = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    assert "Non-2xx" not in told, told
    rate = re.search(r"Requests/sec:\s+([\d.]+)", told)
    times = {
        share: float(value) * {"us": 0.001, "ms": 1.0, "s": 1000.0}[unit]
        for share, value, unit in re.findall(r"(50|99)%\s+([\d.]+)(us|ms|s)\b", told)
    }
    assert rate
    return float(rate[1]), times["50"], times["99"]
