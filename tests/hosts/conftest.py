"""Hosts for the tests of this folder, and Ansible as one types it; nothing is left of them afterwards."""

import os
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import yaml

from ml import locations
from tests.hosts import machines
from tests.hosts.machines import Host, Lan

PLAYBOOKS = locations.ROOT / "jenkins" / "hosts"
ANSIBLE = locations.ROOT / ".venv-hosts" / "bin"
SECONDS = 1200.0
PASSWORD = "of/a:test@100%"


@dataclass
class Network:
    """Bare hosts on one network, with the key that opens them."""

    folder: Path
    hosts: dict[str, Host] = field(default_factory=dict)

    def add(self, *names: str) -> None:
        """Bring up bare hosts and wait until each is reached by SSH."""
        public = (self.folder / "key.pub").read_text()
        for name in names:
            host = Host(name, 11 + len(self.hosts), public)
            self.hosts[name] = host
            with open(self.folder / "known", "a") as known:
                known.write(host.known)
            host.start()
        for name in names:
            self.wait(name, "root")

    def ssh(self, name: str, user: str) -> list[str]:
        """Return the command with which a user of a host runs something there."""
        login = f"{user}@{self.hosts[name].address}"
        return [
            "ssh",
            "-F",
            str(self.folder / "config"),
            "-o",
            "BatchMode=yes",
            "-o",
            "ConnectTimeout=5",
            login,
        ]

    def on(self, name: str, command: str, user: str = "ops") -> str:
        """Run a line on a host and return what it says."""
        return machines.run(*self.ssh(name, user), command)

    def wait(self, name: str, user: str = "ops") -> None:
        """Wait until somebody can log in."""
        machines.wait_until_true(f"{name} is not reached", [*self.ssh(name, user), "true"])

    def inventory(self, groups: dict[str, list[str]]) -> Path:
        """Write an inventory of these groups, with the addresses of the hosts."""
        hosts = {name: {"ansible_host": host.address} for name, host in self.hosts.items()}
        children = {group: {"hosts": dict.fromkeys(names)} for group, names in groups.items()}
        file = self.folder / "inventory.yml"
        file.write_text(yaml.safe_dump({"all": {"hosts": hosts, "children": children}}))
        return file

    def environment(self) -> dict[str, str]:
        """Return the environment of who administers these hosts."""
        return os.environ | {
            "PATH": f"{ANSIBLE}:{os.environ['PATH']}",
            "ANSIBLE_HOME": str(self.folder / "ansible"),
            "ANSIBLE_SSH_ARGS": f"-F {self.folder / 'config'} -o ControlMaster=auto -o ControlPersist=60s",
            "STORE_PASSWORD": PASSWORD,
            "OPERATOR_KEYS": (self.folder / "key.pub").read_text().strip(),
        }

    def play(self, *arguments: str | Path, fails: bool = False) -> str:
        """Run ``ansible-playbook`` and return what it says; another end than told fails the test."""
        return self.ansible("ansible-playbook", *arguments, fails=fails)

    def ansible(self, program: str, *arguments: str | Path, fails: bool = False) -> str:
        """Run a program of Ansible where the playbooks are."""
        done = subprocess.run(
            [ANSIBLE / program, *arguments],
            cwd=PLAYBOOKS,
            env=self.environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=SECONDS,
        )
        assert bool(done.returncode) == fails, done.stdout
        return done.stdout


def changed(said: str) -> dict[str, tuple[int, int]]:
    """Return of each host what the recap of a run says: changed and failed tasks."""
    rows = [line for line in said.split("PLAY RECAP")[-1].splitlines() if " changed=" in line]
    figures = [dict(word.split("=") for word in row.split(":", 1)[1].split()) for row in rows]
    names = [row.split(":")[0].strip() for row in rows]
    return {
        name: (int(one["changed"]), int(one["failed"]) + int(one["unreachable"]))
        for name, one in zip(names, figures, strict=True)
    }


@pytest.fixture(scope="session")
def _base() -> None:
    if why := machines.lacking():
        pytest.skip(why)
    if not (ANSIBLE / "ansible-playbook").exists():
        pytest.skip("Ansible is not installed: `make test-hosts` does that")
    machines.make_base(locations.LOCK_FILE)


@pytest.fixture(scope="module")
def network(_base: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Network]:
    """Return a network without hosts; a module's tests share what they add to it."""
    folder = tmp_path_factory.mktemp("network")
    machines.run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", folder / "key")
    (folder / "config").write_text(
        f"IdentityFile {folder / 'key'}\nIdentitiesOnly yes\nUserKnownHostsFile {folder / 'known'}\n"
    )
    made = Network(folder)
    with Lan():
        try:
            yield made
        finally:
            for host in made.hosts.values():
                host.switch_off()
            for host in made.hosts.values():
                host.wait()
                host.remove()
