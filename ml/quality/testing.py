"""Running the tests of a model, ``tests/quality``, by pytest in a process of its own."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

from ml import locations
from ml.errors import MlError
from ml.project import Project
from ml.quality.verdict import hide_personal, place_of
from ml.workspace import Workspace

TESTS = locations.ROOT / "tests" / "quality"
Process = subprocess.Popen  # tests of the code have one that starts sooner
LOG = "quality.log"  # beside the folder of the stage, which is swapped in only when it is whole


def run_tests(
    project: Project, workspace: Workspace, champion: int | None, junit: Path, figures: Path
) -> None:
    """Run pytest over the tests of the model, in a process of its own; ``MlError`` if it cannot run."""
    command = _command(project, workspace, champion, junit, figures)
    log = junit.parent / "pytest.log"
    with (
        open(log, "w", encoding="utf-8") as stream,
        Process(
            command, cwd=locations.ROOT, env=_environment(), stdout=stream, stderr=subprocess.STDOUT
        ) as process,
    ):
        try:
            import ml.quality.report  # noqa: F401  (takes seconds, which the tests take anyway)

            process.wait()
        except BaseException:
            process.kill()
            raise
    hide_personal(project, workspace, junit.parent)
    if process.returncode not in (0, 1) or not junit.exists():
        copy = workspace.root / LOG
        shutil.copy(log, copy)
        text = log.read_text(encoding="utf-8")
        reasons = [line[1:].strip() for line in text.splitlines() if line.startswith("E ")]
        told = next((one for one in reasons if one.startswith("ml.errors.")), reasons[0] if reasons else "")
        reason = told.removeprefix("ml.errors.MlError: ") + place_of(text) if told else text.strip()[-200:]
        raise MlError(
            f"the tests of the model could not run (pytest exit {process.returncode}): {reason} (log: {copy})"
        )


def _command(
    project: Project, workspace: Workspace, champion: int | None, junit: Path, figures: Path
) -> list[str]:
    return [
        sys.executable,
        "-m",
        "pytest",
        str(TESTS),
        "-c",
        str(locations.ROOT / "pyproject.toml"),
        "--rootdir",
        str(locations.ROOT),
        "-p",
        "no:cacheprovider",
        "-q",
        "--tb=short",
        "--assert=plain",  # pytest would show the tables that an assertion compares
        f"--junitxml={junit}",
        "--figures",
        str(figures),
        "--project",
        project.name,
        "--build",
        str(workspace.root.parent),
        *(["--champion", str(champion)] if champion is not None else []),
    ]


def _environment() -> dict[str, str]:
    # A model is code: while it is tried, the key that could bless another is out of its reach.
    kept = {key: value for key, value in os.environ.items() if key not in ("ML_SIGNING_KEY", "ML_API_KEYS")}
    # What is relative to this folder is looked for from others.
    kept |= {
        "ML_HOME": str(locations.home()),
        "ML_BUILD_KEYS": str(locations.build_keys()),
        "ML_REGISTRY": str(locations.registry()),
        "ML_VERIFY_KEY": str(locations.verify_key()),
    }
    # The gates are the same whatever pytest plugins this environment holds.
    kept["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"
    return kept
