"""Java, war and plugins of a Jenkins without Docker: the official ones, checked against their sha256.

``JENKINS_JAVA``, ``JENKINS_WAR`` and ``JENKINS_PLUGIN_DIR`` name others.
"""

import base64
import hashlib
import json
import os
import shutil
import subprocess
import urllib.error
import urllib.request
import zipfile
from collections.abc import Iterator
from pathlib import Path

from ml.errors import MlError

VERSION = "2.568.2"
WAR_SITE = "https://get.jenkins.io/war-stable"
PLUGIN_SITE = "https://updates.jenkins.io"


def find_java() -> str:
    """Return the Java to run, or raise ``MlError``."""
    java = os.environ.get("JENKINS_JAVA") or shutil.which("java")
    if not java or not shutil.which(java):
        raise MlError(
            "no Java found: install Java 21 (a JRE is enough), or name one with JENKINS_JAVA=/path/to/java"
        )
    return java


def version_of(java: str, war: Path) -> str:
    """Return the version of the war; the war itself refuses a Java that it does not support."""
    done = subprocess.run([java, "-jar", str(war), "--version"], capture_output=True, text=True, check=False)
    if done.returncode:
        lines = (done.stderr or done.stdout).strip().splitlines() or ["it said nothing"]
        raise MlError(
            f"{java} cannot run {war}: {' '.join(lines[:2])}; "
            "install another Java and name it with JENKINS_JAVA=..."
        )
    return done.stdout.strip()


def find_war(cache: Path) -> Path:
    """Return the war of ``JENKINS_WAR``, or the official one, downloaded once; raises ``MlError``."""
    if given := os.environ.get("JENKINS_WAR"):
        if not Path(given).is_file():
            raise MlError(f"JENKINS_WAR={given} is not a file")
        return Path(given).absolute()
    file = cache / f"jenkins-{VERSION}.war"
    if not file.exists():
        url = f"{WAR_SITE}/{VERSION}/jenkins.war"
        _download(url, file, _fetch(f"{url}.sha256").decode().split()[0])
    return file


def install_plugins(files: Path, cache: Path, folder: Path) -> None:
    """Put the plugins of ``plugins.txt``, and what they depend on, into ``folder``; raises ``MlError``."""
    pinned = read_plugins(files / "plugins.txt")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    if given := os.environ.get("JENKINS_PLUGIN_DIR"):
        found = _given_plugins(Path(given), pinned)
    else:
        found = _published_plugins(pinned, cache / "plugins")
    for name, file in found.items():
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


def _published_plugins(pinned: dict[str, str], cache: Path) -> dict[str, Path]:
    """Return the pinned plugins and what they depend on, downloaded if they are not there yet, by name."""
    files: dict[str, Path] = {}
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
