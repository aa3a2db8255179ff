"""A host that serves follows the registry of the host that builds: here both are folders."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from ml import locations

TEMPLATE = locations.ROOT / "jenkins" / "hosts" / "roles" / "production" / "templates" / "ml-follow.j2"
needs_rsync = pytest.mark.skipif(not shutil.which("rsync"), reason="rsync is not installed")


class Hosts:
    """The registries of two hosts, and what one runs each minute."""

    def __init__(self, folder: Path) -> None:
        """Let both have a channel that was moved once."""
        self.builds, self.serves = folder / "builds", folder / "serves"
        for registry in (self.builds, self.serves):
            (registry / "shop" / "versions" / "1").mkdir(parents=True)
            self.move(registry, 1, "2026-01-01T00:00:00+00:00")
        text = TEMPLATE.read_text(encoding="utf-8")
        text = re.sub(r"(?m)^FROM = .*$", f'FROM = "{self.builds}/"', text)
        self.program = folder / "ml-follow"
        self.program.write_text(text.replace("{{ service_folder }}/registry", str(self.serves)))

    @staticmethod
    def move(registry: Path, version: int, at: str) -> None:
        """Let the channel be moved to a version."""
        pointer = registry / "shop" / "channels" / "production.json"
        pointer.parent.mkdir(exist_ok=True)
        pointer.write_text(json.dumps({"version": version, "history": [{"at": at}]}))

    def follow(self) -> "subprocess.CompletedProcess[str]":
        """Do what is done each minute."""
        return subprocess.run([sys.executable, self.program], capture_output=True, text=True)

    @property
    def version(self) -> int:
        """The version that is served."""
        content = json.loads((self.serves / "shop" / "channels" / "production.json").read_text())
        return int(content["version"])


@pytest.fixture
def hosts(tmp_path: Path) -> Hosts:
    """Return two hosts."""
    return Hosts(tmp_path)


@needs_rsync
def test_what_was_deployed_meanwhile_is_taken_with_its_version(hosts: Hosts) -> None:
    assert hosts.follow().stdout == "", "nothing is new"
    (hosts.builds / "shop" / "versions" / "2").mkdir()
    (hosts.builds / "shop" / "versions" / "2" / "model.pkl").write_text("a model")
    hosts.move(hosts.builds, 2, "2026-01-02T00:00:00+00:00")
    done = hosts.follow()
    assert done.returncode == 0 and "shop/channels/production.json" in done.stdout
    assert hosts.version == 2
    assert (hosts.serves / "shop" / "versions" / "2" / "model.pkl").read_text() == "a model"
    assert [file.name for file in hosts.serves.iterdir()] == ["shop"], "nothing is left behind"


@needs_rsync
def test_what_somebody_else_deployed_later_stands(hosts: Hosts) -> None:
    hosts.move(hosts.serves, 7, "2026-01-03T00:00:00+00:00")
    hosts.move(hosts.builds, 2, "2026-01-02T00:00:00+00:00")
    assert hosts.follow().returncode == 0
    assert hosts.version == 7


@needs_rsync
def test_a_project_that_is_built_elsewhere_is_left_alone(hosts: Hosts) -> None:
    shutil.rmtree(hosts.builds / "shop")
    done = hosts.follow()
    assert (done.returncode, done.stdout, hosts.version) == (0, "", 1)


@needs_rsync
def test_a_host_that_serves_nothing_yet_has_nothing_to_follow(hosts: Hosts) -> None:
    shutil.rmtree(hosts.serves)
    assert hosts.follow().returncode == 0
