"""A Jenkins on this machine, without Docker: the controller on loopback, the agents as local processes.

Everything lives in ``.jenkins`` of the checkout. One process watches the others: what dies comes back.
"""

import argparse
import contextlib
import os
import re
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

from jenkins import boot_log, downloads, processes
from jenkins.client import NEXT, Controller
from jenkins.make_secrets import make_secrets, write_secret
from jenkins.processes import Process
from ml import locations
from ml.errors import MlError
from ml.serving import service

FILES = locations.ROOT / "jenkins"
FOLDER = locations.ROOT / ".jenkins"
START_SECONDS, AGENT_SECONDS = 300.0, 60.0
PROPERTIES = {
    "java.awt.headless": "true",
    "jenkins.install.runSetupWizard": "false",
    # The jobs build a repository on this machine's own disk.
    "hudson.plugins.git.GitSCM.ALLOW_LOCAL_CHECKOUT": "true",
    # After so long without its agent (ms) a stage moves to another one.
    "org.jenkinsci.plugins.workflow.support.pickles.ExecutorPickle.timeoutForNodeMillis": "60000",
}


def start(port: int) -> None:
    """Start what does not run yet and wait until it answers; what is in the way raises ``MlError``."""
    began = time.monotonic()
    there = processes.wanted(FOLDER).get("controller")
    up = processes.running(FOLDER)
    if there and ("controller" in up or processes.WATCHER in up):
        if f"--httpPort={port}" not in there.command:
            raise MlError("this checkout's Jenkins runs at another port: `make jenkins-local-stop` ends it")
        processes.keep(FOLDER, there)
        _settle(port, there, lambda: None)
    else:
        controller = _prepare(port)
        try:
            processes.keep(FOLDER, controller)
            _settle(port, controller, _still_starting())
        except BaseException:
            processes.stop(FOLDER)
            raise
    processes.revive_services(FOLDER, stopped=True)
    print(
        f"Jenkins    {_url(port)} (ready after {time.monotonic() - began:.0f} s)\n"
        f"user       admin (also developer, viewer); passwords: {FOLDER / 'keys' / 'controller'}/*_PASSWORD\n"
        f"push       git push {(FOLDER / 'ml.git').as_uri()} HEAD:main\n"
        "stop       make jenkins-local-stop (the services of the models go on; SERVICE=stop ends them too)\n"
        + NEXT
    )


def stop(*, with_services: bool = False) -> bool:
    """Stop agents and controller, and the models' services if told so; return whether anything ran."""
    found = processes.stop(FOLDER)
    os.environ["ML_HOME"] = str(FOLDER / "ml")
    if with_services:
        for state in (FOLDER / "ml" / "services").glob("*.json"):
            found |= service.stop(*state.stem.rsplit("-", 1))
    return found


def _url(port: int) -> str:
    return f"http://127.0.0.1:{port}"


def _prepare(port: int) -> Process:
    """Install what the controller needs and return how it is started."""
    with contextlib.closing(socket.socket()) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            raise MlError(
                f"port {port} is taken: end the program that holds it, or choose another: JENKINS_PORT=..."
            ) from error
    java, war = downloads.find_java(), downloads.find_war(FOLDER / "cache")
    version = downloads.version_of(java, war)
    home = FOLDER / "home"
    downloads.install_plugins(FILES, FOLDER / "cache", home / "plugins")
    make_secrets(FOLDER / "keys")
    repository = _repository(port)
    _local_casc(FOLDER / "casc.yaml")
    settings = [f"-D{key}={value}" for key, value in (PROPERTIES | {"JENKINS_HOME": str(home)}).items()]
    listen = ["--httpListenAddress=127.0.0.1", f"--httpPort={port}"]
    environment = {
        "CASC_JENKINS_CONFIG": str(FOLDER / "casc.yaml"),
        "SECRETS": str(FOLDER / "keys" / "controller"),
        "JENKINS_FILES": str(FILES),
        "JENKINS_LOCATION": f"{_url(port)}/",
        "REPOSITORY_URL": repository,
        "ML_VERIFY_KEY": str(FOLDER / "keys" / "public" / "verify.pem"),
        "ML_REGISTRY": str(FOLDER / "ml" / "registry"),
    }
    log = FOLDER / "controller.log"
    log.unlink(missing_ok=True)
    print(f"starting Jenkins {version} at {_url(port)} (log: {log})", flush=True)
    return _process(
        "controller", [java, *settings, "-jar", str(war), *listen], _named_in_casc() | environment
    )


def _settle(port: int, process: Process, alive: Callable[[], None]) -> None:
    """Wait for the controller, have it read its configuration again, and keep its agents running."""
    password = (FOLDER / "keys" / "controller" / "ADMIN_PASSWORD").read_text()
    controller = Controller(_url(port), "admin", password)
    controller.wait(START_SECONDS, alive)
    try:
        controller.settle()
    except MlError as error:
        log = FOLDER / "controller.log"
        cause = boot_log.cause(log) or error
        raise MlError(f"the controller is not configured: {cause} (log: {log})") from error
    agent_jar = FOLDER / "agent.jar"
    agent_jar.write_bytes(controller.get("/jnlpJars/agent.jar"))
    for name in _agents():
        secret = FOLDER / "keys" / f"{name}.secret"
        write_secret(secret, controller.agent_secret(name))
        work = FOLDER / "agents" / name
        work.mkdir(parents=True, exist_ok=True)
        place = ["-url", controller.url, "-webSocket", "-workDir", str(work)]
        command = [process.command[0], "-jar", str(agent_jar), *place, "-name", name, "-secret", f"@{secret}"]
        processes.keep(FOLDER, _process(name, command, {"ML_HOME": str(FOLDER / "ml")}))
    _tell_offline(controller)


def _tell_offline(controller: Controller) -> None:
    """Wait for the agents, and say which do not connect: builds would wait for them for ever."""
    deadline = time.monotonic() + AGENT_SECONDS
    while away := controller.offline(_agents()):
        if time.monotonic() > deadline:
            logs = ", ".join(str(FOLDER / f"{name}.log") for name in away)
            print(f"not connected: {', '.join(away)}: builds wait for them (why: {logs})")
            return
        time.sleep(1)


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


def _local_casc(file: Path) -> None:
    """Write casc.yaml with agents that connect from this machine instead of by SSH."""
    content: dict[str, Any] = yaml.safe_load((FILES / "casc.yaml").read_text(encoding="utf-8"))
    nodes = [node["permanent"] for node in content["jenkins"]["nodes"]]
    for node in nodes:
        node["launcher"] = {"inbound": {"webSocket": True}}
        node["remoteFS"] = str(FOLDER / "agents" / node["name"])
    file.write_text(yaml.safe_dump(content, sort_keys=False), encoding="utf-8")


def _agents() -> list[str]:
    content = yaml.safe_load((FOLDER / "casc.yaml").read_text(encoding="utf-8"))
    return [node["permanent"]["name"] for node in content["jenkins"]["nodes"]]


def _named_in_casc() -> dict[str, str]:
    """Return the variables of this environment that casc.yaml takes, and could do without."""
    named = re.findall(r"\$\{(\w+):-", (FILES / "casc.yaml").read_text(encoding="utf-8"))
    return {name: os.environ[name] for name in named if name in os.environ}


def _process(name: str, command: list[str], environment: dict[str, str]) -> Process:
    # What make and the caller of this command set is not for the builds.
    kept = ("PATH", "HOME", "USER", "LANG", "LC_ALL", "TZ", "TMPDIR", "JAVA_HOME")
    inherited = {key: os.environ[key] for key in kept if key in os.environ}
    proxies = {key: value for key, value in os.environ.items() if key.lower().endswith("_proxy")}
    return Process(name, command, inherited | proxies | environment, str(FOLDER))


def _still_starting() -> Callable[[], None]:
    """Return a check of the controller: it is the same process as before, and reads its configuration."""
    seen: list[Process] = []

    def check() -> None:
        found = processes.running(FOLDER).get("controller")
        if found and not seen:
            seen.append(found)
        log = FOLDER / "controller.log"
        if fatal := boot_log.is_fatal(log):
            time.sleep(1)  # until the whole of the cause is there
        if fatal or (seen and found != seen[0]):
            told = boot_log.cause(log) or boot_log.last_line(log)
            raise MlError(f"the controller did not start: {told} (log: {log})")

    return check


def main() -> int:
    """Start or stop, as the command line says; an error is one line."""
    parser = argparse.ArgumentParser(
        prog="python -m jenkins.local", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("action", choices=["start", "stop"])
    parser.add_argument("--port", type=int, default=int(os.environ.get("JENKINS_PORT") or 8080))
    parser.add_argument("--with-services", action="store_true", help="stop the services of the models too")
    options = parser.parse_args()
    FOLDER.mkdir(exist_ok=True)
    FOLDER.chmod(0o700)  # Jenkins keeps what nodes are given, addresses with passwords too, for all to read
    try:
        if options.action == "start":
            start(options.port)
        else:
            stopped = stop(with_services=options.with_services)
            print("Jenkins is stopped" if stopped else "no Jenkins of this checkout runs")
    except MlError as error:
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("error: interrupted; `make jenkins-local-stop` ends what was started", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
