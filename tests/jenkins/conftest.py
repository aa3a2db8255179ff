"""A Jenkins made of folders: a git repository, agents, credentials, and the real Jenkinsfile run on them."""

import functools
import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from jenkins import local
from ml import locations
from tests import warm
from tests.conftest import Site, make_site
from tests.support import wait_for

HERE = Path(__file__).parent
FAKE_JAVA = HERE / "fake_java.py"
# A JVM that lives for seconds compiles once, and collects with one thread.
BRIEF_JAVA = {"JAVA_TOOL_OPTIONS": "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC"}


@dataclass(frozen=True)
class Ran:
    """What a Groovy script printed, and what went wrong (empty: nothing)."""

    printed: str
    problem: str


@functools.cache
def _groovy_server() -> subprocess.Popen[str]:
    # Debian's start script wants to be told which Java. The JVM ends when its input does, with this process.
    home = {"JAVA_HOME": str(Path(shutil.which("java") or "").resolve().parent.parent)}
    return subprocess.Popen(
        ["groovy", HERE / "server.groovy"],
        env=home | os.environ | BRIEF_JAVA,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def groovy(*arguments: str | Path) -> Ran:
    """Run a Groovy script in the one JVM of this process: starting one takes longer than most scripts."""
    server = _groovy_server()
    assert server.stdin and server.stdout
    server.stdin.write(json.dumps([str(argument) for argument in arguments]) + "\n")
    server.stdin.flush()
    answer = server.stdout.readline()
    assert answer, f"Groovy ended with exit code {server.wait()}"
    return Ran(**json.loads(answer))


needs_groovy = pytest.mark.skipif(
    not (shutil.which("groovy") and shutil.which("java")), reason="Groovy or Java is not installed"
)


@dataclass
class Build:
    """What a run of the Jenkinsfile left: its result and console, artifacts and stashes."""

    folder: Path

    @property
    def report(self) -> dict[str, Any]:
        """What the harness noted."""
        content: dict[str, Any] = json.loads((self.folder / "result.json").read_text(encoding="utf-8"))
        return content

    @property
    def console(self) -> str:
        """The console's text."""
        return (self.folder / "console.txt").read_text(encoding="utf-8")

    @property
    def outcomes(self) -> dict[str, str]:
        """The outcome of each stage, by name."""
        return {stage["name"]: stage["outcome"] for stage in self.report["stages"]}

    @property
    def archived(self) -> list[str]:
        """The files kept with the build."""
        return [one["file"] for one in self.report["archived"]]


@dataclass
class Jenkins:
    """A repository to change and commit to, and builds of it."""

    site: Site
    root: Path
    path: str  # where its agents find programs
    builds: int = 0
    variables: list[dict[str, str]] = field(default_factory=list)  # of each build that was run

    @property
    def checkout(self) -> Path:
        """The working tree of the repository."""
        return self.root / "checkout"

    def git(self, *arguments: str) -> None:
        """Run git in the working tree, as somebody."""
        someone = ["-c", "user.name=tester", "-c", "user.email=tester@localhost"]
        subprocess.run(["git", *someone, *arguments], cwd=self.checkout, check=True, capture_output=True)

    def edit(self, file: str, old: str, new: str) -> None:
        """Change one place of a file in the working tree and commit it."""
        text = (self.checkout / file).read_text(encoding="utf-8")
        assert text.count(old) == 1, f"{file} holds {text.count(old)} times {old!r}"
        (self.checkout / file).write_text(text.replace(old, new), encoding="utf-8")
        self.commit(f"change {file}")

    def commit(self, message: str) -> None:
        """Commit everything in the working tree."""
        self.git("add", "--all")
        self.git("commit", "--quiet", "--message", message)

    def head(self) -> str:
        """Return the newest commit of the repository."""
        command = ["git", "rev-parse", "HEAD"]
        return subprocess.run(command, cwd=self.checkout, capture_output=True, text=True).stdout.strip()

    def build(self, jenkinsfile: str = "Jenkinsfile", project: str = "small", **settings: Any) -> Build:
        """Run a Jenkinsfile of the working tree as a build of ``main``, unless ``settings`` differ."""
        self.builds += 1
        work = Path(settings.get("work", self.root / f"build-{self.builds}"))
        work.mkdir(exist_ok=True)
        environment = {
            "BUILD_NUMBER": str(self.builds),
            "BUILD_TAG": f"jenkins-ml-{self.builds}",
            "BUILD_URL": f"http://jenkins/job/models/job/{project}/{self.builds}/",
            "JENKINS_URL": "http://jenkins/",
            "JOB_NAME": f"models/{project}" if jenkinsfile == "Jenkinsfile" else Path(jenkinsfile).stem,
        }
        agent = {
            "PATH": self.path,
            "LOKY_MAX_CPU_COUNT": "1",  # as in ``Site.settle``
            "HOME": str(self.root / "home"),
            "ML_HOME": str(self.site.root / "home"),
            "ML_PROJECTS": str(self.site.root / "projects"),
            "ML_VERIFY_KEY": str(self.root / "keys" / "verify.pem"),
        }
        labels = {"one": ["lint", "data", "train"], "two": ["lint", "data", "train"], "production": ["prod"]}
        content: dict[str, Any] = {
            "jenkinsfile": str(self.checkout / jenkinsfile),
            "repository": str(self.checkout),
            "branch": "main",
            "job": str(self.root / f"{Path(jenkinsfile).name}-{project}.json"),
            "approved": (local.FILES / "project.groovy").read_text(encoding="utf-8"),
            "earlier": self.variables[::-1],
            "work": str(work),
            "agents": {name: {"labels": found, "environment": agent} for name, found in labels.items()},
            "credentials": {
                "signing-key": {"kind": "file", "value": str(self.root / "keys" / "signing.pem")},
                "service-api-key": {"kind": "text", "value": "open-sesame"},
            },
            "lost": [],
            **settings,
        }
        content["environment"] = environment | settings.get("environment", {})
        (work / "settings.json").write_text(json.dumps(content), encoding="utf-8")
        done = groovy(HERE / "harness.groovy", work / "settings.json")
        assert not done.problem, done.problem
        build = Build(work)
        self.variables.append(build.report["assigned"])
        return build


def wait_for_json(file: Path) -> dict[str, dict[str, str]]:
    """Return what the stand-in for Java wrote of a process it was started as, once it is there."""
    wait_for(lambda: file.exists() and file.read_text().endswith("}"))
    content: dict[str, dict[str, str]] = json.loads(file.read_text())
    return content


def tracked_files() -> list[str]:
    """Return the files of this repository that git knows or would add."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=locations.ROOT, capture_output=True, text=True, check=True).stdout
    return [name for name in listed.splitlines() if (locations.ROOT / name).exists()]


@pytest.fixture
def jenkins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Jenkins:
    """Return a Jenkins whose repository is this one, with a project ``small`` and keys of its own."""
    site = make_site(tmp_path / "site")
    site.settle(monkeypatch)
    made = Jenkins(site, tmp_path, os.environ["PATH"])
    for name in tracked_files():
        (made.checkout / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(locations.ROOT / name, made.checkout / name)
    made.git("init", "--quiet", "--initial-branch", "main")
    made.commit("as it is")
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / ".gitconfig").write_text("[safe]\n\tdirectory = *\n", encoding="utf-8")
    keys = tmp_path / "keys"
    keys.mkdir()
    subprocess.run(["openssl", "genpkey", "-algorithm", "ed25519", "-out", keys / "signing.pem"], check=True)
    subprocess.run(
        ["openssl", "pkey", "-in", keys / "signing.pem", "-pubout", "-out", keys / "verify.pem"], check=True
    )
    monkeypatch.setenv("ML_VERIFY_KEY", str(keys / "verify.pem"))
    lock = subprocess.run(
        ["sha256sum", "requirements.txt"], cwd=made.checkout, capture_output=True, text=True
    )
    environment = site.root / "home" / "venvs" / lock.stdout.split()[0]
    (environment / "bin").mkdir(parents=True)
    for entry in Path(sys.prefix).iterdir():
        if entry.name != "bin":
            (environment / entry.name).symlink_to(entry)
    (environment / "bin" / "python").symlink_to(warm.python())
    return made
