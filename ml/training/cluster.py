"""A search on a Dask cluster: with the code of this checkout, and its rows once for each worker."""

import importlib
import importlib.metadata
import io
import platform
import shutil
import sys
import tarfile
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import CancelledError
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ml import locations
from ml.console import say
from ml.errors import MlError

CONNECT_SECONDS = 10.0
# What two machines must have alike for their scores to be alike.
NUMERICS = ("numpy", "scipy", "pandas", "scikit-learn", "catboost")


def on_cluster(
    scheduler: str, function: Callable[[int, Any], Any], count: int, shared: Any
) -> Generator[Any, None, None]:
    """Yield ``function(number, shared)`` of each number once it is there; a worker gets ``shared`` once.

    A worker that is lost costs its calls, which another does again; those of several builds take turns, for
    each brings its own code. joblib's own backend for Dask is not used: it waits forever for a call
    that the cluster gave up. Raises what a call raised, and ``MlError`` if Dask is not installed, nothing
    answers, the cluster has no worker or other packages than this process, and if it is lost on the way.
    """
    if (folder := str(locations.dask())) not in sys.path:
        sys.path.append(folder)
    try:
        from distributed import Client, KilledWorker, as_completed
        from distributed.comm.core import CommClosedError
    except ImportError as error:
        raise MlError("a search on Dask needs its packages: install them with `make dask-tools`") from error
    try:
        with Client(scheduler, timeout=CONNECT_SECONDS) as client, _turn(scheduler):
            if not client.ncores():
                raise MlError(f"the Dask cluster at {scheduler} has no worker: start some beside it")
            client.register_plugin(_code(), name="ml")
            _check_packages(client.run(packages))
            say(f"train: searches on {scheduler}, {sum(client.ncores().values())} threads")
            sent = client.scatter(shared, broadcast=True, hash=False)
            # The scheduler reads what it hands on, and knows nothing of our code: to it this is a name.
            name = function.__module__, function.__name__
            futures = [client.submit(_call(), *name, number, sent, pure=False) for number in range(count)]
            for future in as_completed(futures):
                yield future.result()
    except (OSError, ImportError, ValueError, CancelledError, CommClosedError, KilledWorker) as error:
        reason = str(error).strip().splitlines() or [type(error).__name__]
        raise MlError(
            f"the Dask cluster at {scheduler} does not answer, or was lost: {reason[0]}: look at it, or "
            "train with --backend local"
        ) from error


@contextmanager
def _turn(scheduler: str) -> Iterator[None]:
    from distributed import Semaphore

    turn = Semaphore(name="ml-search", max_leases=1)
    if not turn.acquire(timeout=1):
        say(f"train: waits for the search of another build on {scheduler}")
        turn.acquire()
    try:
        yield
    finally:
        turn.release()


def _call() -> Callable[[str, str, int, Any], Any]:
    # Within a function: by that it is sent as it is, not by a name that the scheduler would have to know.
    def call(module: str, name: str, number: int, shared: Any) -> Any:
        return getattr(importlib.import_module(module), name)(number, shared)

    return call


def packages() -> dict[str, str]:
    """Return the versions, in this process, of what a score depends on."""
    found = {"Python": platform.python_version()}
    for name in NUMERICS:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found[name] = "none"
    return found


def _check_packages(of_workers: dict[str, dict[str, str]]) -> None:
    here = packages()
    for worker, found in of_workers.items():
        for name, version in here.items():
            if found[name] != version:
                raise MlError(
                    f"the Dask worker {worker} has {name} {found[name]}, this process {version}: install "
                    "requirements.txt there, too"
                )


def _code() -> Any:
    """Return what brings the code of this checkout to every worker, those that come later included."""
    from distributed import WorkerPlugin

    class Code(WorkerPlugin):  # type: ignore[misc]  # it brings no types
        def __init__(self, archive: bytes) -> None:
            self.archive = archive

        def setup(self, worker: Any) -> None:
            """Put the code first where a worker looks for it, and forget what another build brought."""
            folder = str(Path(worker.local_directory, "code"))
            for name in [one for one in sys.modules if one.split(".")[0] == "ml"]:
                del sys.modules[name]
            shutil.rmtree(folder, ignore_errors=True)
            with tarfile.open(fileobj=io.BytesIO(self.archive)) as packed:
                packed.extractall(folder, filter="data")
            sys.path[:] = [folder, *(one for one in sys.path if one != folder)]

    with io.BytesIO() as written:
        with tarfile.open(fileobj=written, mode="w:gz") as packed:
            packed.add(locations.LOCK_FILE, locations.LOCK_FILE.name)
            for file in sorted((locations.ROOT / "ml").rglob("*.py")):
                if "projects" not in file.relative_to(locations.ROOT).parts:
                    packed.add(file, str(file.relative_to(locations.ROOT)))
        return Code(written.getvalue())
