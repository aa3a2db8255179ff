"""What a row costs by the fast path and by the pickle, and how much of a bare framework's speed is kept."""

import json
import os
import re
import shutil
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx2
import pandas as pd
import psutil
import sklearn
from rich.table import Table

from ml.data.contract import load_contract
from ml.data.rows import records, typed_table
from ml.errors import MlError
from ml.project import find_project
from ml.results import results
from ml.serving import service
from ml.serving.fast_path import differences, proving_rows
from ml.serving.loaded import ready
from ml.training.bundle import Bundle
from ml.training.grid import EstimatorChoice
from ml.training.search import fit
from tests.bench.measuring import in_turns, record
from tests.bench.peers import Peer, peers, start_hello
from tests.conftest import make_site
from tests.support import wait_for, workers_of

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
MANY = 1000  # rows of one request
FILE_ROWS = 100_000  # of a CSV file
SHARING, ASKED = 4, 400  # workers, and requests before their memory is looked at
ROUNDS, SECONDS = 3, 3
ASK = """
wrk.method = "POST"
wrk.headers["Content-Type"] = "application/json"
wrk.body = [==[{body}]==]
"""


def measure_serving() -> None:
    """Print the tables; those of requests need wrk."""
    if not shutil.which("wrk"):
        raise MlError("wrk is not installed: on Debian, apt-get install wrk")
    results.print(_families())
    for table in _beside_others():
        results.print(table)
    results.print(_memory())


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

    def microseconds(work: Callable[[], object]) -> float:
        work()
        started, count = time.perf_counter(), 0
        while time.perf_counter() - started < 0.05:
            work()
            count += 1
        return (time.perf_counter() - started) / count * 1e6

    found = in_turns([partial(microseconds, work) for work in works], rounds)
    return [statistics.median(own) for own in found]


def _beside_others() -> Iterator[Table]:
    """Yield a table of one row a request at every load, and one of many rows a request."""
    train = find_project("titanic").folder / "data" / "train.csv"
    with (
        tempfile.TemporaryDirectory(prefix="ml-bench-") as name,
        _service(Path(name)) as ours,
        start_hello(Path(name)) as hello,
        peers(Path(name), train) as others,
    ):
        folder = Path(name)
        table = Table(
            title="Requests/s of one row and the p99, one worker each, metrics and logs on",
            title_justify="left",
        )
        for heading in ("connections", "ours", "p50, ms", "p99, ms", "hello", *(one.name for one in others)):
            table.add_column(heading)
        one = _rows(1)
        for connections in CONNECTIONS:
            asked = [lambda own=own: _wrk(folder, own, one, connections) for own in (ours, *others)]
            found = _medians([asked[0], lambda: _wrk(folder, hello, None, connections), *asked[1:]])
            (rate, half, most), *rest = found
            for name, (theirs, _, last) in zip(("hello", *(own.name for own in others)), rest, strict=True):
                record("serving", f"{connections} connections, requests/s beside {name}", rate / theirs)
                record("serving", f"{connections} connections, p99 beside {name}", most / last)
            told = [f"{theirs:,.0f} ({rate / theirs:.2f}x), {last:,.0f} ms" for theirs, _, last in rest]
            table.add_row(str(connections), f"{rate:,.0f}", f"{half:.2f}", f"{most:.2f}", *told)
        yield table

        many = Table(title=f"Requests/s of {MANY:,} rows, one connection", title_justify="left")
        rows = _rows(MANY)
        found = _medians([lambda own=own: _wrk(folder, own, rows, 1) for own in (ours, *others)])
        for own, (theirs, *_) in zip((ours, *others), found, strict=True):
            many.add_column(own.name)
            if own is not ours:
                record("serving", f"{MANY} rows, requests/s beside {own.name}", found[0][0] / theirs)
        many.add_row(*(f"{theirs:.1f} ({found[0][0] / theirs:.2f}x)" for theirs, *_ in found))
        yield many

        takes_files = [own for own in (ours, *others) if own.csv_url]
        content = pd.DataFrame(_rows(FILE_ROWS)).to_csv(index=False).encode()
        timed = in_turns([lambda own=own: _seconds_of_file(own, content) for own in takes_files], ROUNDS)
        seconds = [statistics.median(each) for each in timed]
        table = Table(title=f"Rows/s of a CSV file of {FILE_ROWS:,} rows, logs on", title_justify="left")
        for heading in ("who", "rows/s"):
            table.add_column(heading)
        for own, theirs in zip(takes_files, seconds, strict=True):
            if own is not ours:
                record("serving", f"CSV file, rows/s beside {own.name}", theirs / seconds[0])
            table.add_row(own.name, f"{FILE_ROWS / theirs:,.0f} ({theirs / seconds[0]:.2f}x)")
        yield table


def _seconds_of_file(peer: Peer, content: bytes) -> float:
    started = time.perf_counter()
    answer = httpx2.post(
        peer.csv_url, content=content, headers={"Content-Type": "text/csv"}, timeout=300, trust_env=False
    )
    assert answer.status_code == 200 and len(answer.content) > FILE_ROWS, answer.text[:300]
    return time.perf_counter() - started


def _memory() -> Table:
    """Return a table of what each worker takes, of several that share what was loaded."""
    table = Table(title=f"Memory of each of {SHARING} workers after {ASKED} requests, MiB (PSS)")
    sizes: list[str] = []
    with tempfile.TemporaryDirectory(prefix="ml-bench-") as folder, _service(Path(folder), SHARING):
        running = service.find("small", "production")
        assert running
        began = workers_of(running)
        wait_for(lambda: len(now := workers_of(running)) == SHARING and not now & began)
        for row in _rows(ASKED):
            running.predict([row])
        for pid in sorted(workers_of(running)):
            size = psutil.Process(pid).memory_full_info().pss / 2**20
            table.add_column(f"worker {len(table.columns) + 1}")
            sizes.append(f"{size:.0f}")
    table.add_row(*sizes)
    return table


def _rows(count: int) -> list[dict[str, Any]]:
    table = pd.read_csv(find_project("titanic").folder / "data" / "train.csv").drop(columns="Survived")
    return records(pd.concat([table] * (count // len(table) + 1)).head(count))


def _medians(works: list[Callable[[], tuple[float, float, float]]]) -> list[list[float]]:
    """Return the medians of what each work gives, measured in turns."""
    return [
        [statistics.median(figures) for figures in zip(*own, strict=True)] for own in in_turns(works, ROUNDS)
    ]


@contextmanager
def _service(folder: Path, workers: int = 1) -> Iterator[Peer]:
    """Run the service of a Titanic model."""
    site = make_site(folder / "site")
    os.environ |= {"ML_HOME": str(folder / "home"), "ML_PROJECTS": str(folder / "site" / "projects")}
    site.grid({"GradientBoostingClassifier": {"learning_rate": [0.05], "max_depth": [2]}})
    settings = site.project / "project.toml"
    settings.write_text(f"workers = {workers}\n" + settings.read_text(encoding="utf-8"), encoding="utf-8")
    port = service.free_port()
    for stage in ("data", "train", "quality"):
        assert site.ml(stage) == 0, stage
    assert site.ml("deploy", "--port", str(port)) == 0
    try:
        url = f"http://127.0.0.1:{port}/predict"
        yield Peer("ours", url, csv_url=f"{url}/file")
    finally:
        service.stop("small", "production")


def _wrk(
    folder: Path, peer: Peer, rows: list[dict[str, Any]] | None, connections: int
) -> tuple[float, float, float]:
    """Return requests a second, and the milliseconds within which half and 99 % are answered."""
    command = ["wrk", "-t1", f"-c{connections}", f"-d{SECONDS}s", "--timeout", "30s", "--latency"]
    if rows:
        body = json.dumps({peer.key: rows} if peer.key else rows)
        (folder / "ask.lua").write_text(ASK.format(body=body), encoding="utf-8")
        command += ["-s", str(folder / "ask.lua")]
    told = subprocess.run([*command, peer.url], check=True, capture_output=True, text=True).stdout
    assert "Non-2xx" not in told, told
    rate = re.search(r"Requests/sec:\s+([\d.]+)", told)
    times = {
        share: float(value) * {"us": 0.001, "ms": 1.0, "s": 1000.0}[unit]
        for share, value, unit in re.findall(r"(50|99)%\s+([\d.]+)(us|ms|s)\b", told)
    }
    assert rate
    return float(rate[1]), times["50"], times["99"]
