"""The local start: what it installs, starts, refuses and stops; Java and the download sites are stand-ins."""

import base64
import hashlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable, Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import yaml

from jenkins import downloads, local, processes
from ml import locations
from ml.errors import MlError
from ml.serving import service
from tests.jenkins.conftest import FAKE_JAVA, wait_for_json
from tests.support import answering, wait_for


def make_plugin(file: Path, name: str, version: str, dependencies: str = "") -> None:
    manifest = f"Manifest-Version: 1.0\r\nShort-Name: {name}\r\nPlugin-Version: {version}\r\n"
    if dependencies:
        line = f"Plugin-Dependencies: {dependencies}"
        manifest += "\r\n ".join(line[start : start + 70] for start in range(0, len(line), 70)) + "\r\n"
    file.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("META-INF/MANIFEST.MF", manifest)


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Point the local start at an empty folder, a war and plugins on disk, and a Java that is none."""
    (tmp_path / "jenkins.war").write_text("a war")
    for name, version in downloads.read_plugins(local.FILES / "plugins.txt").items():
        make_plugin(tmp_path / "plugins" / f"{name}.hpi", name, version)
    monkeypatch.setattr(local, "FOLDER", tmp_path / "jenkins")
    monkeypatch.setenv("JENKINS_JAVA", str(FAKE_JAVA))
    monkeypatch.setenv("JENKINS_WAR", str(tmp_path / "jenkins.war"))
    monkeypatch.setenv("JENKINS_PLUGIN_DIR", str(tmp_path / "plugins"))
    monkeypatch.setenv("ML_HOME", str(tmp_path / "jenkins" / "ml"))
    monkeypatch.setenv("MAKEFLAGS", "--jobserver")
    local.FOLDER.mkdir()
    yield tmp_path
    local.stop(with_services=True)


def test_controller_and_agents_start_and_stop(
    machine: Path, free_port: int, capsys: pytest.CaptureFixture[str]
) -> None:
    local.start(free_port)
    said = capsys.readouterr().out
    assert f"http://127.0.0.1:{free_port}" in said
    assert f"git push file://{local.FOLDER}/ml.git HEAD:main" in said
    keys = local.FOLDER / "keys" / "controller"
    secrets = [file.read_text().strip() for file in keys.iterdir()]
    assert not any(secret in said for secret in secrets)

    controller = wait_for_json(local.FOLDER / "controller.json")
    assert "--httpListenAddress=127.0.0.1" in controller["arguments"]
    assert f"-DJENKINS_HOME={local.FOLDER / 'home'}" in controller["arguments"]
    assert controller["environment"]["SECRETS"] == str(keys)
    assert "MAKEFLAGS" not in controller["environment"]
    installed = {file.stem for file in (local.FOLDER / "home" / "plugins").iterdir()}
    assert installed == set(downloads.read_plugins(local.FILES / "plugins.txt"))

    for name in ("agent-1", "agent-2", "production"):
        agent = wait_for_json(local.FOLDER / f"{name}.json")
        assert "-webSocket" in agent["arguments"] and "s3cret" not in agent["arguments"]
        assert agent["environment"]["ML_HOME"] == str(local.FOLDER / "ml")
    requests = (local.FOLDER / "requests.log").read_text().splitlines()
    assert "POST /configuration-as-code/reload abc True" in requests
    assert "POST /job/push/build abc True" in requests

    head = subprocess.run(["git", "rev-parse", "HEAD"], cwd=locations.ROOT, capture_output=True, text=True)
    main = subprocess.run(
        ["git", "-C", local.FOLDER / "ml.git", "rev-parse", "main"], capture_output=True, text=True
    )
    assert main.stdout == head.stdout

    up = processes.running(local.FOLDER)
    assert list(up) == ["watcher", "controller", "agent-1", "agent-2", "production"]
    local.start(free_port)
    assert processes.running(local.FOLDER) == up, "what runs goes on"
    with pytest.raises(MlError, match="another port"):
        local.start(free_port + 1)
    assert local.stop() and not local.stop()
    assert [process for process in up.values() if process.runs] == []


def test_agents_that_do_not_connect_are_told(
    machine: Path, free_port: int, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(local, "AGENT_SECONDS", 0.0)
    local.start(free_port)
    assert "not connected" not in capsys.readouterr().out
    (local.FOLDER / "away").touch()
    local.start(free_port)
    told = f"not connected: agent-1: builds wait for them (why: {local.FOLDER}/agent-1.log)"
    assert told in capsys.readouterr().out


@pytest.mark.parametrize("name", ["controller", "agent-2"])
def test_what_dies_comes_back(machine: Path, free_port: int, name: str) -> None:
    local.start(free_port)
    before = processes.running(local.FOLDER)
    os.kill(before[name].pid, signal.SIGKILL)
    wait_for(lambda: processes.running(local.FOLDER).get(name, before[name]) != before[name])
    after = processes.running(local.FOLDER)
    assert {one: after[one] for one in after if one != name} == {
        one: before[one] for one in before if one != name
    }


@pytest.mark.parametrize("also", [[], ["controller"], ["agent-1", "production"]])
def test_a_start_starts_what_is_missing(machine: Path, free_port: int, also: list[str]) -> None:
    local.start(free_port)
    before = processes.running(local.FOLDER)
    for name in ["watcher", *also]:
        os.kill(before[name].pid, signal.SIGKILL)
        wait_for(lambda name=name: not before[name].runs)
    local.start(free_port)
    wait_for(lambda: len(processes.running(local.FOLDER)) == len(before))
    after = processes.running(local.FOLDER)
    assert {one for one in after if after[one] != before[one]} == {"watcher", *also}


def test_the_service_lives_on_unless_told_otherwise_and_comes_back(machine: Path, free_port: int) -> None:
    local.start(free_port)
    port = service.free_port()
    first = service.start("titanic", "production", port)
    noted = local.FOLDER / "services.json"
    wait_for(noted.exists)
    assert local.stop() and service.find("titanic", "production") == first

    local.start(free_port)
    assert service.find("titanic", "production") == first
    os.kill(first.pid or 0, signal.SIGKILL)
    wait_for(lambda: service.find("titanic", "production") not in (None, first))

    local.stop(with_services=True)
    assert service.find("titanic", "production") is None
    local.start(free_port)
    wait_for(lambda: service.find("titanic", "production") is not None)
    found = service.find("titanic", "production")
    assert found and found.url == first.url

    wait_for(lambda: (local.FOLDER / "ml" / "services" / "titanic-production.json").exists())
    time.sleep(2 * processes.LOOK_SECONDS)
    service.stop("titanic", "production")
    wait_for(lambda: not json.loads(noted.read_text()))


def test_the_local_configuration_is_casc_yaml_with_other_launchers(machine: Path) -> None:
    local._local_casc(machine / "casc.yaml")
    ours = yaml.safe_load((local.FILES / "casc.yaml").read_text())
    made = yaml.safe_load((machine / "casc.yaml").read_text())
    for content in (ours, made):
        for node in content["jenkins"]["nodes"]:
            del node["permanent"]["launcher"], node["permanent"]["remoteFS"]
    assert made == ours


def test_a_push_tells_the_controller(machine: Path, free_port: int) -> None:
    local.start(free_port)
    clone = machine / "clone"
    bare = local.FOLDER / "ml.git"
    run = partial(subprocess.run, capture_output=True, text=True, check=True)
    run(["git", "clone", "--quiet", str(bare), str(clone)])
    commit = [
        "git",
        "-c",
        "user.name=a",
        "-c",
        "user.email=a@localhost",
        "commit",
        "--allow-empty",
        "-qm",
        "push",
    ]
    run(commit, cwd=clone)
    pushed = run(["git", "push", "origin", "HEAD:main"], cwd=clone)
    token = (local.FOLDER / "keys" / "git" / "WEBHOOK_TOKEN").read_text()
    told = [
        line for line in (local.FOLDER / "requests.log").read_text().splitlines() if "notifyCommit" in line
    ]
    assert len(told) == 1 and f"token={token}" in told[0] and "ml.git" in told[0]
    assert token not in pushed.stdout + pushed.stderr

    local.stop()
    run(commit, cwd=clone)
    pushed = run(["git", "push", "origin", "HEAD:main"], cwd=clone)
    assert "Jenkins was not told of the push" in pushed.stderr, "and the push itself succeeds"


def test_what_is_in_the_way_is_one_line(
    machine: Path, free_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    with (
        socket.create_server(("127.0.0.1", free_port)),
        pytest.raises(MlError, match="is taken.*JENKINS_PORT"),
    ):
        local.start(free_port)
    monkeypatch.setenv("FAKE_JAVA_IS_OLD", "1")
    with pytest.raises(MlError, match="older than the minimum required version .Java 21.*JENKINS_JAVA"):
        local.start(free_port)
    monkeypatch.setenv("JENKINS_JAVA", "/no/such/java")
    with pytest.raises(MlError, match="no Java found"):
        local.start(free_port)
    assert processes.running(local.FOLDER) == {}


def test_a_controller_that_ends_is_told_and_nothing_is_left(
    machine: Path, free_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = machine / "files"
    broken.mkdir()
    for file in local.FILES.iterdir():
        if file.is_file():
            (broken / file.name).write_bytes(file.read_bytes())
    casc = (broken / "casc.yaml").read_text()
    monkeypatch.setattr(local, "FILES", broken)
    for word, told in (
        ("broken", "SEVERE: ConfiguratorException: broken"),
        ("dying", "out of heap"),
        ("incapable", "Caused by: .*Exception: startup failed: script: 3: unable to resolve class x"),
    ):
        (broken / "casc.yaml").write_text(casc.replace("Viewer\n", f"{word}\n"))
        with pytest.raises(MlError, match=f"the controller did not start: {told}"):
            local.start(free_port)
        assert processes.running(local.FOLDER) == {}


def test_a_configuration_that_is_refused_later_is_told_too(machine: Path, free_port: int) -> None:
    local.start(free_port)
    (local.FOLDER / "refuse").touch()
    with pytest.raises(MlError, match="is not configured: Caused by: java.lang.NoSuchMethodError: x"):
        local.start(free_port)
    assert "controller" in processes.running(local.FOLDER)
    (local.FOLDER / "refuse").unlink()
    local.start(free_port)


def test_plugins_from_a_folder_must_be_whole(machine: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = machine / "plugins"
    make_plugin(folder / "git.hpi", "git", "5.9", "git-client:6.1,thing:1.0,other:2;resolution:=optional")
    with pytest.raises(MlError, match="lacks what plugin git depends on: thing"):
        downloads.install_plugins(local.FILES, local.FOLDER / "cache", machine / "to")
    make_plugin(folder / "thing.jpi", "thing", "1.0")
    (folder / "timestamper.hpi").unlink()
    downloads.install_plugins(local.FILES, local.FOLDER / "cache", machine / "to")
    said = capsys.readouterr().out
    assert "plugin git: plugins.txt has 5.10.1," in said and "has 5.9" in said
    assert "plugin timestamper: plugins.txt has 1.30," in said and "has none" in said
    (folder / "git.hpi").write_text("half a plu")
    with pytest.raises(MlError, match="git.hpi is not a Jenkins plugin"):
        downloads.install_plugins(local.FILES, local.FOLDER / "cache", machine / "to")


@pytest.fixture
def site(machine: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Serve a folder as the project's download sites."""
    folder = machine / "site"
    folder.mkdir()
    handler = partial(SimpleHTTPRequestHandler, directory=str(folder))
    monkeypatch.delenv("JENKINS_WAR")
    monkeypatch.delenv("JENKINS_PLUGIN_DIR")
    with answering(ThreadingHTTPServer(("127.0.0.1", 0), handler)) as server:
        for name in ("WAR_SITE", "PLUGIN_SITE"):
            monkeypatch.setattr(downloads, name, f"http://127.0.0.1:{server.server_port}")
        yield folder


def test_downloads_are_checked_and_kept(site: Path, machine: Path) -> None:
    with pytest.raises(MlError, match="cannot download .*JENKINS_WAR"):
        downloads.find_war(local.FOLDER / "cache")
    war = site / downloads.VERSION / "jenkins.war"
    war.parent.mkdir()
    war.write_text("a war")
    (war.parent / "jenkins.war.sha256").write_text("0" * 64 + "  jenkins.war\n")
    with pytest.raises(MlError, match="is not what was published"):
        downloads.find_war(local.FOLDER / "cache")
    assert not (local.FOLDER / "cache").exists()
    (war.parent / "jenkins.war.sha256").write_text(f"{hashlib.sha256(b'a war').hexdigest()} *jenkins.war\n")
    assert downloads.find_war(local.FOLDER / "cache").read_text() == "a war"
    war.unlink()
    assert downloads.find_war(local.FOLDER / "cache").read_text() == "a war"


def test_plugins_are_downloaded_with_what_they_depend_on(
    site: Path, machine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = machine / "files"
    files.mkdir()
    (files / "plugins.txt").write_text("# why\na:1\n")
    monkeypatch.setattr(local, "FILES", files)
    published: dict[str, dict[str, dict[str, str]]] = {}
    for name, version, needs in (("a", "1", "b:2,c:1;resolution:=optional"), ("b", "2", "")):
        file = site / "download" / "plugins" / name / version / f"{name}.hpi"
        make_plugin(file, name, version, needs)
        sha256 = base64.b64encode(hashlib.sha256(file.read_bytes()).digest()).decode()
        published[name] = {version: {"sha256": sha256}}
    (site / "plugin-versions.json").write_text(json.dumps({"plugins": published}))
    downloads.install_plugins(local.FILES, local.FOLDER / "cache", machine / "to")
    assert sorted(file.name for file in (machine / "to").iterdir()) == ["a.jpi", "b.jpi"]

    (files / "plugins.txt").write_text("d:1\n")
    with pytest.raises(MlError, match="plugin d:1 is not published"):
        downloads.install_plugins(local.FILES, local.FOLDER / "cache", machine / "to")


def test_the_command_tells_an_error_in_one_line(
    machine: Path, free_port: int, monkeypatch: pytest.MonkeyPatch, error_of: Callable[[], str]
) -> None:
    monkeypatch.setenv("JENKINS_JAVA", "/no/such/java")
    monkeypatch.setattr(sys, "argv", ["local", "start", "--port", str(free_port)])
    assert local.main() == 1
    assert error_of().startswith("error: no Java found")
