"""`deploy --target compose` for real: two instances behind a front; what befalls them costs no request."""

import hashlib
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from ml import locations
from ml.cli import main
from ml.delivery.targets import compose as target
from ml.project import find_project
from ml.registry.versions import Registry
from ml.serving import service
from tests.conftest import Site
from tests.machines.engine import Engine
from tests.support import PASSENGER, build_another_model, constant_load, wait_for

pytestmark = pytest.mark.slow
KEY = "open-sesame"
# Every process that is not the shell itself: a service that hangs.
STOP = 'for p in /proc/[0-9]*; do p=${p#/proc/}; [ "$p" = $$ ] || [ "$p" = 1 ] || kill -STOP "$p"; done; true'
PARTS = ("serving-1", "serving-2", "front")
FLOWER = {"flower": 1, "sepal_length": 1, "sepal_width": 1, "petal_length": 1, "petal_width": 1}


class Running:
    """A channel of a project under compose."""

    def __init__(self, engine: Engine, project: str, port: int) -> None:
        """Name the containers of the channel ``production``, whether they run or not."""
        self.engine, self.project = engine, project
        self.url = f"http://127.0.0.1:{port}"
        self.compose = target.Compose(find_project(project), "production", port)

    def container(self, part: str) -> str:
        """Return the container of a part; its name is another one with each of the two commands."""
        names = self.engine("ps", "--all", "--format", "{{.Names}}").split()
        [found] = [name for name in names if name.startswith(f"{self.project}-production") and part in name]
        return found

    def predict(self, row: dict[str, Any]) -> dict[str, Any]:
        """Return what the front answers."""
        answer = httpx2.post(f"{self.url}/predict", json=row, headers={"X-API-Key": KEY}, trust_env=False)
        assert answer.status_code == 200, answer.text
        content: dict[str, Any] = answer.json()
        return content

    def end(self) -> None:
        """Take the containers down, and what they kept."""
        self.compose._call("down", "--volumes")


@pytest.fixture(scope="module")
def _keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("keys") / "api-keys"
    file.write_text(f"{hashlib.sha256(KEY.encode()).hexdigest()}  tester\n", encoding="utf-8")
    return file


@pytest.fixture
def settled(running: tuple[Site, Running], _keys: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Point the environment of a test to the site that runs."""
    running[0].settle(monkeypatch)
    monkeypatch.setenv("ML_API_KEYS", str(_keys))
    monkeypatch.setenv("ML_API_KEY", KEY)


@pytest.fixture(scope="module")
def running(
    engine: Engine, _finished: Site, _keys: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Site, Running]]:
    """Yield a site whose model was deployed into containers, and the containers."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        site = _finished.copy(tmp_path_factory.mktemp("compose") / "site", monkeypatch)
        monkeypatch.setenv("ML_API_KEYS", str(_keys))
        monkeypatch.setenv("ML_API_KEY", KEY)
        found = Running(engine, "small", service.free_port())
        try:
            assert site.ml("deploy", "--target", "compose", "--port", found.url.rpartition(":")[2]) == 0
            yield site, found
        finally:
            site.settle(monkeypatch)
            found.end()


def test_containers_are_confined_and_hold_no_more_than_they_need(
    engine: Engine, running: tuple[Site, Running]
) -> None:
    for part in PARTS:
        name = running[1].container(part)
        status = engine("exec", name, "cat", "/proc/1/status")
        told = dict(line.split(":", 1) for line in status.splitlines())
        assert told["Uid"].split() == ["1000"] * 4
        assert int(told["CapEff"], 16) == int(told["CapBnd"], 16) == 0
        assert told["NoNewPrivs"].strip() == "1"
        assert engine.exit_code("exec", name, "touch", "/opt/x") != 0
        limits = engine.inspect(name)["HostConfig"]
        assert limits["Memory"] > 0 and limits["NanoCpus"] > 0 and limits["PidsLimit"] > 0
        assert limits["RestartPolicy"]["Name"] == "unless-stopped"
    serving = running[1].container("serving-1")
    assert engine.exit_code("exec", serving, "python", "-c", "import sklearn, pandas, pyarrow") == 0
    for package in ("catboost", "matplotlib", "duckdb", "pytest"):
        assert engine.exit_code("exec", serving, "python", "-c", f"import {package}") != 0, package
    assert engine.exit_code("exec", serving, "touch", "/srv/registry/x") != 0


def test_a_health_check_fails_when_the_process_does_not_answer(
    engine: Engine, running: tuple[Site, Running]
) -> None:
    for part in PARTS:
        name = running[1].container(part)
        wait_for(lambda name=name: engine.is_healthy(name))
        engine("exec", name, "sh", "-c", STOP)
        assert not engine.is_healthy(name), part
        engine("exec", name, "sh", "-c", STOP.replace("STOP", "CONT"))
        wait_for(lambda name=name: engine.is_healthy(name))


def test_the_front_has_the_files_of_the_documentation_and_shows_the_page_and_the_report(
    running: tuple[Site, Running],
) -> None:
    def get(path: str) -> httpx2.Response:
        return httpx2.get(running[1].url + path, headers={"X-API-Key": KEY}, trust_env=False)

    files = get("/docs").text.split("/static-offline-docs/")[1:]
    assert files
    for name in (part.split('"')[0].split("'")[0] for part in files):
        answer = get(f"/static-offline-docs/{name}")
        assert answer.status_code == 200 and "max-age" in answer.headers["Cache-Control"], name
    assert "<form" in get("/").text
    assert get("/report").status_code in (200, 401, 404) and get("/metrics").status_code == 404


@pytest.mark.usefixtures("settled")
def test_canary_rollback_a_killed_instance_and_new_code_cost_no_request(
    engine: Engine, running: tuple[Site, Running], monkeypatch: pytest.MonkeyPatch
) -> None:
    site, containers = running
    port = containers.url.rpartition(":")[2]
    build_another_model(site)
    with constant_load(containers.url, clients=1, key=KEY) as seen:
        canary = ["--canary", "50", "--for", "30s", "--min-requests", "50", "--force"]
        assert site.ml("deploy", "--target", "compose", "--port", port, *canary) == 0
        wait_for_version(containers, 2)
        assert Registry("small").channel("production").version == 2
        assert site.ml("rollback", "--target", "compose") == 0
        wait_for_version(containers, 1)

        victim = containers.container("serving-1")
        before = engine.inspect(victim)["State"]["Pid"]
        kill_from_outside(engine, victim)
        wait_for(lambda: engine.inspect(victim)["State"]["Pid"] not in (0, before))
        wait_for(lambda: engine.is_healthy(victim))

        content = target._content

        def with_new_code(*places: Path) -> str:
            return content(*places)[:: -1 if locations.ROOT / "ml" in places else 1]

        monkeypatch.setattr(target, "_content", with_new_code)
        old = {part: engine.inspect(containers.container(part))["Id"] for part in PARTS}
        containers.compose.prepare()
        new = {part: engine.inspect(containers.container(part))["Id"] for part in PARTS}
        assert [part for part in PARTS if new[part] != old[part]] == ["serving-1", "serving-2"]
    print(f"{seen.answered} requests answered by versions {seen.versions}, {len(seen.failed)} failed")
    assert seen.failed == [] and seen.versions == {1, 2} and seen.answered > 100


@pytest.mark.usefixtures("settled")
def test_a_logistic_regression_of_the_iris_is_served_beside_another_project(
    engine: Engine, running: tuple[Site, Running]
) -> None:
    site, containers = running
    folder = site.root / "projects" / "flowers"
    shutil.copytree(locations.ROOT / "ml" / "projects" / "iris", folder)
    (folder / "grid.json").write_text('{"LogisticRegression": {"max_iter": [1000]}}', encoding="utf-8")
    given = ["--project", "flowers", "--build", str(site.root / "build")]
    for stage in ("data", "train", "quality"):
        assert main([stage, *given]) == 0
    beside = Running(engine, "flowers", service.free_port())
    try:
        where = ["--target", "compose", "--port", beside.url.rpartition(":")[2]]
        assert main(["deploy", *given, *where]) == 0
        answer = beside.predict(FLOWER)
        assert answer["predictions"][0]["prediction"] in ("setosa", "versicolor", "virginica")
        assert containers.predict(PASSENGER)["predictions"][0]["prediction"] in (0, 1)
    finally:
        beside.end()


def wait_for_version(containers: Running, version: int) -> None:
    """Wait until both instances, asked in turn by the front, answer with a version."""
    wait_for(lambda: {containers.predict(PASSENGER)["version"] for _ in range(6)} == {version})


def kill_from_outside(engine: Engine, container: str) -> None:
    """Kill a container's first process, as a lack of memory would; the engine's ``kill`` means to stop it."""
    found = engine.inspect(container)
    command = f"kill -9 {found['State']['Pid']}"
    engine("run", "--rm", "--pid", "host", "--user", "0", "--entrypoint", "sh", found["Image"], "-c", command)
