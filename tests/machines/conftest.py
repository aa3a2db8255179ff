"""What runs on real machines: skipped where there is no container engine."""

import pytest

from tests.machines.engine import NONE, Engine, find_engine


@pytest.fixture(scope="session")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Engine:
    """Return the container engine; what its images need of this machine is in the environment."""
    found = find_engine(tmp_path_factory.mktemp("engine"))
    if found is None:
        pytest.skip(NONE)
    return found
