"""A Jenkins on this machine, without Docker: the controller on loopback, the agents as local processes.

Everything lives in ``.jenkins`` of the checkout. War and plugins come from the official sites, checked
against their published sha256, or from ``JENKINS_WAR`` and ``JENKINS_PLUGIN_DIR``.
"""

import argparse
import base64
import contextlib
import hashlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from jenkins.client import Controller
from jenkins.make_secrets import make_secrets, write_secret
from ml import locations
from ml.errors import MlError
from ml.serving import service

FILES = locations.ROOT / "jenkins"
FOLDER = locations.ROOT / ".jenkins"
VERSION = "2.568.2"
WAR_SITE = "https://get.jenkins.io/war-stable"
PLUGIN_SITE = "https://updates.jenkins.io"
START_SECONDS = 300.0
STOP_SECONDS = 30.0
PROPERTIES = {
    "java.awt.headless": "true",
    "jenkins.install.runSetupWizard": "false",
    # The jobs build a repository on this machine's own disk.
    "hudson.plugins.git.GitSCM.ALLOW_LOCAL_CHECKOUT": "true",
    # After so long without its agent (ms) a stage moves to another one.
    "org.jenkinsci.plugins.workflow.support.pickles.ExecutorPickle.timeoutForNodeMillis": "60000",
}


def start(port: int) -> None:
    """Start controller and agents and wait until they answer; what is in the way raises ``MlError``."""
    if _running():
        raise MlError("this checkout's Jenkins runs already: `make jenkins-local-stop` ends it")
    with contextlib.closing(socket.socket()) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            raise MlError(
                f"port {port} is taken: end the program that holds it, or choose another: JENKINS_PORT=..."
            ) from error
    java = _java()
    war = _war()
    version = _ask_java(java, war)
    home = FOLDER / "home"
    _install_plugins(home / "plugins")
    make_secrets(FOLDER / "keys")
    repository = _repository(port)
    url = f"http://127.0.0.1:{port}"
    names = _local_casc(FOLDER / "casc.yaml")
    properties = [f"-D{key}={value}" for key, value in (PROPERTIES | {"JENKINS_HOME": str(home)}).items()]
    listen = ["--httpListenAddress=127.0.0.1", f"--httpPort={port}"]
    environment = {
        "CASC_JENKINS_CONFIG": str(FOLDER / "casc.yaml"),
        "SECRETS": str(FOLDER / "keys" / "controller"),
        "JENKINS_FILES": str(FILES),
        "JENKINS_LOCATION": f"{url}/",
        "REPOSITORY_URL": repository,
        "ML_VERIFY_KEY": str(FOLDER / "keys" / "public" / "verify.pem"),
        "ML_REGISTRY": str(FOLDER / "ml" / "registry"),
    }
    print(f"starting Jenkins {version} at {url} (log: {FOLDER / 'controller.log'})", flush=True)
    try:
        process = _launch("controller", [java, *properties, "-jar", str(war), *listen], environment)
        password = (FOLDER / "keys" / "controller" / "ADMIN_PASSWORD").read_text()
        controller = Controller(url, "admin", password)
        controller.wait(START_SECONDS, lambda: _still_running(process, "controller"))
        controller.settle("ml")
        agent_jar = FOLDER / "agent.jar"
        agent_jar.write_bytes(controller.get("/jnlpJars/agent.jar"))
        for name in names:
            _start_agent(name, [java, "-jar", str(agent_jar)], controller)
    except BaseException:
        stop()
        raise
    print(
        f"Jenkins    {url}\n"
        f"user       admin (also developer, viewer); passwords: {FOLDER / 'keys' / 'controller'}/*_PASSWORD\n"
        f"push       git push {repository} HEAD:main\n"
        "stop       make jenkins-local-stop"
    )


def stop() -> bool:
    """Stop the agents, the controller and the services they started; return whether there was something."""
    processes = _running()
    for process in reversed(processes):
        _end(process)
    (FOLDER / "processes.json").unlink(missing_ok=True)
    os.environ["ML_HOME"] = str(FOLDER / "ml")
    for state in (FOLDER / "ml" / "services").glob("*.json"):
        service.stop(*state.stem.rsplit("-", 1))
    return bool(processes)


def _java() -> str:
    java = os.environ.get("JENKINS_JAVA") or shutil.which("java")
    if not java or not shutil.which(java):
        raise MlError(
            "no Java found: install Java 21 (a JRE is enough), or name one with JENKINS_JAVA=/path/to/java"
        )
    return java


def _ask_java(java: str, war: Path) -> str:
    """Return the version of the war; the war itself refuses a Java that it does not support."""
    done = subprocess.run([java, "-jar", str(war), "--version"], capture_output=True, text=True, check=False)
    if done.returncode:
        lines = (done.stderr or done.stdout).strip().splitlines() or ["it said nothing"]
        raise MlError(
            f"{java} cannot run {war}: {' '.join(lines[:2])}; "
            "install another Java and name it with JENKINS_JAVA=..."
        )
    return done.stdout.strip()


def _war() -> Path:
    if given := os.environ.get("JENKINS_WAR"):
        if not Path(given).is_file():
            raise MlError(f"JENKINS_WAR={given} is not a file")
        return Path(given).absolute()
    file = FOLDER / "cache" / f"jenkins-{VERSION}.war"
    if not file.exists():
        url = f"{WAR_SITE}/{VERSION}/jenkins.war"
        _download(url, file, _fetch(f"{url}.sha256").decode().split()[0])
    return file


def _install_plugins(folder: Path) -> None:
    """Put the plugins of plugins.txt, and what they depend on, into the home of the controller."""
    pinned = read_plugins(FILES / "plugins.txt")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    if given := os.environ.get("JENKINS_PLUGIN_DIR"):
        files = _given_plugins(Path(given), pinned)
    else:
        files = _published_plugins(pinned)
    for name, file in files.items():
        shutil.copy(file, folder / f"{name}.jpi")


def _given_plugins(given: Path, pinned: dict[str, str]) -> dict[str, Path]:
    """Return the plugins of a folder by name; versions other than the pinned ones are told."""
    found = {_manifest(file)["Short-Name"]: file for file in sorted(given.glob("*.[hj]pi"))}
    if not found:
        raise MlError(f"JENKINS_PLUGIN_DIR={given} holds no plugin (*.hpi, *.jpi)")
    for name, file in found.items():
        if missing := [needed for needed, _ in _dependencies(file) if needed not in found]:
            raise MlError(f"{given} lacks what plugin {name} depends on: {', '.join(missing)}")
    for name, version in pinned.items():
        present = _manifest(found[name])["Plugin-Version"] if name in found else "none"
        if present != version:
            print(f"plugin {name}: plugins.txt has {version}, {given} has {present}", flush=True)
    return found


def _published_plugins(pinned: dict[str, str]) -> dict[str, Path]:
    """Return the pinned plugins and what they depend on, downloaded if they are not there yet, by name."""
    files: dict[str, Path] = {}
    cache = FOLDER / "cache" / "plugins"
    wanted, published = dict(pinned), None
    queue = list(pinned)
    for name in queue:
        file = cache / f"{name}-{wanted[name]}.jpi"
        if not file.exists():
            published = published or json.loads(_fetch(f"{PLUGIN_SITE}/plugin-versions.json"))["plugins"]
            try:
                sha256 = base64.b64decode(published[name][wanted[name]]["sha256"]).hex()
            except KeyError as error:
                raise MlError(
                    f"plugin {name}:{wanted[name]} is not published: correct plugins.txt"
                ) from error
            _download(f"{PLUGIN_SITE}/download/plugins/{name}/{wanted[name]}/{name}.hpi", file, sha256)
        files[name] = file
        for dependency, version in _dependencies(file):
            if dependency not in wanted:
                wanted[dependency] = version
                queue.append(dependency)
    return files


def read_plugins(file: Path) -> dict[str, str]:
    """Return the versions that a plugins.txt pins, by name."""
    lines = (line.split("#")[0].strip() for line in file.read_text(encoding="utf-8").splitlines())
    return dict(line.split(":", 1) for line in lines if line)


def _manifest(plugin: Path) -> dict[str, str]:
    try:
        with zipfile.ZipFile(plugin) as archive:
            text = archive.read("META-INF/MANIFEST.MF").decode()
    except (zipfile.BadZipFile, KeyError) as error:
        raise MlError(f"{plugin} is not a Jenkins plugin: remove it and start again") from error
    unfolded = text.replace("\r\n", "\n").replace("\n ", "")
    return dict(line.split(": ", 1) for line in unfolded.splitlines() if ": " in line)


def _dependencies(plugin: Path) -> Iterator[tuple[str, str]]:
    for entry in filter(None, _manifest(plugin).get("Plugin-Dependencies", "").split(",")):
        name, _, version = entry.partition(":")
        version, *attributes = version.split(";")
        if "resolution:=optional" not in attributes:
            yield name, version


def _fetch(url: str) -> bytes:
    try:
        with urllib.request.urlopen(url, timeout=60) as answer:
            content: bytes = answer.read()
            return content
    except (urllib.error.URLError, OSError) as error:
        raise MlError(
            f"cannot download {url} ({error}): try again, or give JENKINS_WAR=... and JENKINS_PLUGIN_DIR=..."
        ) from error


def _download(url: str, file: Path, sha256: str) -> None:
    print(f"downloading {url}", flush=True)
    content = _fetch(url)
    if hashlib.sha256(content).hexdigest() != sha256:
        raise MlError(f"{url} is not what was published (its sha256 differs): try again")
    file.parent.mkdir(parents=True, exist_ok=True)
    aside = file.with_name(f".{file.name}.partial")
    aside.write_bytes(content)
    aside.replace(file)


def _repository(port: int) -> str:
    """Return the address of a repository that tells Jenkins of a push; at first HEAD is pushed to it."""
    bare = FOLDER / "ml.git"
    url = bare.as_uri()
    if not (bare / "HEAD").exists():
        _git("init", "--quiet", "--bare", "--initial-branch", "main", str(bare))
        _git("-C", str(locations.ROOT), "push", "--quiet", str(bare), "HEAD:refs/heads/main")
    settings = {
        "url": f"http://127.0.0.1:{port}/",
        "repository": url,
        "token-file": str(FOLDER / "keys" / "git" / "WEBHOOK_TOKEN"),
    }
    for key, value in settings.items():
        _git("-C", str(bare), "config", f"jenkins.{key}", value)
    shutil.copy(FILES / "post-receive", bare / "hooks" / "post-receive")
    return url


def _git(*arguments: str) -> None:
    done = subprocess.run(["git", *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        raise MlError(f"git {' '.join(arguments)}: {done.stderr.strip()}")


def _local_casc(file: Path) -> list[str]:
    """Write casc.yaml with agents that connect from this machine instead of by SSH; return their names."""
    content: dict[str, Any] = yaml.safe_load((FILES / "casc.yaml").read_text(encoding="utf-8"))
    nodes = [node["permanent"] for node in content["jenkins"]["nodes"]]
    for node in nodes:
        node["launcher"] = {"inbound": {"webSocket": True}}
        node["remoteFS"] = str(FOLDER / "agents" / node["name"])
    file.write_text(yaml.safe_dump(content, sort_keys=False), encoding="utf-8")
    return [node["name"] for node in nodes]


def _launch(name: str, command: list[str], environment: dict[str, str]) -> subprocess.Popen[bytes]:
    """Start a process that outlives this one, and note it for ``stop``."""
    # What make and the caller of this command set is not for the builds.
    kept = ("PATH", "HOME", "USER", "LANG", "LC_ALL", "TZ", "TMPDIR", "JAVA_HOME")
    inherited = {key: os.environ[key] for key in kept if key in os.environ}
    proxies = {key: value for key, value in os.environ.items() if key.lower().endswith("_proxy")}
    with open(FOLDER / f"{name}.log", "w", encoding="utf-8") as log:
        process = subprocess.Popen(
            command,
            cwd=FOLDER,
            env=inherited | proxies | environment,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    noted = [*_running(), {"name": name, "pid": process.pid, "born": _born(process.pid)}]
    (FOLDER / "processes.json").write_text(json.dumps(noted), encoding="utf-8")
    return process


def _start_agent(name: str, command: list[str], controller: Controller) -> None:
    secret = FOLDER / "keys" / f"{name}.secret"
    write_secret(secret, controller.agent_secret(name))
    work = FOLDER / "agents" / name
    work.mkdir(parents=True, exist_ok=True)
    place = ["-url", controller.url, "-webSocket", "-workDir", str(work)]
    _launch(name, [*command, *place, "-name", name, "-secret", f"@{secret}"], {"ML_HOME": str(FOLDER / "ml")})


def _still_running(process: subprocess.Popen[bytes], name: str) -> None:
    log = FOLDER / f"{name}.log"
    lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines() or ["it said nothing"]
    # A controller that cannot read its configuration goes on running, and answers nothing but an error page.
    fatal = [line for line in lines if "ConfiguratorException" in line or "Failed to initialize" in line]
    if fatal or process.poll() is not None:
        raise MlError(f"the {name} did not start: {(fatal or lines[-1:])[0].strip()[:300]} (log: {log})")


def _running() -> list[dict[str, Any]]:
    """Return the noted processes that still run; a number that another process got since does not count."""
    file = FOLDER / "processes.json"
    noted: list[dict[str, Any]] = json.loads(file.read_text(encoding="utf-8")) if file.exists() else []
    return [one for one in noted if _born(one["pid"]) == one["born"]]


def _born(pid: int) -> str | None:
    """Return when a process was started, in clock ticks since boot (proc(5), stat, field 22)."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] == "Z" else fields[19]


def _end(process: dict[str, Any]) -> None:
    os.kill(process["pid"], signal.SIGTERM)
    deadline = time.monotonic() + STOP_SECONDS
    while _born(process["pid"]) == process["born"]:
        if time.monotonic() > deadline:
            os.kill(process["pid"], signal.SIGKILL)
        time.sleep(0.1)


def main() -> int:
    """Start or stop, as the command line says; an error is one line."""
    parser = argparse.ArgumentParser(
        prog="python -m jenkins.local", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("action", choices=["start", "stop"])
    parser.add_argument("--port", type=int, default=int(os.environ.get("JENKINS_PORT") or 8080))
    options = parser.parse_args()
    FOLDER.mkdir(exist_ok=True)
    try:
        if options.action == "start":
            start(options.port)
        else:
            print("Jenkins is stopped" if stop() else "no Jenkins of this checkout runs")
    except MlError as error:
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("error: interrupted; what was started is stopped", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
