"""What the tests share: an isolated home, projects made from the Titanic, and one small finished build."""

import fcntl
import json
import os
import re
import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from ml import locations
from ml.cli import main
from tests import warm

if TYPE_CHECKING:
    from tests.load.servers import Postgres

# Several workers share the cores: threads that spin while they wait for each other would only heat them.
os.environ |= {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
# Where nothing that was compiled is kept, each of the commands that tests start compiles the same code anew.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False
MEMORY = Path("/dev/shm")
PLENTY_OF_MEMORY = 6 * 2**30  # bytes that must be free there
SMALL_GRID = {
    "LogisticRegression": {"C": [1.0], "max_iter": [1000]},
    "DecisionTreeClassifier": {"max_depth": [3]},
}
VARIABLES = (
    "ML_HOME",
    "ML_REGISTRY",
    "ML_SIGNING_KEY",
    "ML_VERIFY_KEY",
    "ML_BUILD_KEYS",
    "ML_PERSONAL_KEY",
    "ML_PROJECTS",
    "PROJECT",
    "CHANNEL",
    "FORCE",
    "PORT",
    "ROLLBACK_TO",
    "TARGET",
    "WHY",
    "ML_SSH_CONFIG",
    "ML_OUTCOME",
    "ML_SERVICES",
    "ML_API_KEY",
    "ML_API_KEYS",
    "ML_STORE",
    "ML_PREDICTIONS",
    "BUILD_TAG",
    "BUILD_NUMBER",
    "BUILD_URL",
)


@dataclass(frozen=True)
class Site:
    """A folder with everything a user has: projects, home (keys, registry) and build folder."""

    root: Path

    @property
    def project(self) -> Path:
        """The folder of the project ``small``."""
        return self.root / "projects" / "small"

    @property
    def build(self) -> Path:
        """The build folder of the project ``small``."""
        return self.root / "build" / "small"

    def edit(self, file: str, old: str, new: str) -> None:
        """Change one place in a file of the project; a place that is not there fails the test."""
        text = (self.project / file).read_text(encoding="utf-8")
        assert text.count(old) == 1, f"{file} holds {text.count(old)} times {old!r}"
        (self.project / file).write_text(text.replace(old, new), encoding="utf-8")

    def grid(self, content: object) -> None:
        """Write the project's ``grid.json``."""
        (self.project / "grid.json").write_text(json.dumps(content), encoding="utf-8")

    def ml(self, command: str, *arguments: str) -> int:
        """Run a command for the project in this process and return its exit code."""
        return main([command, "--project", "small", "--build", str(self.root / "build"), *arguments])

    def copy(self, root: Path, monkeypatch: pytest.MonkeyPatch) -> "Site":
        """Return a copy for a test to change, and point the environment there."""
        copied = Site(shutil.copytree(self.root, root))
        copied.settle(monkeypatch)
        return copied

    def settle(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Point the environment here, and nowhere else."""
        for variable in VARIABLES:
            monkeypatch.delenv(variable, raising=False)
        monkeypatch.setenv("ML_HOME", str(self.root / "home"))
        monkeypatch.setenv("ML_PROJECTS", str(self.root / "projects"))
        # The grids of tests are so small that starting a worker for each core takes longer than the fits.
        monkeypatch.setenv("LOKY_MAX_CPU_COUNT", "1")


def make_site(root: Path) -> Site:
    """Make a site whose project is the Titanic, read from CSV files, with a grid of two candidates."""
    site = Site(root)
    shutil.copytree(locations.ROOT / "ml" / "projects" / "titanic", site.project)
    shutil.rmtree(site.project / "__pycache__", ignore_errors=True)
    settings = (site.project / "project.toml").read_text(encoding="utf-8")
    source = '[source]\nkind = "csv"\nlabelled = "data/train.csv"\nunlabelled = "data/test.csv"\n\n'
    (site.project / "project.toml").write_text(with_source(settings, source), encoding="utf-8")
    site.grid(SMALL_GRID)
    return site


def with_source(settings: str, source: str) -> str:
    """Return the settings of a project with another source in them."""
    changed, count = re.subn(r"(?s)^\[source\].*?(?=^\[split\])", source, settings, flags=re.MULTILINE)
    assert count == 1
    return changed


def make_built_site(root: Path) -> Site:
    """Make a site in which a model was built and blessed."""
    site = make_site(root)
    with pytest.MonkeyPatch.context() as monkeypatch:
        site.settle(monkeypatch)
        for stage in ("data", "train", "quality"):
            assert site.ml(stage) == 0
    return site


def pytest_configure() -> None:
    """Let files of tests lie in memory where there is plenty: on some disks, making so many takes minutes."""
    if "PYTEST_DEBUG_TEMPROOT" in os.environ or not os.access(MEMORY, os.W_OK):
        return
    found = os.statvfs(MEMORY)
    if found.f_bavail * found.f_frsize > PLENTY_OF_MEMORY and not found.f_flag & os.ST_NOEXEC:
        os.environ["PYTEST_DEBUG_TEMPROOT"] = str(MEMORY)


@pytest.fixture(scope="session", autouse=True)
def _folders_of_inner_tests(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Let a pytest that a test starts make its folders elsewhere.

    It would close the folder of all tests to other users, while servers run in there as one.
    """
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setenv("PYTEST_DEBUG_TEMPROOT", str(tmp_path_factory.mktemp("inner")))
        yield


@pytest.fixture(scope="session")
def shared_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder that all workers of pytest-xdist have in common."""
    own = tmp_path_factory.getbasetemp()
    return own.parent if "PYTEST_XDIST_WORKER" in os.environ else own


@pytest.fixture(scope="session", autouse=True)
def _warm_python(_folders_of_inner_tests: None, shared_folder: Path) -> Iterator[None]:
    """Let commands and the tests of a model begin without seconds of imports; workers share the server."""
    from ml.quality import testing

    first = os.getppid() if "PYTEST_XDIST_WORKER" in os.environ else os.getpid()
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(warm, "shared", (shared_folder / "warm", first))
        monkeypatch.setattr(testing, "Process", warm.Process)
        yield


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Site:
    """Return a site where nothing was run yet."""
    made = make_site(tmp_path)
    made.settle(monkeypatch)
    return made


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what needs a finished build as slow: making one takes as long as all fast tests together."""
    for item in items:
        if "_finished" in getattr(item, "fixturenames", ()):
            item.add_marker("slow")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """Return a worker for each core, and with the slow tests two more: some wait minutes for containers."""
    return (os.cpu_count() or 1) + 2 * (config.option.markexpr != "not slow")


@pytest.fixture(scope="session")
def _finished(shared_folder: Path) -> Site:
    """Return a site that is built once for all workers of pytest-xdist."""
    with open(shared_folder / "finished.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        finished = shared_folder / "finished"
        if finished.exists():
            return Site(finished)
        return Site(make_built_site(shared_folder / "unfinished").root.rename(finished))


@pytest.fixture
def built(_finished: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Site:
    """Return a site where a model was built and blessed, but not deployed; each test gets a copy."""
    return _finished.copy(tmp_path / "site", monkeypatch)


def judge_by(file: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the quality stage run one file of its tests and draw nothing."""
    monkeypatch.setattr("ml.quality.testing.TESTS", locations.ROOT / "tests" / "quality" / file)
    monkeypatch.setattr("ml.quality.report.write_report", lambda *given: None)


@pytest.fixture
def judged_by(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Return what lets one file of the tests of the model judge, for who asks what that file finds."""
    return lambda file: judge_by(file, monkeypatch)


@pytest.fixture(scope="session")
def postgres() -> Iterator["Postgres"]:
    """Return a PostgreSQL server for all tests that leave it running."""
    from tests.load.servers import Postgres

    if not Postgres.available():
        pytest.skip("the PostgreSQL server is not installed")
    server = Postgres()
    server.start()
    yield server
    server.stop()


@pytest.fixture(params=["sqlite", "postgres"])
def store_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Return the URL of an empty store, in a file and in a database of a server."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'new' / 'store.sqlite'}"
    server: Postgres = request.getfixturevalue("postgres")
    return server.new_database()


@pytest.fixture
def free_port() -> int:
    """Return a port that nobody listens on."""
    import socket

    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


@pytest.fixture
def error_of(capsys: pytest.CaptureFixture[str]) -> Callable[[], str]:
    """Return the one error line that was printed; a traceback or a second error fails the test."""

    def error() -> str:
        said = capsys.readouterr().err
        lines = [line for line in said.splitlines() if line.startswith("error: ")]
        assert "Traceback" not in said
        assert len(lines) == 1 and said.rstrip().endswith(lines[0]), said
        return lines[0]

    return error


@pytest.fixture
def served(built: Site) -> Iterator[Site]:
    """Return a built site, and stop whatever service the test starts there."""
    from ml.serving import service

    yield built
    service.stop("small", "production")


def tool(name: str) -> str | None:
    """Return the path of a tool beside this Python (``make test`` installs some) or on the PATH."""
    beside = Path(sys.executable).parent / name
    return str(beside) if beside.exists() else shutil.which(name)


def environment() -> dict[str, str]:
    """Return this process's environment for a command in a process of its own."""
    return os.environ | {"PYTHONPATH": str(locations.ROOT)}
