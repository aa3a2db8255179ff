"""Hosts for the tests of this folder, and Ansible as one types it; nothing is left of them afterwards."""

import os
import ssl
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import httpx2
import pytest
import yaml

from ml import locations
from tests.hosts import controller, machines
from tests.hosts.machines import Host, Lan

PLAYBOOKS = locations.ROOT / "jenkins" / "hosts"
ANSIBLE = locations.ROOT / ".venv-hosts" / "bin"
SECONDS = 1200.0
PASSWORD = "of/a:test@100%"
GROUPS = {
    "front": ["f1"],
    "production": ["p1", "p2"],
    "data": ["d1"],
    "agent": ["a1"],
    "controller": ["c1"],
    "admin": ["c1"],
    "dev": ["e1"],
}
PLENTY = "front_requests_per_second=100000"  # of one client, which a test is


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
        # Who builds is let in by the key of the controller, as Jenkins is.
        key = "controller/secrets/controller/AGENT_KEY" if user == "jenkins" else "key"
        options = ["-F", str(self.folder / "config"), "-i", str(self.folder / key)]
        options += ["-o", "BatchMode=yes", "-o", "ConnectTimeout=5"]
        return ["ssh", *options, f"{user}@{self.hosts[name].address}"]

    def on(self, name: str, command: str, user: str = "ops") -> str:
        """Run a line on a host and return what it says."""
        return machines.run(*self.ssh(name, user), command)

    def browser(self, name: str) -> httpx2.Client:
        """Return a client that trusts the certificate of a host, and no other."""
        trust = ssl.create_default_context(cadata=self.on(name, "sudo cat /etc/nginx/tls/certificate.pem"))
        return httpx2.Client(verify=trust, trust_env=False, follow_redirects=True, timeout=60)

    def put(self, name: str, place: str, content: str, user: str) -> None:
        """Write a file on a host."""
        command = [*self.ssh(name, user), f"cat > {place}"]
        subprocess.run(command, input=content, text=True, check=True)

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
            "EXPLORER_PASSWORD": PASSWORD,
            "OPERATOR_KEYS": (self.folder / "key.pub").read_text().strip(),
            **controller.files(self.folder / "controller"),
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


class Fleet:
    """A host for each kind of work, two of them serve, and their inventory."""

    def __init__(self, network: Network) -> None:
        self.network = network
        self.network.add("f1", "p1", "p2", "d1", "a1", "c1", "e1")
        self.inventory = network.inventory(GROUPS)
        self.front = f"http://{network.hosts['f1'].address}"
        self.said: dict[str, str] = {}

    def play(self, playbook: str, *arguments: str, fails: bool = False) -> str:
        """Run a playbook for these hosts."""
        return self.network.play("-i", self.inventory, "-e", PLENTY, playbook, *arguments, fails=fails)

    def target(self, *names: str) -> str:
        """Return what ``deploy --target`` takes for these hosts."""
        return ",".join(f"ssh://ml@{self.network.hosts[name].address}/srv/ml" for name in names)

    def ask(self, name: str, path: str) -> str:
        """Return what the service of a host answers there, if it does."""
        asked = f"u.urlopen('http://127.0.0.1:8000{path}', timeout=5).read().decode()"
        return self.network.on(
            name, f'python3 -c "import urllib.request as u; print({asked})" 2>/dev/null || true'
        )


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
    settings = yaml.safe_load((PLAYBOOKS / "group_vars" / "all.yml").read_text(encoding="utf-8"))
    kernel = PLAYBOOKS / "roles" / "dev" / "files" / "kernel.txt"
    lock = locations.LOCK_FILE.read_text(encoding="utf-8")
    machines.make_base(lock, lock + kernel.read_text(encoding="utf-8"), settings["dvc_requirements"])


@pytest.fixture(scope="session")
def network(_base: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Network]:
    """Return a network without hosts."""
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


@pytest.fixture(scope="session")
def fleet(network: Network) -> Fleet:
    """Return hosts that were prepared from bare Debian."""
    made, began = Fleet(network), time.monotonic()
    made.said["bootstrap"] = made.play("bootstrap.yml", "-e", "ansible_user=root")
    made.said["ping"] = network.ansible("ansible", "-i", str(made.inventory), "all", "-m", "ping")
    made.said["check"] = made.play("site.yml", "--check")
    made.said["site"] = made.play("site.yml")
    print(f"from bare to prepared hosts: {time.monotonic() - began:.0f} s")
    return made
