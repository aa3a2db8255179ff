"""The load test (``make load``): swaps, rollbacks, a killed worker, a database that goes; nothing is lost.

The model of the project Titanic is served by workers behind nginx with the configuration of ``docker/``, on
loopback; wrk asks. Needs wrk and nginx, and the programs of PostgreSQL for the database (else SQLite).
"""

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

from rich.table import Table

from ml.console import say
from ml.data.rows import records
from ml.delivery.waiting import wait_for_version
from ml.errors import MlError
from ml.registry.versions import Registry
from ml.results import results
from ml.serving import service
from ml.serving.client import Service
from ml.workspace import Workspace
from tests.conftest import SMALL_GRID, Site, make_site
from tests.load.servers import Postgres, start_nginx

CONCURRENCY = (1, 8, 64, 256)
SWAPS, ROLLBACKS = 50, 5


def main() -> int:
    """Print a table of all runs; return 1 if a request failed, was lost or was answered by two versions."""
    parser = argparse.ArgumentParser(prog="python -m tests.load", description=__doc__)
    parser.add_argument("--seconds", type=float, default=60, help="of each run (default: 60)")
    parser.add_argument("--workers", type=int, default=2, help="of the service (default: 2)")
    parser.add_argument("--concurrency", type=int, nargs="*", default=CONCURRENCY)
    options = parser.parse_args()
    for program in ("wrk", "nginx"):
        if not shutil.which(program):
            print(f"error: {program} is not installed: on Debian, apt-get install {program}", file=sys.stderr)
            return 1
    with tempfile.TemporaryDirectory(prefix="ml-load-") as folder:
        return _load(Path(folder), options)


def _load(folder: Path, options: argparse.Namespace) -> int:
    site = make_site(folder)
    os.environ |= {"ML_HOME": str(folder / "home"), "ML_PROJECTS": str(folder / "projects")}
    settings = site.project / "project.toml"
    settings.write_text(f"workers = {options.workers}\n" + settings.read_text(encoding="utf-8"), "utf-8")
    site.grid(SMALL_GRID)
    database = Postgres() if Postgres.available() else None
    if database:
        database.start()
        os.environ["ML_STORE"] = database.url
    port = service.free_port()
    try:
        _deploy_two_versions(site, port)
        running = service.find("small", "production")
        assert running
        with start_nginx(folder / "nginx", [running.url, running.url]) as front:
            (folder / "rows.txt").write_text("\n".join(_bodies(site)), encoding="utf-8")
            rows = [
                _run(front, folder, running, database, one, options.seconds) for one in options.concurrency
            ]
        _print(rows, running)
    finally:
        service.stop("small", "production")
        if database:
            database.stop()
    return int(any(row["failed"] or row["lost"] or row["mixed"] for row in rows))


def _deploy_two_versions(site: Site, port: int) -> None:
    for parameter in (1.0, 0.5):
        site.grid({"GradientBoostingClassifier": {"learning_rate": [0.05 * parameter], "max_depth": [2]}})
        settings = site.project / "project.toml"
        text = settings.read_text(encoding="utf-8").replace(
            "champion_tolerance = 0.03", "champion_tolerance = 1.0"
        )
        settings.write_text(text, encoding="utf-8")
        for stage in ("data", "train", "quality"):
            assert site.ml(stage) == 0
        assert site.ml("deploy", "--port", str(port)) == 0


def _bodies(site: Site) -> list[str]:
    import pandas as pd

    table = pd.read_parquet(Workspace(site.build.parent, "small").folder("data") / "unlabelled.parquet")
    return [json.dumps(row) for row in records(table)]


def _run(
    url: str, folder: Path, running: Service, database: Postgres | None, clients: int, seconds: float
) -> dict[str, float]:
    say(f"load: {clients} clients for {seconds:g} s")
    threads = min(clients, 2)
    command = ["wrk", "-t", str(threads), "-c", str(clients), "-d", f"{seconds:g}s", "--timeout", "30s"]
    command += ["-s", str(Path(__file__).with_name("check.lua")), url]
    environment = os.environ | {"LOAD_ROWS": str(folder / "rows.txt")}
    process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)
    times: list[float] = []
    trouble = threading.Thread(target=_trouble, args=(running, database, seconds, times))
    trouble.start()
    told, _ = process.communicate()
    trouble.join()
    found: dict[str, float] = json.loads(told.strip().splitlines()[-1])
    return {"clients": clients, **found, "swap_ms": max(times, default=0.0) * 1000}


def _trouble(running: Service, database: Postgres | None, seconds: float, times: list[float]) -> None:
    """Swap and roll back all the time; in the middle kill a worker, and stop the database for a while."""
    registry, turns = Registry("small"), SWAPS + ROLLBACKS
    acts: dict[int, Callable[[], object]] = {turns // 2: lambda: _kill_a_worker(running)}
    if database:
        acts |= {turns // 3: database.stop, 2 * turns // 3: database.start}
    for turn in range(turns):
        end = time.monotonic() + seconds * 0.9 / turns
        if act := acts.get(turn):
            act()
        version = 1 + turn % 2
        rollback = turn % (turns // ROLLBACKS) == 0
        moved = time.monotonic()
        registry.move("production", version, "rollback" if rollback else "deploy", "load test")
        try:
            wait_for_version(running, version, seconds=20)
            if not act:
                times.append(time.monotonic() - moved)
        except MlError as error:
            say(f"load: {error}")
        time.sleep(max(0.0, end - time.monotonic()))


def _kill_a_worker(running: Service) -> None:
    os.kill(running.get("/health")["workers"][0]["pid"], signal.SIGKILL)


def _print(rows: list[dict[str, float]], running: Service) -> None:
    table = Table(
        "clients", "requests", "failed", "lost", "mixed", "per second", "p50 ms", "p99 ms", "last worker ms"
    )
    for row in rows:
        table.add_row(
            *(f"{row[key]:.0f}" for key in ("clients", "requests", "failed", "lost", "mixed", "per_second")),
            *(f"{row[key]:.1f}" for key in ("p50", "p99", "swap_ms")),
        )
    results.print(table)
    memory = [line for line in running.metrics().splitlines() if line.startswith("ml_resident_bytes{")]
    each = ", ".join(f"{float(line.split()[-1]) / 2**20:.0f} MiB" for line in memory)
    results.print(f"memory of each worker: {each}")
    logged = [line for line in running.metrics().splitlines() if line.startswith(("ml_logged", "ml_lost"))]
    results.print("prediction log: " + ", ".join(line for line in logged if not line.startswith("#")))


if __name__ == "__main__":
    sys.exit(main())
