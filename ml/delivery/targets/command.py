"""Running a program of this machine."""

import contextlib
import os
import subprocess

from ml.errors import MlError

SSH_FAILED = 255


class ConnectionLost(MlError):
    """There was no connection, or it ended: the same may work if it is tried anew."""


def call(
    command: list[str], environment: "os._Environ[str] | dict[str, str]", text: str | None = None
) -> str:
    """Run a command and return what it says; its failure raises ``MlError``, ssh's own ``ConnectionLost``."""
    try:
        done = subprocess.run(command, env=environment, input=text, capture_output=True, text=True)
    except FileNotFoundError as error:
        raise MlError(f"{command[0]} is not installed: this target needs it") from error
    if done.returncode:
        lines = done.stderr.strip().splitlines() or ["it said nothing"]
        told = f"{command[0]} failed: {lines[-1].removeprefix('error: ')}"
        if done.returncode == SSH_FAILED:  # rsync says so, too, after what ssh said
            raise ConnectionLost(told if len(lines) == 1 else f"{told} ({lines[0]})")
        raise MlError(told)
    return done.stdout


def compose() -> list[str]:
    """Return the command that reads a compose file here; with neither of the two it raises ``MlError``."""
    # Unless it is told so, podman makes images that have no health check.
    known = (["docker", "compose"], ["podman-compose", "--podman-build-args=--format=docker"])
    for command in known:
        with contextlib.suppress(FileNotFoundError):
            if subprocess.run([*command, "version"], capture_output=True).returncode == 0:
                return command
    raise MlError("neither `docker compose` nor `podman-compose` is installed: containers need one of them")
