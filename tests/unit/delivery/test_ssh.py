"""Copying to another machine: a connection that is lost on the way is tried once more, and then told."""

import os
from pathlib import Path

import pytest

from ml import locations
from ml.delivery.targets.command import call
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
    assert str(told.value).endswith("Connection closed by 192.0.2.1 port 22"), "not what rsync says of it"


@pytest.mark.parametrize(
    ("program", "code", "said", "told"),
    [
        (
            "rsync",
            11,
            'rsync: [Receiver] mkdir "/x" failed: Permission denied (13)\nrsync error: file IO (code 11)',
            'rsync failed: rsync: [Receiver] mkdir "/x" failed: Permission denied (13)',
        ),
        (
            "rsync",
            12,
            "@@@@@\n@ WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED! @\n@@@@@\nHost key verification "
            "failed.\nrsync: connection unexpectedly closed\nrsync error: protocol data stream",
            "rsync failed: WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED!; Host key verification failed.",
        ),
        (
            "ssh",
            1,
            "WARNING: Retrying after connection broken\nERROR: No matching distribution found for alembic",
            "WARNING: Retrying after connection broken; ERROR: No matching distribution found for alembic",
        ),
        ("ssh", 1, "error: project 'x' is unknown", "project 'x' is unknown"),
    ],
)
def test_what_a_host_says_is_told_and_no_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, program: str, code: int, said: str, told: str
) -> None:
    (tmp_path / program).write_text(f"#!/bin/sh\ncat >&2 <<'END'\n{said}\nEND\nexit {code}\n")
    (tmp_path / program).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    with pytest.raises(MlError) as error:
        call([program], os.environ)
    assert str(error.value) == told


def rsync(folder: Path, monkeypatch: pytest.MonkeyPatch, lost: int) -> Path:
    """Put a program in rsync's place that loses so many connections first."""
    program = folder / "bin" / "rsync"
    program.parent.mkdir()
    program.write_text(RSYNC.format(lost=lost))
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:/usr/bin:/bin")
    return program
