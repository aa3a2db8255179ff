"""The container engine of this machine: Docker, or podman with podman-compose."""

import json
import os
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ml import locations
from ml.delivery.targets.command import compose
from ml.errors import MlError

NONE = "this machine names no Docker engine, and no podman with podman-compose that works"
MIRROR = "http://deb.debian.org/debian"
BASE = "docker.io/library/ml-test-base:trixie"
# For podman where there is no systemd and not every limit may be raised, as inside of another container.
SETTINGS = """[containers]
default_ulimits = ["nofile=4096:4096", "nproc=32768:32768"]
[engine]
cgroup_manager = "cgroupfs"
runtime = "runc"
"""
SECRETS = {"pip": "PIP_CONFIG_FILE", "apt": "APT_CONFIG", "certificates": "SSL_CERT_FILE"}


@dataclass(frozen=True)
class Engine:
    """A container engine that was seen to run a container."""

    program: str

    def __call__(self, *arguments: str, check: bool = True) -> str:
        """Run a command of the engine and return what it prints; a failure fails the test."""
        done = subprocess.run([self.program, *arguments], capture_output=True, text=True)
        assert not check or done.returncode == 0, f"{self.program} {arguments[0]}: {done.stderr[-2000:]}"
        return done.stdout.strip()

    def exit_code(self, *arguments: str) -> int:
        """Run a command of the engine and return its exit code."""
        return subprocess.run([self.program, *arguments], capture_output=True).returncode

    def build_environment(self) -> float:
        """Build the stage that most images share; return how many seconds that took."""
        began = time.monotonic()
        arguments = ["--format", "docker"] if self.program == "podman" else []
        for name in ("BASE_IMAGE", "DEBIAN_MIRROR", "DEBIAN_SECURITY_MIRROR"):
            arguments += ["--build-arg", name] if name in os.environ else []
        for secret, variable in SECRETS.items():
            arguments += ["--secret", f"id={secret},src={os.environ.get(variable, os.devnull)}"]
        file = str(locations.ROOT / "docker" / "Dockerfile")
        self("build", "--file", file, "--target", "environment", *arguments, str(locations.ROOT))
        return time.monotonic() - began

    def inspect(self, what: str) -> dict[str, Any]:
        """Return what the engine knows of a container or an image."""
        found: dict[str, Any] = json.loads(self("inspect", what))[0]
        return found

    def is_healthy(self, container: str) -> bool:
        """Run the health check of a container in it, as the engine does again and again."""
        kind, *command = self.inspect(container)["Config"]["Healthcheck"]["Test"]
        assert kind == "CMD"
        return self.exit_code("exec", container, "timeout", "5", *command) == 0


def find_engine(folder: Path) -> Engine | None:
    """Return an engine that runs a container of the base of our images, and set what it needs to do so."""
    os.environ["PATH"] += os.pathsep + str(Path(sys.executable).parent)
    try:
        program = compose()[0].partition("-")[0]
    except MlError:
        return None
    if not shutil.which(program):
        return None
    engine = Engine(program)
    if not _has_base(engine, folder):
        return None
    probe = ("run", "--rm", os.environ.get("BASE_IMAGE", BASE), "true")
    if engine.exit_code(*probe) == 0:
        return engine
    if program == "podman":
        (folder / "containers.conf").write_text(SETTINGS, encoding="utf-8")
        os.environ |= {"CONTAINERS_CONF": str(folder / "containers.conf"), "BUILDAH_ISOLATION": "chroot"}
    return engine if engine.exit_code(*probe) == 0 else None


def _has_base(engine: Engine, folder: Path) -> bool:
    """Take the base that ``docker/Dockerfile`` names, or where no registry is reached make one of Debian."""
    text = (locations.ROOT / "docker" / "Dockerfile").read_text(encoding="utf-8")
    named = text.split("ARG BASE_IMAGE=")[1].split()[0]
    if engine.exit_code("image", "inspect", BASE) and engine.exit_code("pull", "--quiet", named) == 0:
        return engine.exit_code("tag", named, BASE) == 0
    os.environ |= {
        "BASE_IMAGE": BASE,
        "DEBIAN_MIRROR": MIRROR,
        "DEBIAN_SECURITY_MIRROR": "http://deb.debian.org/debian-security",
    }
    if engine.exit_code("image", "inspect", BASE) == 0:
        return True
    if not shutil.which("debootstrap") or os.getuid():
        return False
    made, archive = folder / "debian", folder / "debian.tar"
    command = ["debootstrap", "--variant=minbase", "trixie", str(made), MIRROR]
    if subprocess.run(command, capture_output=True).returncode:
        return False
    left_out = ["--exclude=./var/cache/apt/*", "--exclude=./var/lib/apt/lists/*"]
    subprocess.run(["tar", "-C", str(made), *left_out, "-cf", str(archive), "."], check=True)
    shutil.rmtree(made)
    return engine.exit_code("import", str(archive), BASE) == 0
