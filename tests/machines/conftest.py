"""What runs on real machines: skipped where there is no container engine."""

import fcntl
from pathlib import Path

import pytest

from tests.machines.engine import NONE, Engine, find_engine


@pytest.fixture(scope="session")
def engine(shared_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Engine:
    """Return the container engine; what its images need of this machine is in the environment."""
    with open(shared_folder / "engine.lock", "w") as lock:  # one worker builds what the images of all share
        fcntl.flock(lock, fcntl.LOCK_EX)
        found = find_engine(tmp_path_factory.mktemp("engine"))
        if found is None:
            pytest.skip(NONE)
        print(f"environment: built in {found.build_environment():.0f} s")
    return found
