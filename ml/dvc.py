"""The program ``dvc``, which has an environment of its own: run, and its complaint on one line."""

import subprocess
from pathlib import Path

from ml import locations
from ml.errors import MlError


class DvcFailed(MlError):
    """The program ran, and could not do what was asked of it."""


def run_dvc(
    *arguments: str, folder: Path | None = None, seconds: float | None = None, needed: str = ""
) -> None:
    """Run ``dvc`` in a folder; raises ``DvcFailed`` with its own reason, ``MlError`` if there is no ``dvc``.

    ``needed`` begins that message: what asks for it. After ``seconds`` it raises ``TimeoutExpired``. Do not
    ask it to be quiet: then it hides its reason, too.
    """
    program = locations.dvc()
    if program is None:
        raise MlError(
            f"{needed}dvc is not installed: install it in an environment of its own (pipx install dvc), and "
            "name the program in ML_DVC if it is not on the PATH"
        )
    done = subprocess.run(
        [program, *arguments], cwd=folder, capture_output=True, text=True, check=False, timeout=seconds
    )
    if done.returncode:
        lines = (done.stderr or done.stdout).strip().splitlines() or ["dvc says nothing"]
        told = next((line for line in lines if line.startswith("ERROR")), lines[-1])
        raise DvcFailed(told.removeprefix("ERROR: "))
