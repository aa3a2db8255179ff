"""Real hosts for tests: bare Debian under systemd-nspawn, each with its own systemd, sshd and address."""

import hashlib
import os
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Sequence
from pathlib import Path

FOLDER = Path(os.environ.get("ML_TEST_HOSTS") or "/var/lib/ml-test-hosts")
RELEASE = "bookworm"
PACKAGES = "systemd,systemd-sysv,dbus,openssh-server,python3,sudo,iproute2,ca-certificates"
PROGRAMS = ("systemd-nspawn", "debootstrap", "iptables", "ip", "ssh", "rsync", "groovyc")
BRIDGE, PREFIX = "ml-hosts", "10.79.0"
# A host reaches the package indexes as this machine does.
COPIED = (
    "/etc/apt/sources.list.d",
    "/etc/apt/apt.conf.d",
    "/etc/apt/trusted.gpg.d",
    "/etc/resolv.conf",
    "/etc/hosts",
    "/etc/ssl/certs/ca-certificates.crt",
)
NETWORK = """[Match]
Name=host0
[Network]
Address={address}/24
Gateway={gateway}
LinkLocalAddressing=no
"""
PATIENCE = "[Service]\nTimeoutStopSec=10s\n"
SECONDS = 120.0
RESTART = 133  # how systemd-nspawn ends when the host inside asks to begin again


def lacking() -> str:
    """Return what this machine lacks to run hosts, in one line; nothing if it can."""
    missing = [name for name in PROGRAMS if not shutil.which(name)]
    if os.getuid() or missing:
        return "hosts need root and the programs " + ", ".join(PROGRAMS)
    return ""


def run(*command: str | Path, check: bool = True, **given: str) -> str:
    """Run a program and return what it says; its failure fails the test with that."""
    done = subprocess.run(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        **given,
    )
    assert not check or done.returncode == 0, f"{' '.join(map(str, command))}\n{done.stdout}"
    return done.stdout


def make_base(*requirements: str) -> None:
    """Make the tree that all hosts are copies of, and the wheels that they install, if not done before.

    Each of ``requirements`` is the text of a file of requirements.
    """
    base, wheels = FOLDER / RELEASE, FOLDER / "wheels"
    if not base.exists():
        aside = FOLDER / f"{RELEASE}.incoming"
        shutil.rmtree(aside, ignore_errors=True)
        FOLDER.mkdir(parents=True, exist_ok=True)
        run("debootstrap", "--variant=minbase", f"--include={PACKAGES}", RELEASE, aside)
        for key in (aside / "etc" / "ssh").glob("ssh_host_*"):
            key.unlink()
        (aside / "etc" / "machine-id").write_text("")
        aside.rename(base)
    wheels.mkdir(exist_ok=True)
    for wanted in requirements:
        names = wheels / f"{hashlib.sha256(wanted.encode()).hexdigest()}.txt"
        if not (done := names.with_suffix(".done")).exists():
            names.write_text(wanted)
            # With the hosts' own Python, whose wheels they are.
            command = ["/usr/bin/python3", "-m", "pip", "wheel", "--quiet", "--wheel-dir", wheels]
            run(*command, "--requirement", names)
            done.touch()


class Lan:
    """One bridge that the hosts are on, with a way out for their packages."""

    RULE = ("-s", f"{PREFIX}.0/24", "!", "-d", f"{PREFIX}.0/24", "-j", "MASQUERADE")

    def __enter__(self) -> "Lan":
        """Make it."""
        run("ip", "link", "add", BRIDGE, "type", "bridge")
        run("ip", "address", "add", f"{PREFIX}.1/24", "dev", BRIDGE)
        run("ip", "link", "set", BRIDGE, "up")
        # It stays: containers of others may need it by then.
        Path("/proc/sys/net/ipv4/ip_forward").write_text("1")
        run("iptables", "-t", "nat", "-A", "POSTROUTING", *self.RULE)
        return self

    def __exit__(self, *_: object) -> None:
        """Leave nothing of it."""
        run("iptables", "-t", "nat", "-D", "POSTROUTING", *self.RULE)
        run("ip", "link", "delete", BRIDGE)


class Host:
    """One host; its name is its place in the inventory, too."""

    def __init__(self, name: str, number: int, public_key: str) -> None:
        """Make a bare host that lets root in by a key, as a rented one is handed over."""
        self.name, self.address = name, f"{PREFIX}.{number}"
        self.folder, self.link = FOLDER / "running" / name, f"vb-{name}"
        self.folder.parent.mkdir(exist_ok=True)
        self.remove()
        run("cp", "--archive", "--reflink=auto", FOLDER / RELEASE, self.folder)
        etc = self.folder / "etc"
        (etc / "apt" / "sources.list").unlink(missing_ok=True)
        for place in COPIED:
            if Path(place).is_dir():
                shutil.copytree(place, self.folder / place[1:], dirs_exist_ok=True)
            else:
                shutil.copy(place, self.folder / place[1:])
        (etc / "hostname").write_text(f"{name}\n")
        with open(etc / "hosts", "a") as names:
            names.write(f"127.0.1.1 {name}\n")
        (etc / "pip.conf").write_text("[global]\nno-index = true\nfind-links = /var/cache/wheels\n")
        settings = NETWORK.format(address=self.address, gateway=f"{PREFIX}.1")
        (etc / "systemd" / "network" / "10-host0.network").write_text(settings)
        (self.folder / "root" / ".ssh").mkdir(mode=0o700, exist_ok=True)
        (self.folder / "root" / ".ssh" / "authorized_keys").write_text(public_key)
        (self.folder / "var" / "cache" / "wheels").mkdir()
        # A container gets no notice of empty control groups, so a second login would wait for the end
        # of the first one's systemd: let that not end. For the same reason a user's systemd that has ended
        # is waited for, two minutes at each start of the host and each renewal: let that be seconds.
        (self.folder / "var" / "lib" / "systemd" / "linger").mkdir(exist_ok=True)
        (self.folder / "var" / "lib" / "systemd" / "linger" / "ops").touch()
        (etc / "systemd" / "system" / "user@.service.d").mkdir()
        (etc / "systemd" / "system" / "user@.service.d" / "10-container.conf").write_text(PATIENCE)
        run("chroot", self.folder, "ssh-keygen", "-A")
        run("systemctl", f"--root={self.folder}", "enable", "systemd-networkd", "ssh")

    @property
    def known(self) -> str:
        """The line of ``known_hosts`` that tells its key."""
        return f"{self.address} " + (self.folder / "etc" / "ssh" / "ssh_host_ed25519_key.pub").read_text()

    def start(self) -> None:
        """Switch it on, and again when it asks for that; who wants to use it waits until it is up."""
        self._begin()
        threading.Thread(target=self._keep, daemon=True).start()

    def _begin(self) -> None:
        run("ip", "link", "delete", self.link, check=False)  # of a run that was killed
        command = ["systemd-nspawn", "-D", str(self.folder), "--register=no", "--keep-unit", "-M", self.name]
        command += [f"--network-bridge={BRIDGE}", "-b", "--console=pipe", "--resolv-conf=off"]
        command += [f"--bind-ro={FOLDER / 'wheels'}:/var/cache/wheels"]
        with open(self.folder.parent / f"{self.name}.log", "ab") as log:
            self._process = subprocess.Popen(
                command,
                env=os.environ | {"SYSTEMD_NSPAWN_UNIFIED_HIERARCHY": "0"},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def _keep(self) -> None:
        while self._process.wait() == RESTART:
            self._begin()

    def switch_off(self) -> None:
        """Let it end in order; ``wait`` waits for that."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)

    def wait(self) -> None:
        """Wait until it is off; if that takes long, a second signal ends it and what runs in it."""
        try:
            self._process.wait(60)
        except subprocess.TimeoutExpired:
            self._process.send_signal(signal.SIGTERM)
            self._process.wait()

    def remove(self) -> None:
        """Leave nothing of it."""
        run("rm", "-rf", "--one-file-system", self.folder)

    def cut_off(self) -> None:
        """Pull its network cable."""
        run("ip", "link", "set", self.link, "down")

    def bring_back(self) -> None:
        """Plug the cable in again."""
        run("ip", "link", "set", self.link, "up")


def wait_until_true(what: str, probe: Sequence[str], seconds: float = SECONDS) -> None:
    """Wait until a command succeeds; if it never does, fail the test with what it said last."""
    deadline = time.monotonic() + seconds
    while True:
        done = subprocess.run(probe, stdin=subprocess.DEVNULL, capture_output=True, text=True)
        if done.returncode == 0:
            return
        assert time.monotonic() < deadline, f"{what}: {done.stdout}{done.stderr}"
        time.sleep(0.3)
