"""What every test of a model is given: the candidate, the data, the champion, and ``gate`` to judge with."""

import os
import site
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from ml import locations
from ml.data.row_index import fingerprints
from ml.files import write_json
from ml.project import Project, find_project
from ml.quality.metrics import RecordedPredictions, interval, paired_interval
from ml.quality.reference import REFERENCE_FILE, reference
from ml.quality.slices import slice_rows
from ml.registry.versions import Registry
from ml.training.bundle import Bundle, load_bundle, load_version
from ml.training.folds import read_part
from ml.training.scores import scorer
from ml.workspace import ROWS_FILE, Workspace

Gate = Callable[..., None]
Declared = Callable[[Any, str], Any]

ELSEWHERE = {
    "TZ": "Pacific/Kiritimati",
    "LC_ALL": "C",
    "LANG": "C",
    "PYTHONHASHSEED": "1",
    "PYTHONDONTWRITEBYTECODE": "1",
    "USER": "nobody",
    "CI": "elsewhere",
}
# Without these neither Python nor the model is found, or numbers are added up otherwise.
KEPT = ("ML_", "PYTHON", "LD_", "PATH", "VIRTUAL_ENV", "OPENBLAS_", "OMP_", "MKL_", "NPY_")
MIN_ROWS = 30  # to compare two models on
MIN_NEWER = 100  # to say by these alone which of the two is better
# Of intervals that compare two models: by chance one in a hundred harmless retrainings is refused at most.
SURE = 0.99
NONE = pytest.param(None, id="none", marks=pytest.mark.skip(reason="project.toml declares none"))


@dataclass(frozen=True)
class Comparison:
    """The candidate and the champion on the test rows that neither was trained on.

    ``newer`` tells that these are only the rows that came after the champion was made.
    """

    version: int
    tolerance: float
    rows: np.ndarray
    ours: RecordedPredictions
    theirs: RecordedPredictions
    target: np.ndarray
    newer: bool = False

    def part(self, mask: np.ndarray, *, newer: bool = False) -> "Comparison":
        """Return the comparison on some of its rows."""
        chosen = np.flatnonzero(mask)
        ours, theirs = self.ours.part(chosen), self.theirs.part(chosen)
        rows, target = self.rows[chosen], self.target[chosen]
        return Comparison(self.version, self.tolerance, rows, ours, theirs, target, newer or self.newer)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Let the quality stage say which model is judged."""
    parser.addoption("--project", required=True)
    parser.addoption("--champion", type=int, help="the version to compare with, if there is one")
    parser.addoption("--build", required=True)
    parser.addoption("--figures", required=True, help="the JSON file for what the report draws")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Make one test of every floor, ceiling, slice, sensitive column, damage and expectation declared."""
    from ml.expectations import load_expectations

    project = find_project(metafunc.config.getoption("--project"))
    gates = project.gates
    declared: dict[str, Callable[[], list[Any]]] = {
        "floor_metric": lambda: sorted(gates.floors),
        "ceiling_metric": lambda: sorted(gates.ceilings),
        "slice_name": lambda: list(_slices(metafunc.config)) if gates.slices else [],
        "sensitive": lambda: gates.fairness.sensitive if gates.fairness else [],
        "damage": lambda: list(gates.max_damage),
        "expectation": lambda: load_expectations(project),
    }
    for fixture, values in declared.items():
        if fixture in metafunc.fixturenames:
            metafunc.parametrize(fixture, values() or [NONE], ids=_name)


def _name(value: Any) -> str:
    return str(getattr(value, "name", value))


def _slices(config: pytest.Config) -> dict[str, np.ndarray]:
    project = find_project(config.getoption("--project"))
    folder = Workspace(Path(config.getoption("--build")), project.name).folder("data")
    assert project.gates.slices
    return slice_rows(read_part(project, folder, "test"), project.gates.slices)


@pytest.fixture(scope="session")
def project(pytestconfig: pytest.Config) -> Project:
    """The project, with the gates as they are declared now."""
    return find_project(pytestconfig.getoption("--project"))


@pytest.fixture(scope="session")
def workspace(project: Project, pytestconfig: pytest.Config) -> Workspace:
    """The build folder with the candidate."""
    return Workspace(Path(pytestconfig.getoption("--build")), project.name)


@pytest.fixture(scope="session")
def figures(pytestconfig: pytest.Config) -> Iterator[dict[str, Any]]:
    """What the report draws: tests add to it, and it is written when all have run."""
    found: dict[str, Any] = {}
    yield found
    write_json(Path(pytestconfig.getoption("--figures")), found)


@pytest.fixture(scope="session", autouse=True)
def _figures_are_written(figures: dict[str, Any]) -> None:
    """Write the figures even if no test has any to add."""


@pytest.fixture(scope="session", autouse=True)
def _reference_is_written(
    pytestconfig: pytest.Config, project: Project, candidate: Bundle, held_out: pd.DataFrame
) -> None:
    """Keep what the monitor will hold later answers against."""
    try:
        answers = candidate.predict(held_out.drop(columns=project.target))
    except Exception:  # a model that cannot answer is refused by the gates, which say why
        return
    file = Path(pytestconfig.getoption("--figures")).with_name(REFERENCE_FILE)
    reference(project, held_out, answers).to_parquet(file, index=False)


@pytest.fixture(scope="session")
def candidate(workspace: Workspace) -> Bundle:
    """The model under test, loaded in this fresh process after its signature was verified."""
    return load_bundle(workspace.folder("train"))


@pytest.fixture(scope="session", autouse=True)
def _fresh_process_begins(request: pytest.FixtureRequest) -> None:
    """Let the process elsewhere work while other tests run, if any of them will ask for it."""
    if any("fresh_process" in getattr(item, "fixturenames", ()) for item in request.session.items):
        request.getfixturevalue("fresh_process")


@pytest.fixture(scope="session")
def fresh_process(
    workspace: Workspace, held_out: pd.DataFrame, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[subprocess.Popen[str]]:
    """A process that loads the model elsewhere and answers.

    Elsewhere: an empty folder, another home, time zone and locale, none of the variables of this environment
    but those of Python and of ``ml``, a clock years ahead, no files but the model's, no network.
    """
    asked = tmp_path_factory.mktemp("asked") / "rows.parquet"
    held_out.to_parquet(asked, index=False)
    command = [
        sys.executable,
        str(Path(__file__).with_name("fresh_process.py")),
        str(workspace.folder("train")),
        str(asked),
    ]
    kept = {name: value for name, value in os.environ.items() if name.startswith(KEPT)}
    path = os.pathsep.join([str(locations.ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    settled = {"ML_HOME": str(locations.home()), "PYTHONPATH": path, "PYTHONUSERBASE": site.getuserbase()}
    with tempfile.TemporaryDirectory(prefix="elsewhere-") as folder:
        with subprocess.Popen(
            command,
            cwd=folder,
            env=kept | settled | ELSEWHERE | {"HOME": folder, "TMPDIR": folder},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        ) as process:
            yield process
            process.kill()


@pytest.fixture(scope="session")
def train(project: Project, workspace: Workspace) -> pd.DataFrame:
    """The rows that the candidate was fitted on, with the target."""
    return read_part(project, workspace.folder("data"), "train")


@pytest.fixture(scope="session")
def held_out(workspace: Workspace, project: Project) -> pd.DataFrame:
    """The held-out rows, with the target."""
    return read_part(project, workspace.folder("data"), "test")


@pytest.fixture(scope="session")
def test_rows(held_out: pd.DataFrame, project: Project) -> pd.DataFrame:
    """The held-out rows, without the target."""
    return held_out.drop(columns=project.target)


@pytest.fixture(scope="session")
def test_target(held_out: pd.DataFrame, project: Project) -> pd.Series:
    """The target of the held-out rows."""
    return held_out[project.target]


@pytest.fixture(scope="session")
def slice_masks(pytestconfig: pytest.Config) -> dict[str, np.ndarray]:
    """The held-out rows of each slice."""
    return _slices(pytestconfig)


@pytest.fixture(scope="session")
def recorded(candidate: Bundle, test_rows: pd.DataFrame) -> RecordedPredictions:
    """What the candidate predicts for the held-out rows."""
    return RecordedPredictions.of(candidate.pipeline, test_rows)


@pytest.fixture(scope="session")
def positive(candidate: Bundle) -> Any:
    """The class that f1, precision, recall and the like are about; none if there are not two."""
    return candidate.manifest.positive


@pytest.fixture(scope="session")
def test_score(
    project: Project,
    positive: Any,
    recorded: RecordedPredictions,
    test_target: pd.Series,
    figures: dict[str, Any],
) -> float:
    """The candidate's score on the held-out rows, by the metric of the training."""
    metric, target = project.training.metric, test_target.to_numpy()
    score = float(scorer(metric, positive)(recorded, np.arange(len(target)), target))
    figures["score"] = score
    if metric not in project.gates.floors:  # whose gate tells it otherwise
        figures["score interval"] = interval(metric, recorded, target, project.seed, positive)
    return score


@pytest.fixture(scope="session")
def comparison(
    project: Project,
    pytestconfig: pytest.Config,
    recorded: RecordedPredictions,
    test_rows: pd.DataFrame,
    test_target: pd.Series,
    positive: Any,
) -> Comparison:
    """The champion beside the candidate; skips the test if there is none, or nothing to compare them on.

    They are compared on the rows that neither was trained on; if enough of them came after the champion was
    made, and the candidate is surely better on those, on those alone.
    """
    version = pytestconfig.getoption("--champion")
    tolerance = project.gates.champion_tolerance
    if tolerance is None:
        pytest.skip("project.toml sets no gates.champion_tolerance")
    if version is None:
        pytest.skip("the channel has no other champion")
    registry = Registry(project.name)
    champion = load_version(registry, version)
    known = pd.read_parquet(registry.folder(version) / "model" / ROWS_FILE)
    own = fingerprints(test_rows, project)["id"]
    fresh = ~own.isin(known.query("part == 'train'")["id"]).to_numpy()
    newer = ~own.isin(known["id"]).to_numpy()
    if fresh.sum() < MIN_ROWS:
        pytest.skip(f"version {version} was trained on all but {fresh.sum()} of the held-out rows")
    missing = sorted(set(champion.request_contract.columns) - set(test_rows))
    if missing:
        pytest.skip(f"version {version} needs the column '{missing[0]}', which the data no longer has")
    theirs = RecordedPredictions.of(champion.pipeline, test_rows)
    everything = np.arange(len(test_rows))
    whole = Comparison(version, tolerance, everything, recorded, theirs, test_target.to_numpy())
    if len(np.unique(whole.target[fresh])) < 2:
        pytest.skip(f"all rows that version {version} was not trained on have the same target")
    if not MIN_NEWER <= newer.sum() < fresh.sum():
        return whole.part(fresh)
    # Where the world changed, the champion is right about a past that does not come back.
    late = whole.part(newer, newer=True)
    return late if _surely_better(late, project, positive) else whole.part(fresh)


def _surely_better(comparison: Comparison, project: Project, positive: Any) -> bool:
    """Tell whether the candidate is ahead of the champion by more than chance."""
    if len(np.unique(comparison.target)) < 2:
        return False
    of = comparison.ours, comparison.theirs, comparison.target
    return paired_interval(project.training.metric, *of, project.seed, SURE, positive)[0] > 0


@pytest.fixture
def gate(record_property: Callable[[str, object], None]) -> Gate:
    """Judge one figure: note it for the verdict, then fail the test if it misses its threshold.

    The name is the kind of the gate and what it is about. With ``if_sure`` only a figure whose whole interval
    misses the threshold is refused.
    """

    def judge(
        kind: str,
        about: str,
        value: float,
        *,
        at_least: float | None = None,
        at_most: float | None = None,
        interval: tuple[float, float] | None = None,
        if_sure: bool = False,
        note: str = "",
    ) -> None:
        threshold, sign = (at_least, ">=") if at_least is not None else (at_most, "<=")
        assert threshold is not None, "a gate needs a threshold"
        name = f"{kind}: {about}"
        for key, figure in (("gate", name), ("kind", kind), ("value", value), ("threshold", threshold)):
            record_property(key, figure)
        record_property("direction", "at least" if at_least is not None else "at most")
        if interval:
            record_property("low", interval[0])
            record_property("high", interval[1])
        passed = value >= threshold if at_least is not None else value <= threshold
        told = f"{value:.6g} {sign if passed else 'is not ' + sign} {threshold:.6g}"
        if not passed and if_sure and interval:
            end = interval[1] if at_least is not None else interval[0]
            passed = end >= threshold if at_least is not None else end <= threshold
            sure = "but that may be chance" if passed else "and that is hardly chance"
            told += f", {sure} ({interval[0]:.4g} to {interval[1]:.4g})"
        message = told + (note and f" {note}")
        record_property("message", message)
        assert passed, f"{name}: {message}"

    return judge


@pytest.fixture
def warn(record_property: Callable[[str, object], None]) -> Callable[[str, str], None]:
    """Note something that deserves a look but refuses nothing."""

    def note(name: str, message: str) -> None:
        for key, text in (("gate", name), ("kind", "warning"), ("warning", "yes"), ("message", message)):
            record_property(key, text)

    return note


@pytest.fixture
def declared() -> Declared:
    """Return a threshold, or skip the test if the project declares none."""

    def threshold(value: Any, key: str) -> Any:
        if value is None:
            pytest.skip(f"project.toml sets no gates.{key}")
        return value

    return threshold
