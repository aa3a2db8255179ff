"""The commands exist, explain themselves, and answer at once."""

import argparse
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from ml.cli import main
from ml.commands import COMMANDS as COMMAND_TABLE
from tests.conftest import Site, environment
from tests.support import ErrorOf

COMMANDS = (
    "lint",
    "data",
    "train",
    "quality",
    "deploy",
    "rollback",
    "serve",
    "predict",
    "run",
    "show",
    "projects",
)
HEAVY = ("pandas", "numpy", "sklearn", "catboost", "pandera", "fastapi", "matplotlib", "rich", "pydantic")


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main([command, "--help"])
    said = capsys.readouterr().out
    assert ended.value.code == 0
    assert "--project" in said and "--build" in said


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["fly"],
        ["data", "--fast"],
        ["show", "first"],
        ["serve", "--port", "0"],
        ["predict", "--first", "x"],
        ["lint", "--check", "x"],
    ],
)
def test_wrong_usage_exits_with_2(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2
    assert "usage: python -m ml" in capsys.readouterr().err


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys\nfrom ml.cli import main\ntry:\n    main(['--help'])\nexcept SystemExit:\n    pass\n"
        f"print([name for name in {HEAVY!r} if name in sys.modules], file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment(), capture_output=True, text=True, check=True
    )
    assert done.stderr.strip() == "[]"
    assert all(command in done.stdout for command in COMMANDS)


def test_a_rollback_that_asks_no_service_imports_neither_bars_nor_clients(site: Site) -> None:
    code = (
        "import sys\nfrom ml.cli import main\nmain(['rollback'])\n"
        "print([name for name in ('rich', 'httpx2', 'asyncio', 'pandas') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], env=environment(), capture_output=True, text=True)
    assert done.stdout.strip() == "[]", done.stderr


def test_jenkins_parameters_are_the_defaults(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PROJECT", "nowhere; touch /tmp/x")
    assert main(["show"]) == 1
    assert "unknown project 'nowhere; touch /tmp/x'" in capsys.readouterr().err


def test_projects_are_listed(site: Site, capsys: pytest.CaptureFixture[str]) -> None:
    settings = site.project / "project.toml"
    settings.write_text("nightly = false\n" + settings.read_text(encoding="utf-8"), encoding="utf-8")
    assert main(["projects"]) == 0
    assert {"titanic", "temperature", "small"} <= set(capsys.readouterr().out.split())
    assert main(["projects", "--nightly"]) == 0
    nightly = set(capsys.readouterr().out.split())
    assert {"titanic", "temperature"} <= nightly and "small" not in nightly


def test_a_folder_that_cannot_be_copied_is_one_line(
    monkeypatch: pytest.MonkeyPatch, error_of: ErrorOf
) -> None:
    def copy(_: argparse.Namespace) -> None:
        raise shutil.Error([(f"from/{n}", f"to/{n}", "No space left on device") for n in range(500)])

    monkeypatch.setitem(COMMAND_TABLE, "show", copy)
    assert main(["show", "--project", "titanic"]) == 1
    assert error_of() == (
        "error: to/0: No space left on device: check the path, its permissions and the free space"
    )


def test_wrong_usage_is_told_on_the_page_of_a_build(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("ML_OUTCOME", str(tmp_path / "outcome.html"))
    with pytest.raises(SystemExit):
        main(["rollback", "--to", "<none>"])
    assert "argument --to" in capsys.readouterr().err
    told = (tmp_path / "outcome.html").read_text()
    assert told.startswith("error: argument --to") and "&lt;none&gt;" in told
