"""Running a program of this machine."""

import contextlib
import os
import re
import subprocess

from ml.errors import MlError

SSH_FAILED = 255
STREAM_ENDED = 12  # what rsync says of it, depending on its version
# What rsync says last of every failure, and the frame around ssh's warnings: neither tells a reason.
TELLS_NOTHING = re.compile(
    r"@+$|rsync error:|rsync: (connection unexpectedly closed|\[sender\] write error: Broken)"
)


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
        program, lines = command[0], done.stderr.strip().splitlines() or ["it said nothing"]
        if program not in ("ssh", "rsync"):
            raise MlError(f"{program} failed: {lines[-1].removeprefix('error: ')}")
        telling = [one.strip(" @") for one in lines if not TELLS_NOTHING.match(one)] or lines
        told = "; ".join(dict.fromkeys(one.removeprefix("error: ") for one in (telling[0], telling[-1])))
        if done.returncode == SSH_FAILED or (program == "rsync" and done.returncode == STREAM_ENDED):
            raise ConnectionLost(f"{program} failed: {told}")
        # Any other code is that of what ran over there.
        raise MlError(told if program == "ssh" else f"rsync failed: {told}")
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
