"""What several test files share: a passenger, versions made from a build, clients that never stop asking."""

import atexit
import contextlib
import shutil
import tempfile
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from html.parser import HTMLParser
from http.server import HTTPServer
from pathlib import Path
from typing import TypeVar

import httpx2
import pytest

from ml import locations
from ml.errors import MlError
from ml.projects.temperature.make_data import PLACES, days
from ml.registry.versions import Registry
from ml.serving import API_KEY_HEADER, service
from ml.serving.client import Service, wait_until
from tests.conftest import Site, judge_by

Found = TypeVar("Found")
Answering = TypeVar("Answering", bound=HTTPServer)
# A machine that others use is ten times slower at times; what comes to pass is not waited for any longer.
PATIENCE_SECONDS = 180.0
# Of a client between its requests: the service is not all that these machines have to do.
PAUSE_SECONDS = 0.03
PASSENGER = {
    "PassengerId": 892,
    "Pclass": 3,
    "Name": "Kelly, Mr. James",
    "Sex": "male",
    "Age": 34.5,
    "SibSp": 0,
    "Parch": 0,
    "Ticket": "330911",
    "Fare": 7.8292,
    "Cabin": None,
    "Embarked": "Q",
}

# Runs a command in which one function is the last thing that happens, before or after its own work.
KILLED_AT = """
import importlib, os, sys
module, name, when, *arguments = sys.argv[1:]
owner = importlib.import_module(module)
*path, last = name.split(".")
for part in path:
    owner = getattr(owner, part)
work = getattr(owner, last)
def die(*given, **named):
    if when == "before":
        os.kill(os.getpid(), 9)
    work(*given, **named)
    os.kill(os.getpid(), 9)
setattr(owner, last, die)
from ml.cli import main
sys.exit(main(arguments))
"""


@contextlib.contextmanager
def answering(server: Answering) -> Iterator[Answering]:
    """Let a server answer in a thread; told to end it does so at once, not within half a second."""
    with server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        try:
            yield server
        finally:
            server.shutdown()


def wait_for(probe: Callable[[], Found | None]) -> Found:
    """Return what a probe finds as soon as that is true; a service that does not answer is asked again."""

    def found() -> Found | None:
        with contextlib.suppress(MlError):
            return probe() or None
        return None

    result = wait_until(found, PATIENCE_SECONDS)
    assert result, "it did not come to pass"
    return result


def register(site: Site, identity: str = "a", **more: str) -> int:
    return Registry("small").register(
        {"model": site.build / "model", "quality": site.build / "quality"},
        {"model_sha256": identity, **more},
    )


def resign(model: Path) -> None:
    """Sign a model folder again after a test changed it."""
    from ml.files import digests, read_json, write_json
    from ml.registry import signing

    record = read_json(model / "manifest.json")
    kept = {name: sha for name, sha in digests(model).items() if not name.startswith("manifest.json")}
    write_json(model / "manifest.json", record | {"outputs": kept})
    signing.sign(model / "manifest.json", signing.build_keys("train"))


ErrorOf = Callable[[], str]


_another: dict[str, Path] = {}  # of each project.toml, where its other model lies


def build_another_model(site: Site) -> None:
    """Leave another blessed model in a site; all sites start from one build, so it is made once."""
    site.grid({"LogisticRegression": {"C": [0.5], "max_iter": [1000]}})
    site.edit("project.toml", "champion_tolerance = 0.03 ", "champion_tolerance = 1.0 ")
    settings = (site.project / "project.toml").read_text()
    if settings not in _another:
        with pytest.MonkeyPatch.context() as monkeypatch:
            judge_by("test_score.py", monkeypatch)
            assert [site.ml("train"), site.ml("quality")] == [0, 0]
        # What a test leaves goes with it.
        kept = Path(tempfile.mkdtemp(prefix="ml-another-"))
        atexit.register(shutil.rmtree, kept)
        _another[settings] = shutil.copytree(site.build, kept, dirs_exist_ok=True)
    for stage in ("model", "quality"):
        shutil.copytree(_another[settings] / stage, site.build / stage, dirs_exist_ok=True)


def answering_version() -> int:
    running = service.find("small", "production")
    assert running is not None
    version: int = running.predict([PASSENGER])["version"]
    return version


@dataclass
class Seen:
    """What clients saw that never stopped asking."""

    versions: set[int] = field(default_factory=set)
    failed: list[str] = field(default_factory=list)
    answered: int = 0


@contextlib.contextmanager
def constant_load(url: str, clients: int = 4, key: str = "") -> Iterator[Seen]:
    """Let clients ask on and on, and note each answer that is none, or is of two versions at once."""
    seen, ending = Seen(), threading.Event()
    headers = {"Connection": "close", API_KEY_HEADER: key}

    def ask() -> None:
        # As any client of a service whose workers come and go: a connection that was closed is opened anew.
        with httpx2.Client(transport=httpx2.HTTPTransport(retries=3), timeout=30, trust_env=False) as client:
            while not ending.wait(PAUSE_SECONDS):
                try:
                    answer = client.post(f"{url}/predict", json=PASSENGER, headers=headers)
                    told = answer.json()
                    seen.answered += 1
                    if answer.status_code != 200:
                        seen.failed.append(f"{answer.status_code}: {told}")
                    elif str(told["version"]) != answer.headers["X-Model-Version"]:
                        seen.failed.append(f"mixed: {told}")
                    else:
                        seen.versions.add(told["version"])
                except httpx2.HTTPError as error:
                    seen.failed.append(repr(error))
                except ValueError:
                    seen.failed.append(f"{answer.status_code}, no JSON: {answer.text[:300]!r}")

    threads = [threading.Thread(target=ask) for _ in range(clients)]
    for thread in threads:
        thread.start()
    try:
        yield seen
    finally:
        ending.set()
        for thread in threads:
            thread.join()


def workers_of(running: Service) -> set[int]:
    return {worker["pid"] for worker in running.get("/health")["workers"]}


ESTIMATORS = (
    "LogisticRegression",
    "DecisionTreeClassifier",
    "RandomForestClassifier",
    "GradientBoostingClassifier",
    "HistGradientBoostingClassifier",
    "CatBoostClassifier",
)


def make_place(projects: Path, name: str) -> Path:
    """Write the project ``temperature`` with the days of another of its places into a folder of projects."""
    folder = projects / name
    shutil.copytree(locations.ROOT / "ml" / "projects" / "temperature", folder)
    days(PLACES[name]).to_csv(folder / "data" / "days.csv", index=False)
    return folder


class _Elements(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))


def elements_of(page: str) -> list[tuple[str, dict[str, str | None]]]:
    """Return the elements of a page with their attributes, in order."""
    parser = _Elements()
    parser.feed(page)
    return parser.found


def page_policy_breaches(page: str) -> list[str]:
    """Return what Jenkins forbids (`sandbox; default-src 'none'; img-src 'self'; style-src 'self'`)."""
    found = []
    for tag, attributes in elements_of(page):
        if tag in ("script", "style", "iframe", "object", "form"):
            found.append(tag)
        for name, value in attributes.items():
            if name == "style" or name.startswith("on") or (value or "").startswith(("data:", "javascript:")):
                found.append(f"{tag} {name}={value}")
            elif tag in ("img", "link") and name in ("src", "href") and "//" in (value or ""):
                found.append(f"{tag} {name}={value}")
    return found
