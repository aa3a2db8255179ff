"""A host that serves follows the registry of the host that builds: here both are folders."""

import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from ml import locations

TEMPLATE = locations.ROOT / "jenkins" / "hosts" / "roles" / "production" / "templates" / "ml-follow.j2"
DAY = 86400
needs_rsync = pytest.mark.skipif(not shutil.which("rsync"), reason="rsync is not installed")


class Hosts:
    """The registries of two hosts, and what one runs each minute."""

    def __init__(self, folder: Path) -> None:
        """Let both have a channel that was moved once."""
        self.builds, self.serves = folder / "builds", folder / "serves"
        for registry in (self.builds, self.serves):
            (registry / "shop" / "versions" / "1").mkdir(parents=True)
            self.move(registry, 1, day=1)
        text = TEMPLATE.read_text(encoding="utf-8")
        text = re.sub(r"(?m)^from=.*$", f'from="{self.builds}/"', text)
        self.program = folder / "ml-follow"
        self.program.write_text(text.replace("{{ service_folder }}/registry", str(self.serves)))

    @staticmethod
    def move(registry: Path, version: int, *, day: int, channel: str = "production") -> None:
        """Let a channel be moved to a version on a day."""
        pointer = registry / "shop" / "channels" / f"{channel}.json"
        pointer.parent.mkdir(exist_ok=True)
        pointer.write_text(f'{{"version": {version}}}')
        os.utime(pointer, (day * DAY, day * DAY))

    def follow(self) -> "subprocess.CompletedProcess[str]":
        """Do what is done each minute."""
        return subprocess.run(["sh", self.program], capture_output=True, text=True)

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
    hosts.move(hosts.builds, 2, day=2)
    hosts.move(hosts.builds, 2, day=2, channel="staging")
    os.utime(hosts.builds / "shop" / "channels", (DAY, DAY))
    done = hosts.follow()
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "shop, production.json: as on the host that builds\n"
    assert hosts.version == 2
    assert (hosts.serves / "shop" / "versions" / "2" / "model.pkl").read_text() == "a model"
    assert [file.name for file in hosts.serves.iterdir()] == ["shop"], "nothing is left behind"
    assert [file.name for file in (hosts.serves / "shop" / "channels").iterdir()] == ["production.json"]


@needs_rsync
def test_what_somebody_else_deployed_later_stands(hosts: Hosts) -> None:
    hosts.move(hosts.serves, 7, day=3)
    hosts.move(hosts.builds, 2, day=2)
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
