"""Copying to another machine: a connection that is lost on the way is tried once more, and then told."""

from pathlib import Path

import pytest

from ml import locations
from ml.delivery.targets.ssh import Host, Remote
from ml.errors import MlError
from ml.project import find_project
from ml.serving.client import Service
from tests.conftest import Site

RSYNC = """#!/bin/sh
echo x >> "$0.calls"
[ "$(wc -l < "$0.calls")" -gt {lost} ] && exit 0
echo "Connection closed by 192.0.2.1 port 22" >&2
echo "rsync error: unexplained error (code 255) at io.c(285)" >&2
exit 255
"""


@pytest.fixture
def remote(site: Site) -> Remote:
    """Return a machine that has its pointer still to be copied."""
    pointer = locations.registry() / "small" / "channels" / "production.json"
    pointer.parent.mkdir(parents=True)
    pointer.write_text("{}")
    host = Host("ml", "192.0.2.1", None, "/srv/ml")
    return Remote(host, find_project("small"), "production", 8000, Service("http://127.0.0.1:1"))


@pytest.mark.parametrize(("lost", "calls"), [(0, 1), (1, 2)])
def test_a_connection_that_is_lost_once_costs_no_deploy(
    remote: Remote, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lost: int, calls: int
) -> None:
    program = rsync(tmp_path, monkeypatch, lost)
    remote.moved()
    assert (program.parent / "rsync.calls").read_text().count("x") == calls


def test_a_host_that_cannot_be_reached_is_named_with_what_ssh_says(
    remote: Remote, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rsync(tmp_path, monkeypatch, 9)
    with pytest.raises(MlError) as told:
        remote.moved()
    assert str(told.value).startswith("host 192.0.2.1: rsync failed: ")
    assert "(Connection closed by 192.0.2.1 port 22)" in str(told.value)


def rsync(folder: Path, monkeypatch: pytest.MonkeyPatch, lost: int) -> Path:
    """Put a program in rsync's place that loses so many connections first."""
    program = folder / "bin" / "rsync"
    program.parent.mkdir()
    program.write_text(RSYNC.format(lost=lost))
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:/usr/bin:/bin")
    return program
