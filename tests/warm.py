"""The tests of a model in a process that imported all it needs before: seconds less each time."""

import multiprocessing
import os
import subprocess
import sys
from pathlib import Path
from typing import IO, Any

IMPORTS = ["pytest", "catboost", "sklearn.inspection", "uvicorn", "ml.serving.app", "ml.quality.report"]


class WarmPytest:
    """Stands for ``subprocess.Popen`` of ``python -m pytest``: a fork of a server that computes nothing."""

    def __init__(
        self, command: list[str], *, cwd: Path, env: dict[str, str], stdout: IO[str], stderr: int
    ) -> None:
        """Start pytest with its own folder, environment and output."""
        assert command[:3] == [sys.executable, "-m", "pytest"] and stderr == subprocess.STDOUT
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(IMPORTS)
        given = (command[3:], str(cwd), env, stdout.name)
        self._process = context.Process(target=_run, args=given)
        self._process.start()

    def __enter__(self) -> "WarmPytest":
        """Wait for it at the end of the block."""
        return self

    def __exit__(self, *_: Any) -> None:
        """Wait for it."""
        self.wait()

    @property
    def returncode(self) -> int | None:
        """What it left with, if it did."""
        return self._process.exitcode

    def wait(self) -> None:
        """Wait until it has ended."""
        self._process.join()

    def kill(self) -> None:
        """End it at once."""
        self._process.kill()


def _run(arguments: list[str], folder: str, environment: dict[str, str], output: str) -> None:
    log = os.open(output, os.O_WRONLY | os.O_APPEND)
    os.dup2(log, 1)
    os.dup2(log, 2)
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)
    sys.argv = ["pytest", *arguments]
    sys.path[:0] = [folder] if folder not in sys.path else []
    import pytest

    sys.exit(int(pytest.main(arguments)))
