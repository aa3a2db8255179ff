"""A search on a real Dask cluster: the same model whatever becomes of a worker, one line if there is none."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ml import locations
from ml.files import digest, read_json
from ml.store.history import Curve
from ml.training import cluster as on_dask
from tests.conftest import Site
from tests.support import ErrorOf, wait_for

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not locations.dask().exists(), reason="Dask is not installed: `make dask-tools` does that"
    ),
]
SLOW_GRID = {
    "GradientBoostingClassifier": {"n_estimators": [150], "max_depth": [2, 3], "subsample": [0.7, 0.8, 0.9]}
}


class Cluster:
    """A scheduler and its workers, in processes that know nothing of this project."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.workers = folder, list[subprocess.Popen[bytes]]()
        self.told = folder / "scheduler.json"
        self.scheduler = self._start("dask_scheduler", "--host", "127.0.0.1", "--port", "0")
        self.address = wait_for(lambda: str(read_json(self.told)["address"]) if self.told.exists() else "")

    def add_worker(self) -> None:
        """Start a worker and wait until the scheduler knows it."""
        self.workers.append(
            self._start("dask_worker", "--no-nanny", "--nthreads", "1", "--host", "127.0.0.1")
        )
        log = self.folder / "dask_worker.log"
        wait_for(lambda: log.read_text().count("Registered to") == len(self.workers))

    def _start(self, program: str, *arguments: str) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", f"distributed.cli.{program}", "--no-dashboard", *arguments]
        with open(self.folder / f"{program}.log", "ab") as log:
            return subprocess.Popen(
                [*command, "--scheduler-file", str(self.told)],
                cwd=self.folder,
                env=os.environ | {"PYTHONPATH": str(locations.dask())},
                stdout=log,
                stderr=log,
            )

    def stop(self) -> None:
        """Leave nothing of it."""
        for one in (*self.workers, self.scheduler):
            one.kill()
            one.wait()


@pytest.fixture(autouse=True)
def _own_search_path(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let other tests not find what is not in their environment."""
    monkeypatch.setattr(sys, "path", [*sys.path])


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    """Return a scheduler on loopback without workers."""
    folder = tmp_path / "cluster"
    folder.mkdir()
    made = Cluster(folder)
    yield made
    made.stop()


@pytest.fixture
def prepared(site: Site) -> Site:
    """Return a site with data."""
    assert site.ml("data") == 0
    return site


def train(site: Site, cluster: Cluster) -> int:
    """Train there, whatever was trained before."""
    return site.ml("train", "--force", "--backend", "dask", "--scheduler", cluster.address)


def at_the_first_trial(monkeypatch: pytest.MonkeyPatch, process: subprocess.Popen[bytes]) -> None:
    """Kill a process as soon as a trial is finished."""
    point = Curve.point

    def kill(self: Curve, *told: Any) -> None:
        process.kill()
        point(self, *told)

    monkeypatch.setattr(Curve, "point", kill)


def test_a_worker_is_killed_and_the_model_is_the_same_to_the_byte(
    prepared: Site, cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepared.grid(SLOW_GRID)
    assert prepared.ml("train") == 0
    here = {name: digest(prepared.build / "model" / name) for name in ("model.pkl", "golden.json")}
    cluster.add_worker()
    cluster.add_worker()
    at_the_first_trial(monkeypatch, cluster.workers[0])
    assert train(prepared, cluster) == 0
    assert cluster.workers[0].poll() is not None
    assert {name: digest(prepared.build / "model" / name) for name in here} == here
    assert len((prepared.build / "model" / "trials.jsonl").read_text().splitlines()) == 6


def test_where_a_model_was_searched_is_no_reason_to_train_again(prepared: Site, cluster: Cluster) -> None:
    cluster.add_worker()
    assert train(prepared, cluster) == 0
    written = (prepared.build / "model" / "model.pkl").stat().st_mtime_ns
    prepared.edit("project.toml", "folds = 5", 'folds = 5\nbackend = "dask"')
    assert prepared.ml("train", "--backend", "local") == 0
    assert (prepared.build / "model" / "model.pkl").stat().st_mtime_ns == written


def test_a_cluster_that_is_lost_on_the_way_is_one_line(
    prepared: Site, cluster: Cluster, monkeypatch: pytest.MonkeyPatch, error_of: ErrorOf
) -> None:
    prepared.grid(SLOW_GRID)
    cluster.add_worker()
    at_the_first_trial(monkeypatch, cluster.scheduler)
    assert train(prepared, cluster) == 1
    assert f"the Dask cluster at {cluster.address} does not answer, or was lost" in error_of()
    assert not (prepared.build / "model").exists()


def test_no_scheduler_no_worker_and_other_packages_are_told(
    prepared: Site, cluster: Cluster, monkeypatch: pytest.MonkeyPatch, error_of: ErrorOf, free_port: int
) -> None:
    assert train(prepared, cluster) == 1
    assert "has no worker: start some beside it" in error_of()
    cluster.add_worker()
    monkeypatch.setattr(on_dask, "CONNECT_SECONDS", 1.0)
    away = f"tcp://127.0.0.1:{free_port}"
    assert prepared.ml("train", "--backend", "dask", "--scheduler", away) == 1
    assert f"the Dask cluster at {away} does not answer" in error_of()
    with monkeypatch.context() as other:
        other.setattr("platform.python_version", lambda: "3.99.0")
        assert train(prepared, cluster) == 1
        assert "install requirements.txt there, too" in error_of()


def test_a_candidate_that_cannot_be_fitted_is_named_as_it_is_on_one_machine(
    prepared: Site, cluster: Cluster, error_of: ErrorOf
) -> None:
    prepared.grid({"LogisticRegression": {"C": [-1.0]}})
    cluster.add_worker()
    assert train(prepared, cluster) == 1
    assert "grid.json: LogisticRegression(C=-1.0) cannot be fitted" in error_of()


def test_what_is_not_named_or_not_installed_is_told(
    prepared: Site, monkeypatch: pytest.MonkeyPatch, error_of: ErrorOf
) -> None:
    assert prepared.ml("train", "--backend", "dask") == 1
    assert "--scheduler tcp://HOST:8786" in error_of()
    monkeypatch.setitem(sys.modules, "distributed", None)
    assert prepared.ml("train", "--backend", "dask", "--scheduler", "tcp://127.0.0.1:1") == 1
    assert "make dask-tools" in error_of()
