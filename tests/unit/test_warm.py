"""The Python that tests call for commands: it ends as a command of Python does."""

import signal
import subprocess
from pathlib import Path

import pytest

from tests import warm

Done = subprocess.CompletedProcess[str]
pytestmark = pytest.mark.slow  # its imports


def run(code: str, *arguments: str, folder: Path | None = None, told: str = "") -> Done:
    command = [warm.python(), "-c", code, *arguments]
    return subprocess.run(command, cwd=folder, input=told, capture_output=True, text=True)


def test_a_command_has_its_own_arguments_folder_input_and_end(tmp_path: Path) -> None:
    code = "import os, sys; print(sys.argv, os.getcwd(), input()); print('no', file=sys.stderr); sys.exit(3)"
    done = run(code, "one", "two words", folder=tmp_path, told="told")
    assert done.returncode == 3 and done.stderr == "no\n"
    assert done.stdout == f"['-c', 'one', 'two words'] {tmp_path} told\n"


def test_it_knows_nothing_of_this_project() -> None:
    known = "print([name for name in sys.modules if name.partition('.')[0] in ('ml', 'tests')])"
    assert run(f"import sys; {known}").stdout == "[]\n"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_signal_ends_it_as_it_ends_a_command(number: signal.Signals) -> None:
    assert run(f"import os; os.kill(os.getpid(), {int(number)})").returncode == -number
    waiting = subprocess.Popen([warm.python(), "-c", "input()"], stdin=subprocess.PIPE)
    waiting.send_signal(number)
    assert waiting.wait(20) == -number
