"""A whole Jenkins in containers: start it, say how to use it, stop it."""

import argparse
import shlex
import subprocess
import sys
import time

from jenkins.client import NEXT, Controller
from jenkins.make_secrets import write_secret
from ml import locations
from ml.delivery.targets.command import compose
from ml.errors import MlError

FILE = locations.ROOT / "docker" / "compose.yaml"
BUILT = ("keys", "git", "agent-1", "serving-1", "front", "controller")  # one service for each image
URL = "http://127.0.0.1:8080"
PUSH_URL = "ssh://jenkins@127.0.0.1:2222/srv/git/ml.git"
FOLDER = locations.ROOT / ".jenkins"
START_SECONDS = 300.0


def up() -> None:
    """Build the images, start everything, wait, and print what a newcomer needs; raises ``MlError``."""
    began = time.monotonic()
    for service in BUILT:  # one after the other: they share most of their layers
        _compose("build", service)
    _compose("up", "--detach")
    password = "exec -T controller cat /keys/controller/ADMIN_PASSWORD"
    controller = Controller(URL, "admin", _read(*password.split()).strip())
    controller.wait(START_SECONDS)
    controller.settle()
    push_key, known_hosts = FOLDER / "push-key", FOLDER / "known_hosts"
    write_secret(push_key, _read("exec", "-T", "git-push", "cat", "/keys/git/push-key"))
    host_key = _read("exec", "-T", "controller", "cat", "/keys/controller/GIT_HOST_KEY")
    write_secret(known_hosts, f"[127.0.0.1]:2222 {host_key}")
    shown = shlex.join(_command())
    print(
        f"Jenkins    {URL} (ready after {time.monotonic() - began:.0f} s)\n"
        f"user       admin (also developer, viewer)\n"
        f"password   {shown} {password}\n"
        f"push       GIT_SSH_COMMAND='ssh -i {push_key} -o IdentitiesOnly=yes "
        f"-o UserKnownHostsFile={known_hosts}' git push {PUSH_URL} HEAD:main\n"
        "service    http://127.0.0.1:8000 (after the first deploy; its key: "
        f"{shown} exec -T controller cat /keys/controller/SERVICE_API_KEY)\n"
        f"stop       make jenkins-down\n{NEXT}"
    )


def _command() -> list[str]:
    try:
        return [*compose(), "--file", str(FILE)]
    except MlError as error:
        raise MlError(f"{error}, or start Jenkins without any by `make jenkins-local`") from error


def _compose(*arguments: str) -> None:
    if subprocess.run([*_command(), *arguments], check=False).returncode:
        raise MlError(f"{compose()[0]}: {arguments[0]} failed, see above; `make jenkins-logs` tells more")


def _read(*arguments: str) -> str:
    done = subprocess.run([*_command(), *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        raise MlError(f"{compose()[0]} {' '.join(arguments)}: {done.stderr.strip()}")
    return done.stdout


def main() -> int:
    """Start, stop or show logs, as the command line says; an error is one line."""
    parser = argparse.ArgumentParser(prog="python -m jenkins.compose", description=__doc__)
    parser.add_argument("action", choices=["up", "down", "logs"])
    action = parser.parse_args().action
    try:
        if action == "up":
            up()
        else:
            _compose(*{"down": ["down"], "logs": ["logs", "--follow", "--tail", "100"]}[action])
    except MlError as error:
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
