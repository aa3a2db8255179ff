"""A host for each role, two that serve: from bare Debian to an answered request, and what may happen then."""

import json
import os
import re
import ssl
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest
import yaml

from ml import locations
from ml.registry.versions import Registry
from ml.serving.client import wait_until
from tests.conftest import Site
from tests.hosts.conftest import PASSWORD, Fleet, changed
from tests.support import PASSENGER, ErrorOf, Seen, build_another_model, constant_load

LOCK = "$(sha256sum < /srv/ml/code/requirements.txt | cut -c 1-64)"


class Team:
    """The fleet, and a site whose models go there."""

    def __init__(self, fleet: Fleet, site: Site) -> None:
        self.fleet, self.network, self.front, self.site = fleet, fleet.network, fleet.front, site
        self.play, self.ask = fleet.play, fleet.ask

    def deploy(self, *names: str) -> int:
        """Deploy what is in the build folder to these hosts and return the exit code."""
        return self.site.ml("deploy", "--target", self.fleet.target(*names))

    def let_build(self, name: str) -> None:
        """Give a host the registry, as if what is deployed had been built there."""
        packed = subprocess.run(
            ["tar", "-C", str(locations.registry()), "-c", "small"], capture_output=True, check=True
        )
        command = [*self.network.ssh(name, "jenkins"), "tar -x -C ~/.ml/registry"]
        subprocess.run(command, input=packed.stdout, check=True)

    def version_on(self, name: str) -> int | None:
        """Return the version that a host answers with."""
        found = self.ask(name, "/health")
        version: int | None = json.loads(found)["version"] if found.startswith("{") else None
        return version

    def wait_for(self, name: str, version: int) -> None:
        """Wait until a host answers with a version."""
        self.network.wait(name)
        assert wait_until(lambda: self.version_on(name) == version or None, 150)


@pytest.fixture(scope="module")
def team(fleet: Fleet, _finished: Site, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Team]:
    """Return hosts that were prepared from bare Debian and got a model."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        site = _finished.copy(tmp_path_factory.mktemp("team") / "site", monkeypatch)
        monkeypatch.setenv("ML_SSH_CONFIG", str(fleet.network.folder / "config"))
        made, began = Team(fleet, site), time.monotonic()
        assert made.deploy("p1", "p2") == 0
        assert httpx2.post(f"{made.front}/predict", json=PASSENGER, trust_env=False).status_code == 200
        print(f"from prepared hosts to an answered request: {time.monotonic() - began:.0f} s")
        yield made


def nothing_is_lost(team: Team, seen: Seen) -> None:
    """Fail the test if clients did not get an answer, with what the front says of it, or asked too little."""
    assert seen.answered > 50
    if seen.failed:
        said = team.network.on("f1", "sudo tail -n 20 /var/log/nginx/error.log")
        pytest.fail(f"{seen.answered} answered, lost: {seen.failed}\n{said}")


def test_bare_hosts_are_reached_checked_and_prepared(team: Team) -> None:
    assert team.fleet.said["ping"].count("pong") == len(team.network.hosts)
    assert all(failed == 0 for _, failed in changed(team.fleet.said["check"]).values())
    assert all(done > 0 and failed == 0 for done, failed in changed(team.fleet.said["site"]).values())


def test_a_second_run_changes_nothing(team: Team) -> None:
    again = changed(team.play("site.yml"))
    assert again == dict.fromkeys(team.network.hosts, (0, 0))


def test_both_hosts_answer_through_the_front_and_nobody_reaches_them_directly(team: Team) -> None:
    with constant_load(team.front) as seen:
        assert wait_until(lambda: seen.answered > 100 or None, 30)
    nothing_is_lost(team, seen)
    for name in ("p1", "p2"):
        answered = re.findall(r'(?m)^ml_answers_total\{.*outcome="ok".*\} (\S+)$', team.ask(name, "/metrics"))
        assert sum(map(float, answered)) > 0
    for path in ("/metrics", "/answers/1"):
        assert httpx2.get(f"{team.front}{path}", trust_env=False).status_code == 404
    for port in (8000, 8080):
        with pytest.raises(httpx2.TransportError):
            httpx2.get(f"http://{team.network.hosts['p1'].address}:{port}/health", timeout=3, trust_env=False)


def test_answers_are_kept_on_the_host_for_data_which_only_who_serves_reaches(team: Team) -> None:
    count = "sudo -u postgres psql --no-align --tuples-only --command 'SELECT count(*) FROM predictions' ml"
    assert httpx2.post(f"{team.front}/predict", json=PASSENGER, trust_env=False).status_code == 200
    assert wait_until(lambda: int(team.network.on("d1", count)) > 0 or None, 10)
    knock = (
        f"timeout 3 bash -c '</dev/tcp/{team.network.hosts['d1'].address}/5432' && echo open || echo closed"
    )
    assert [team.network.on(name, knock).split()[-1] for name in ("p1", "f1")] == ["open", "closed"]
    assert PASSWORD not in "".join(team.fleet.said.values())


def test_a_host_that_builds_has_what_an_agent_needs_and_knows_the_others(team: Team) -> None:
    network = team.network
    said = network.on(
        "a1", "java -version && git --version && make --version && python3 -m venv v", "jenkins"
    )
    assert "openjdk" in said.lower()
    for name, host in network.hosts.items():
        found = network.on("a1", f"ssh-keygen -F {host.address} -f /etc/ssh/ssh_known_hosts", "jenkins")
        assert host.known.split()[2] in found, name


def test_the_controller_is_kept_behind_tls_and_reaches_the_hosts_that_build(team: Team) -> None:
    network = team.network
    name, agent = network.hosts["c1"].address, network.hosts["a1"]
    with pytest.raises(httpx2.TransportError):
        httpx2.get(f"http://{name}:8090/login", timeout=3, trust_env=False)
    before = network.on("c1", "systemctl show jenkins --property=MainPID")
    assert network.on(
        "c1", "ps -o user= -p $(systemctl show jenkins --value --property=MainPID)"
    ).split() == ["controller"]
    with network.browser("c1") as browser:
        assert browser.get(f"https://{name}/login").status_code == 200
        network.on("c1", "sudo systemctl kill --signal=KILL jenkins")
        assert wait_until(lambda: browser.get(f"https://{name}/login").status_code == 200 or None, 120)
    assert network.on("c1", "systemctl show jenkins --property=MainPID") != before
    configured = yaml.safe_load(network.on("c1", "sudo cat /srv/controller/casc.yaml"))
    (node,) = (one["permanent"] for one in configured["jenkins"]["nodes"])
    launcher = node["launcher"]["ssh"]
    key = launcher["sshHostKeyVerificationStrategy"]["manuallyProvidedKeyVerificationStrategy"]["key"]
    assert launcher["host"] == agent.address and key in agent.known
    assert {"lint", "data", "train", "prod"} <= set(node["labelString"].split())
    login = (
        f"sudo -u controller ssh -i /srv/controller/secrets/AGENT_KEY jenkins@{agent.address} java -version"
    )
    assert "openjdk" in network.on("c1", login).lower()
    secret = (network.folder / "controller" / "secrets" / "controller" / "ADMIN_PASSWORD").read_text()
    assert secret not in "".join(team.fleet.said.values())
    if os.environ.get("JENKINS_WAR"):  # a real one, not what stands for it
        with network.browser("c1") as browser:
            browser.auth = ("admin", secret.strip())
            computers = f"https://{name}/computer/api/json?tree=computer[displayName,offline]"

            def connected() -> bool | None:
                answer = browser.get(computers)
                found = answer.json()["computer"] if answer.status_code == 200 else []
                return any(not one["offline"] for one in found if one["displayName"] == "a1") or None

            assert wait_until(connected, 240), browser.get(computers).text
            jobs = browser.get(f"https://{name}/api/json?tree=jobs[name]").json()["jobs"]
            assert {"push", "models"} <= {one["name"] for one in jobs}, "the first push makes the others"


def test_root_and_passwords_are_not_let_in(team: Team) -> None:
    for user in ("root", "nobody"):
        said = team.network.on("p1", "sudo sshd -T -C user=%s | sort" % user)
        for line in ("permitrootlogin no", "passwordauthentication no", "allowtcpforwarding no"):
            assert line in said.splitlines()
    with pytest.raises(AssertionError, match="Permission denied"):
        team.network.on("p1", "true", user="root")


def test_systemd_keeps_the_service_within_its_limits(team: Team) -> None:
    network = team.network
    as_ml = "sudo -u ml env XDG_RUNTIME_DIR=/run/user/2001"
    unit = "ml-small-production.service"
    shown = network.on("p1", f"{as_ml} systemctl --user show {unit}").splitlines()
    for line in ("ActiveState=active", "NoNewPrivileges=yes", "Restart=always", "LimitNOFILE=65536"):
        assert line in shown
    assert network.on("p1", "systemctl show user-2001.slice --property=TasksMax").strip() == "TasksMax=4096"
    assert network.on("p1", "loginctl show-user ml --property=Linger").strip() == "Linger=yes"
    assert "version 1 answers" in network.on("p1", "sudo journalctl _UID=2001")
    # Not the parent: systemd hears late of its end in a container with control groups of the first kind.
    with constant_load(team.front) as seen:
        network.on("p1", "sudo pkill -9 -o -u ml -f ml.serving.workers")
        team.wait_for("p1", 1)
    nothing_is_lost(team, seen)


def test_a_host_that_starts_again_serves_by_itself_and_no_request_is_lost(team: Team) -> None:
    network = team.network
    booted = _since(team, "p1")
    with constant_load(team.front) as seen:
        network.on("p1", "sudo systemd-run --quiet --on-active=2 systemctl reboot")
        assert wait_until(lambda: _since(team, "p1") not in (None, booted) or None, 120)
        team.wait_for("p1", 1)
    nothing_is_lost(team, seen)


def _since(team: Team, name: str) -> str | None:
    try:
        return team.network.on(name, "systemctl show --property=UserspaceTimestamp")
    except AssertionError:
        return None


def test_a_host_that_is_cut_off_is_named_left_out_and_follows_when_it_is_back(
    team: Team, error_of: ErrorOf
) -> None:
    build_another_model(team.site)
    away = team.network.hosts["p2"]
    with constant_load(team.front) as seen:
        away.cut_off()
        assert team.deploy("p1", "p2") == 1
        assert f"host {away.address}" in error_of()
        assert team.version_on("p1") == 1
        assert Registry("small").channel("production").version == 1
        assert team.deploy("p1") == 0
        assert team.version_on("p1") == 2
        team.let_build("a1")
        away.bring_back()
        team.wait_for("p2", 2)
        assert team.deploy("p1", "p2") == 0
        assert team.version_on("p2") == 2
    nothing_is_lost(team, seen)
    assert seen.versions == {1, 2}


def test_hosts_are_renewed_one_by_one_and_no_request_is_lost(team: Team) -> None:
    before = {name: team.network.on(name, "pgrep -o -u ml -f 'ml serve'") for name in ("p1", "p2")}
    with constant_load(team.front) as seen:
        team.play("update.yml")
    nothing_is_lost(team, seen)
    after = {name: team.network.on(name, "pgrep -o -u ml -f 'ml serve'") for name in ("p1", "p2")}
    assert all(before[name] != after[name] for name in before)
    assert hosts_left_out(team) == []


def test_a_host_that_does_not_come_back_stops_the_renewal_and_the_rest_serve_on(team: Team) -> None:
    network = team.network
    untouched = network.on("p2", "pgrep -o -u ml -f 'ml serve'")
    network.on("p1", "sudo rm /srv/ml/code/ml/serving/app.py")  # what nothing brings back but a deploy
    with constant_load(team.front) as seen:
        assert "p1" in team.play("update.yml", "-e", "ready_seconds=10", fails=True)
    nothing_is_lost(team, seen)
    assert network.on("p2", "pgrep -o -u ml -f 'ml serve'") == untouched
    assert hosts_left_out(team) == [network.hosts["p1"].address]


def hosts_left_out(team: Team) -> list[str]:
    """Return the addresses that the front asks nothing."""
    return re.findall(r"server (\S+):8080 .* down;", team.network.on("f1", "cat /etc/nginx/hosts.conf"))


def test_the_lock_of_this_checkout_is_what_the_hosts_run(team: Team) -> None:
    name = team.network.on("p1", f"sudo sh -c 'ls -d /srv/ml/venvs/{LOCK}/installed'")
    assert name.strip().startswith("/srv/ml/venvs/")
    assert Path(locations.LOCK_FILE).exists()


def test_the_front_speaks_tls_with_the_certificate_that_is_given(
    team: Team, monkeypatch: pytest.MonkeyPatch
) -> None:
    network, folder = team.network, team.network.folder
    address = network.hosts["f1"].address
    made = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=front", "-days", "2"]
    made += [
        "-addext",
        f"subjectAltName=IP:{address}",
        "-keyout",
        f"{folder}/f.key",
        "-out",
        f"{folder}/f.pem",
    ]
    subprocess.run(made, check=True, capture_output=True)
    monkeypatch.setenv("TLS_CERTIFICATE", (folder / "f.pem").read_text().strip())
    monkeypatch.setenv("TLS_KEY", (folder / "f.key").read_text().strip())
    said = team.play("site.yml", "--limit", "f1")
    assert "PRIVATE KEY" not in said
    trust = ssl.create_default_context(cafile=str(folder / "f.pem"))
    with httpx2.Client(verify=trust, trust_env=False) as client:
        moved = client.get(f"{team.front}/model")
        assert (moved.status_code, moved.headers["location"]) == (308, f"https://{address}/model")
        assert client.post(f"https://{address}/predict", json=PASSENGER).status_code == 200
    again = changed(team.play("site.yml", "--limit", "f1"))
    assert again == {"f1": (0, 0)}
    assert hosts_left_out(team) == [network.hosts["p1"].address], "nobody proved it"


def test_a_host_that_was_mended_is_proved_and_asked_again(team: Team) -> None:
    assert team.deploy("p1") == 0
    team.play("update.yml", "--limit", "p1")
    assert hosts_left_out(team) == []
