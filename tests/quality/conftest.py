"""What every test of a model is given: the candidate, the data, the champion, and ``gate`` to judge with."""

from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from ml.metrics import RecordedPredictions
from ml.model import Bundle, load_bundle, load_version
from ml.project import Project, find_project
from ml.registry import Registry
from ml.workspace import Workspace

Gate = Callable[..., None]


def pytest_addoption(parser: pytest.Parser) -> None:
    """Let the quality stage say which model is judged."""
    parser.addoption("--project", required=True)
    parser.addoption("--champion", type=int, help="the version to compare with, if there is one")
    parser.addoption("--build", required=True)


@pytest.fixture(scope="session")
def project(pytestconfig: pytest.Config) -> Project:
    """The project, with the gates as they are declared now."""
    return find_project(pytestconfig.getoption("--project"))


@pytest.fixture(scope="session")
def workspace(project: Project, pytestconfig: pytest.Config) -> Workspace:
    """The build folder with the candidate."""
    return Workspace(Path(pytestconfig.getoption("--build")), project.name)


@pytest.fixture(scope="session")
def candidate(workspace: Workspace) -> Bundle:
    """The model under test, loaded in this fresh process after its signature was verified."""
    return load_bundle(workspace.folder("train"))


@pytest.fixture(scope="session")
def champion(project: Project, pytestconfig: pytest.Config) -> Bundle | None:
    """The model that the channel serves now, if there is one to compare with."""
    version = pytestconfig.getoption("--champion")
    return None if version is None else load_version(Registry(project.name), version)


@pytest.fixture(scope="session")
def test_rows(workspace: Workspace, project: Project) -> pd.DataFrame:
    """The held-out rows, without the target."""
    return pd.read_parquet(workspace.folder("data") / "test.parquet").drop(columns=project.target)


@pytest.fixture(scope="session")
def test_target(workspace: Workspace, project: Project) -> pd.Series:
    """The target of the held-out rows."""
    return pd.read_parquet(workspace.folder("data") / "test.parquet")[project.target]


@pytest.fixture(scope="session")
def recorded(candidate: Bundle, test_rows: pd.DataFrame) -> RecordedPredictions:
    """What the candidate predicts for the held-out rows."""
    return RecordedPredictions.of(candidate.pipeline, test_rows)


@pytest.fixture
def gate(record_property: Callable[[str, object], None]) -> Gate:
    """Judge one figure: note it for the verdict, then fail the test if it misses its threshold."""

    def judge(
        name: str,
        value: float,
        *,
        at_least: float | None = None,
        at_most: float | None = None,
        interval: tuple[float, float] | None = None,
        note: str = "",
    ) -> None:
        threshold, sign = (at_least, ">=") if at_least is not None else (at_most, "<=")
        assert threshold is not None, "a gate needs a threshold"
        for key, figure in (("gate", name), ("value", value), ("threshold", threshold)):
            record_property(key, figure)
        if interval:
            record_property("low", interval[0])
            record_property("high", interval[1])
        passed = value >= threshold if at_least is not None else value <= threshold
        message = f"{value:.6g} {sign if passed else 'is not ' + sign} {threshold:.6g}{note and ' ' + note}"
        record_property("message", message)
        assert passed, f"{name}: {message}"

    return judge


@pytest.fixture
def declared() -> Callable[[float | None, str], float]:
    """Return a threshold, or skip the test if the project declares none."""

    def threshold(value: float | None, key: str) -> float:
        if value is None:
            pytest.skip(f"project.toml sets no gates.{key}")
        return value

    return threshold
