"""The containers of a Jenkins, all but its controller: keys, agents by SSH, push by SSH, fetch by git://."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from jenkins.compose import FILE
from jenkins.make_secrets import HOSTS
from ml import locations
from ml.delivery.targets.command import compose
from ml.serving import service
from ml.serving.client import wait_until
from tests.machines.engine import Engine

pytestmark = pytest.mark.slow
PROJECT = "ml-test-jenkins"
AGENTS = ("agent-1", "agent-2", "production")


class Containers:
    """Our compose file without the controller, on ports that are free, in a project of its own."""

    def __init__(self, engine: Engine, folder: Path) -> None:
        """Write the file; nothing runs yet."""
        self.engine, self.folder, self.push_port = engine, folder, service.free_port()
        self.program = compose()
        content = yaml.safe_load(FILE.read_text(encoding="utf-8"))
        content["name"] = PROJECT
        del content["services"]["controller"]
        for one in content["services"].values():
            one["build"]["context"] = str(locations.ROOT)
            one["volumes"] = [
                str(part).replace("..:/", f"{folder}/checkout:/") for part in one.get("volumes", [])
            ]
        content["services"]["git-push"]["ports"] = [f"127.0.0.1:{self.push_port}:22"]
        content["services"]["front"]["ports"] = ["127.0.0.1::8080"]
        (folder / "compose.yaml").write_text(yaml.safe_dump(content), encoding="utf-8")

    def compose(self, *arguments: str) -> str:
        """Run the command for compose files; a failure fails the test."""
        command = [*self.program, "--file", str(self.folder / "compose.yaml"), "-p", PROJECT, *arguments]
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr[-3000:]
        return done.stdout

    def as_controller(self, script: str) -> subprocess.CompletedProcess[str]:
        """Run a script with the controller's keys, in its network, where it would be."""
        volume, network = f"{PROJECT}_controller-keys:/keys/controller:ro", f"{PROJECT}_default"
        command = ["run", "--rm", "--network", network, "--volume", volume, "--entrypoint", "sh", "ml-agent"]
        return subprocess.run([self.engine.program, *command, "-c", script], capture_output=True, text=True)


@pytest.fixture(scope="module")
def containers(engine: Engine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Containers]:
    """Bring everything up but the controller; take it down with its volumes."""
    folder = tmp_path_factory.mktemp("jenkins")
    checkout = folder / "checkout"
    git(folder, "clone", "--quiet", str(locations.ROOT), str(checkout))
    made = Containers(engine, folder)
    for service_name in ("keys", "git", "agent-1", "serving-1", "front"):
        made.compose("build", service_name)
    try:
        made.compose("up", "--detach")
        yield made
    finally:
        made.compose("down", "--volumes")


def git(folder: Path, *arguments: str, **environment: str) -> str:
    """Run git in a folder as somebody and return what it says."""
    someone = ["-c", "user.name=tester", "-c", "user.email=tester@localhost"]
    command = [*(f"{name}={value}" for name, value in environment.items()), "git", *someone, *arguments]
    done = subprocess.run(["env", *command], cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


def test_every_container_is_a_plain_user_who_can_do_nothing_else(containers: Containers) -> None:
    for name in [*AGENTS, "git", "git-push", "serving-1", "front"]:
        status = containers.compose("exec", "-T", name, "cat", "/proc/1/status")
        told = dict(line.split(":", 1) for line in status.splitlines() if ":" in line)
        assert told["Uid"].split() == ["1000"] * 4, name
        assert int(told["CapEff"], 16) == int(told["CapBnd"], 16) == 0, name
        assert told["NoNewPrivs"].strip() == "1", name


def ssh_to(host: str, known: str = "") -> str:
    """Return the command by which the controller reaches a host whose key it knows from casc.yaml."""
    key = f"{known or host}_HOST_KEY".upper().replace("-", "_")
    return (
        f'echo "{host} $(cat /keys/controller/{key})" > /tmp/known; '
        "ssh -i /keys/controller/AGENT_KEY -o BatchMode=yes -o StrictHostKeyChecking=yes "
        f"-o UserKnownHostsFile=/tmp/known jenkins@{host} "
    )


@pytest.mark.parametrize("host", AGENTS)
def test_an_agent_is_reached_by_ssh_as_casc_does(containers: Containers, host: str) -> None:
    ssh = ssh_to(host)
    reached = wait_until(lambda: containers.as_controller(f"{ssh} true").returncode == 0 or None, 60)
    assert reached, containers.as_controller(f"{ssh} true").stderr
    java = containers.as_controller(f"{ssh} java -version")
    assert 'version "21.' in java.stderr, "what agent.jar of this Jenkins was compiled for"
    copied = containers.as_controller(
        f"{ssh} true; echo hello > /tmp/agent.jar; echo 'put /tmp/agent.jar agent/' | "
        + ssh.split("; ", 1)[1].replace("ssh ", "sftp -b - ", 1)
    )
    assert copied.returncode == 0, copied.stderr
    refused = containers.as_controller(ssh_to(host, known="git") + "true")
    assert "Host key verification failed" in refused.stderr
    refused = containers.as_controller(ssh.replace("-i /keys/controller/AGENT_KEY", "") + "true")
    assert "Permission denied" in refused.stderr


def test_an_agent_builds_what_was_pushed(containers: Containers) -> None:
    work = "git clone --quiet --depth 1 git://git/ml.git work && cd work"
    make = "BUILD_TAG=1 make lint-dependencies data train PROJECT=iris"
    built = containers.as_controller(f"{ssh_to('agent-1')} '{work} && {make}'")
    assert built.returncode == 0, built.stdout + built.stderr
    assert "installing" not in built.stdout, "the environment of the image is the one of the lock"


def test_what_is_pushed_by_ssh_is_fetched_by_git(containers: Containers) -> None:
    key = containers.folder / "push-key"
    key.write_text(
        containers.compose("exec", "-T", "git-push", "cat", "/keys/git/push-key"), encoding="utf-8"
    )
    key.chmod(0o600)
    host_key = containers.as_controller("cat /keys/controller/GIT_HOST_KEY").stdout
    port = containers.push_port
    (containers.folder / "known").write_text(f"[127.0.0.1]:{port} {host_key}", encoding="utf-8")
    options = (
        f"-i {key} -o IdentitiesOnly=yes -o BatchMode=yes -o UserKnownHostsFile={containers.folder / 'known'}"
    )
    url, checkout = f"ssh://jenkins@127.0.0.1:{port}/srv/git/ml.git", containers.folder / "checkout"
    git(checkout, "commit", "--quiet", "--allow-empty", "--message", "second")
    said = git(checkout, "push", url, "HEAD:main", GIT_SSH_COMMAND=f"ssh {options}")
    assert "Jenkins was not told of the push" in said, "the controller is not here"
    found = containers.as_controller("git ls-remote git://git/ml.git main")
    assert found.stdout.split()[0] == git(checkout, "rev-parse", "HEAD").strip()
    refused = containers.as_controller(
        "cd /tmp && git clone -q git://git/ml.git && cd ml && git push origin HEAD:x"
    )
    assert refused.returncode != 0
    shell = subprocess.run(
        ["ssh", *options.split(), "-p", str(port), "jenkins@127.0.0.1", "id"], capture_output=True
    )
    assert shell.returncode != 0 and b"uid" not in shell.stdout


def test_keys_are_made_once_and_each_host_reads_its_own(containers: Containers) -> None:
    everything = "cd /keys/controller && sha256sum *"
    before = containers.as_controller(everything).stdout
    assert len(before.splitlines()) == 7 + len(HOSTS)
    containers.compose("up", "--detach")
    containers.compose("run", "--rm", "keys")
    assert containers.as_controller(everything).stdout == before
    for name in AGENTS:
        kept = containers.compose(
            "exec", "-T", name, "sh", "-c", "ls /keys; ls /keys/controller 2>&1 || true"
        )
        assert "AGENT_KEY" not in kept and "hosts" in kept


def test_the_service_waits_for_its_first_model_behind_the_front(containers: Containers) -> None:
    asked = "curl --silent --output /dev/null --write-out %{http_code} http://front:8080/health"
    assert wait_until(lambda: "503" in containers.as_controller(asked).stdout or None, 60)


def test_an_image_holds_what_its_work_needs_and_no_more(engine: Engine, containers: Containers) -> None:
    images = ("keys", "git", "front", "serving", "agent")
    sizes = {name: engine.inspect(f"ml-{name}")["Size"] / 1e6 for name in images}
    print("megabytes:", ", ".join(f"{name} {size:.0f}" for name, size in sizes.items()))
    limits = {"keys": 250, "git": 400, "front": 250, "serving": 1300, "agent": 2200}
    assert {name: size for name, size in sizes.items() if size > limits[name]} == {}
    containers.compose("exec", "-T", "serving-1", "python", "-c", "import catboost")
    for name in ("git", "front", "keys"):
        assert engine.exit_code("run", "--rm", "--entrypoint", "test", f"ml-{name}", "-e", "/opt/venvs") == 1
