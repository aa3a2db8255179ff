"""A full disk and a killed process: one line, and the earlier result as it was."""

import os
import signal
import subprocess
import sys

import pytest

from tests.conftest import Site, environment
from tests.support import wait_for

pytestmark = pytest.mark.slow


def command(site: Site, name: str, *arguments: str) -> list[str]:
    return [
        sys.executable,
        "-m",
        "ml",
        name,
        "--project",
        "small",
        "--build",
        str(site.root / "build"),
        *arguments,
    ]


@pytest.mark.parametrize("stage", ["data", "train"])
def test_a_full_disk_is_named(built: Site, stage: str) -> None:
    """A limit on the size of a file stands for the disk: writing fails in the same place."""
    before = {file: file.read_bytes() for file in built.build.rglob("*") if file.is_file()}
    limited = ["bash", "-c", 'ulimit -f 4; exec "$@"', "bash", *command(built, stage, "--force")]
    # What measures coverage would be the first to find the disk full.
    unmeasured = {name: value for name, value in environment().items() if not name.startswith("COVERAGE_")}
    done = subprocess.run(limited, env=unmeasured, capture_output=True, text=True)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert done.stderr.splitlines()[-1].startswith("error: ")
    assert "free space" in done.stderr.splitlines()[-1]
    assert {file: file.read_bytes() for file in built.build.rglob("*") if file.is_file()} == before


def test_a_killed_training_leaves_the_earlier_model_and_can_be_repeated(built: Site) -> None:
    before = (built.build / "model" / "manifest.json").read_bytes()
    many = {"DecisionTreeClassifier": {"max_depth": [1], "min_samples_leaf": list(range(1, 2000))}}
    small = (built.project / "grid.json").read_text()
    built.grid(many)
    process = subprocess.Popen(
        command(built, "train"), env=environment(), stderr=subprocess.DEVNULL, start_new_session=True
    )
    log = built.build / ".model.partial" / "trials.jsonl"
    wait_for(lambda: log.exists() and log.read_text())
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert (built.build / "model" / "manifest.json").read_bytes() == before
    (built.project / "grid.json").write_text(small)
    assert built.ml("train", "--force") == 0
    assert not list(built.build.glob(".*.partial"))
