"""The first thing a stranger does: one command from raw data to a service that answers."""

import json
import os
import re
import shutil
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from ml import locations
from tests.conftest import VARIABLES

pytestmark = pytest.mark.slow


@dataclass(frozen=True)
class Shell:
    """Runs commands as a user would, in an environment of its own."""

    root: Path
    port: int

    def ml(
        self, *arguments: str, code: int = 0, source: Path = locations.ROOT, text: str | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run ``python -m ml`` for the Titanic and check its exit code."""
        variables = {key: value for key, value in os.environ.items() if key not in VARIABLES}
        variables |= {"ML_HOME": str(self.root / "home"), "PORT": str(self.port)}
        variables["LOKY_MAX_CPU_COUNT"] = "1"  # another test has the other core
        command = [sys.executable, "-m", "ml", *arguments, "--build", str(self.root / "build")]
        done = subprocess.run(command, cwd=source, env=variables, input=text, capture_output=True, text=True)
        assert done.returncode == code, done.stderr
        return done

    @property
    def build(self) -> Path:
        """The build folder of the Titanic."""
        return self.root / "build" / "titanic"

    def health(self) -> dict[str, object]:
        """Ask the service."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/health", timeout=10) as answer:
            health: dict[str, object] = json.load(answer)
            return health


@pytest.fixture(scope="module")
def shell(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shell]:
    import socket

    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    shell = Shell(tmp_path_factory.mktemp("titanic"), port)
    yield shell
    shell.ml("serve", "--stop")


@pytest.fixture(scope="module")
def first_run(shell: Shell) -> subprocess.CompletedProcess[str]:
    return shell.ml("run")


def test_the_run_ends_with_what_a_newcomer_wants_to_know(
    shell: Shell, first_run: subprocess.CompletedProcess[str]
) -> None:
    said = first_run.stdout
    for stage in ("lint", "data", "train", "quality", "deploy"):
        assert re.search(rf"│ {stage} +│ +\d+\.\d +│ \w+", said)
        assert f"=== {stage}" in first_run.stderr
    for line in (f"http://127.0.0.1:{shell.port}/docs", "report.html", "test accuracy", "sha256", "curl -s"):
        assert line in said
    manifest = json.loads((shell.build / "model" / "manifest.json").read_text())
    assert manifest["outputs"]["model.pkl"] in said
    assert "Traceback" not in first_run.stderr


def test_the_printed_curl_line_works(shell: Shell, first_run: subprocess.CompletedProcess[str]) -> None:
    (line,) = re.findall(r"try +(curl .*)", first_run.stdout)
    answer = json.loads(
        subprocess.run(["bash", "-c", line], capture_output=True, text=True, check=True).stdout
    )
    assert answer["version"] == 1
    assert answer["predictions"][0]["prediction"] in (0, 1)
    assert "Name" in line
    assert "Mr." not in line, "what is personal is made up"


def test_the_model_is_as_good_as_the_titanic_allows(
    shell: Shell, first_run: subprocess.CompletedProcess[str]
) -> None:
    manifest = json.loads((shell.build / "model" / "manifest.json").read_text())
    trials = [json.loads(line) for line in (shell.build / "model" / "trials.jsonl").read_text().splitlines()]
    assert {trial["estimator"] for trial in trials} >= {
        "LogisticRegression",
        "DecisionTreeClassifier",
        "RandomForestClassifier",
        "GradientBoostingClassifier",
        "CatBoostClassifier",
    }
    assert manifest["cross_validation"]["accuracy"]["mean"] > 0.82


def test_the_first_passenger_is_predicted_offline_as_by_the_service(
    shell: Shell, first_run: subprocess.CompletedProcess[str]
) -> None:
    header, row = shell.ml("predict", "--first", "1").stdout.splitlines()
    assert header == "PassengerId,prediction,probability_0,probability_1"
    assert row.startswith("892,0,")
    text = (locations.ROOT / "ml" / "projects" / "titanic" / "data" / "test.csv").read_text()
    assert shell.ml("predict", "--input", "-", "--first", "1", text=text).stdout.splitlines()[1] == row
    assert len(shell.ml("predict", "--input", "-", text=text).stdout.splitlines()) == 419


def test_versions_and_lineage_are_shown(shell: Shell, first_run: subprocess.CompletedProcess[str]) -> None:
    assert "production" in shell.ml("show").stdout
    lineage = shell.ml("show", "1").stdout
    for part in (
        "data source",
        "git commit",
        "parameters",
        "environment",
        "build",
        "blessed",
        "floor: accuracy",
    ):
        assert part in lineage


def test_a_second_run_has_nothing_to_do(shell: Shell, first_run: subprocess.CompletedProcess[str]) -> None:
    said = shell.ml("run").stdout
    assert len(re.findall(r"unchanged", said)) == 4
    assert "already deployed" in said
    assert shell.health()["version"] == 1


@pytest.mark.parametrize("stage", ["lint", "data", "train", "quality", "deploy"])
def test_a_stage_with_nothing_to_do_loads_nothing_heavy(
    shell: Shell, first_run: subprocess.CompletedProcess[str], stage: str
) -> None:
    shell.ml(stage)  # what was registered since quality is on the pages of the history now
    code = (
        "import sys; from ml.cli import main; status = main(sys.argv[1:]); "
        "print(status, *sorted({name.partition('.')[0] for name in sys.modules}))"
    )
    command = [sys.executable, "-c", code, stage, "--build", str(shell.root / "build")]
    variables = {key: value for key, value in os.environ.items() if key not in VARIABLES}
    variables |= {"ML_HOME": str(shell.root / "home"), "PORT": str(shell.port)}
    done = subprocess.run(
        command, cwd=locations.ROOT, env=variables, capture_output=True, text=True, check=True
    )
    status, *modules = done.stdout.splitlines()[-1].split()
    assert status == "0"
    assert (
        set(modules) & {"pandas", "numpy", "pandera", "sklearn", "scipy", "sqlalchemy", "matplotlib"} == set()
    )


def test_another_checkout_builds_the_same_bytes(
    shell: Shell, first_run: subprocess.CompletedProcess[str], tmp_path: Path
) -> None:
    elsewhere = tmp_path / "another" / "checkout"
    shutil.copytree(
        locations.ROOT,
        elsewhere,
        # Caches and logs come and go while other tests run.
        ignore=shutil.ignore_patterns(
            ".venv", ".git", "build", ".ml", ".jenkins", "__pycache__", ".*_cache", "catboost_info"
        ),
    )
    manifest = json.loads((shell.build / "model" / "manifest.json").read_text())
    winner = {manifest["estimator"]: {name: [value] for name, value in manifest["parameters"].items()}}
    (elsewhere / "ml" / "projects" / "titanic" / "grid.json").write_text(json.dumps(winner))
    other = Shell(tmp_path, shell.port)
    other.ml("data", source=elsewhere)
    other.ml("train", source=elsewhere)
    assert (other.build / "model" / "model.pkl").read_bytes() == (
        shell.build / "model" / "model.pkl"
    ).read_bytes()
