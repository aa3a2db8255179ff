"""The service as a process: found while it runs, and only then."""

import fcntl
import json
import os
import subprocess
import threading

import pytest

from ml import locations
from ml.errors import MlError
from ml.serving import service
from ml.serving.client import Service
from tests.conftest import Site
from tests.support import wait_for


def test_a_process_that_is_gone_is_not_found_though_its_file_is_there(site: Site) -> None:
    folder = locations.home() / "services"
    folder.mkdir(parents=True)
    (folder / "small-production.json").write_text(
        json.dumps({"pid": os.getpid(), "url": "http://127.0.0.1:1"})
    )
    (folder / "small-production.lock").touch()
    assert service.find("small", "production") is None
    assert service.stop("small", "production") is False


def test_a_service_that_does_not_answer_is_an_error(free_port: int) -> None:
    with pytest.raises(MlError, match="does not answer /health"):
        Service(f"http://127.0.0.1:{free_port}", 1).get("/health")


def test_services_that_run_elsewhere_are_named_by_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(
        "ML_SERVICES", "a/production=http://one:8000/ a/staging=http://two b/production=http://c"
    )
    assert [found.url for found in service.elsewhere("a", "production")] == ["http://one:8000"]
    assert service.elsewhere("c", "production") == []
    monkeypatch.setenv("ML_SERVICES", "a/production:http://one")
    with pytest.raises(MlError, match="'a/production:http://one' is not <project>/<channel>=<url>"):
        service.elsewhere("a", "production")


@pytest.mark.parametrize("host", ["0.0.0.0", "192.168.1.1", "::", "somewhere"])
def test_an_address_that_others_reach_is_not_served_without_keys(site: Site, host: str) -> None:
    with pytest.raises(MlError, match="ML_API_KEYS"):
        service.serve("small", "production", host, 1)


def test_a_service_starts_while_somebody_looks_whether_it_runs(
    site: Site, free_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    lock = site.root / "home" / "services" / "small-production.lock"
    lock.parent.mkdir(parents=True)
    kept: list[str] = []
    monkeypatch.setattr(service, "keep_workers", lambda project, *_: kept.append(project))
    with open(lock, "w", encoding="utf-8") as looking:
        fcntl.flock(looking, fcntl.LOCK_SH)
        ends = threading.Timer(0.2, fcntl.flock, (looking, fcntl.LOCK_UN))
        ends.start()
        service.serve("small", "production", "127.0.0.1", free_port)
        ends.join()
    assert kept == ["small"]


def test_a_service_that_begins_already_is_waited_for_and_no_second_one_is_started(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    state = locations.home() / "services" / "small-production.json"
    state.parent.mkdir(parents=True)
    begins = threading.Timer(0.3, lambda: state.write_text('{"pid": 1, "url": "http://127.0.0.1:7"}'))
    monkeypatch.setattr(service, "_bind", lambda *given: pytest.fail("a second one is started"))
    with open(state.with_suffix(".lock"), "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        begins.start()
        assert service.start("small", "production", 7) == Service("http://127.0.0.1:7", 1)
    begins.join()


def test_a_process_runs_from_its_first_moment_until_it_has_ended() -> None:
    for _ in range(5):
        with subprocess.Popen(["sleep", "60"]) as process:
            assert service._is_running(process.pid)
            process.kill()
            # Though nobody has asked for its end.
            wait_for(lambda: not service._is_running(process.pid) or None)
    assert not service._is_running(process.pid)
