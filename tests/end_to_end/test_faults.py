"""Whatever dies during a deploy: the old or the new version answers, and the next deploy works."""

import os
import shutil
import signal
import subprocess
import time

import pytest

from ml import locations
from ml.registry.versions import Registry
from ml.serving import service
from tests import warm
from tests.conftest import Site
from tests.support import (
    KILLED_AT,
    PATIENCE_SECONDS,
    ErrorOf,
    answering_version,
    build_another_model,
    constant_load,
    wait_for,
)

pytestmark = pytest.mark.slow

STEPS = [
    ("ml.registry.signing", "sign"),
    ("ml.registry.versions", "Registry.register"),
    ("ml.registry.versions", "Registry.move"),
    ("ml.registry.versions", "write_json"),
    ("ml.delivery.trial", "wait_for_candidate"),
    ("ml.serving.client", "Service.replay"),
    ("ml.stages.deploy", "switch"),
    ("ml.delivery.moves", "_prove"),
    ("ml.workspace", "write_json"),
]


def start_deploy(site: Site, *before: str) -> "subprocess.Popen[str]":
    command = [warm.python(), *before, "deploy", "--project", "small", "--force"]
    command += ["--build", str(site.root / "build")]
    environment = os.environ | {"PYTHONPATH": str(locations.ROOT)}
    return subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)


def test_a_deploy_that_is_killed_at_any_step_leaves_a_version_that_answers(
    served: Site, free_port: int
) -> None:
    assert served.ml("deploy", "--port", str(free_port)) == 0
    build_another_model(served)
    running = service.find("small", "production")
    assert running
    with constant_load(running.url, clients=1) as seen:
        # After a step is before the next one.
        for module, name, when in [*((*step, "before") for step in STEPS), (*STEPS[-1], "after")]:
            died = start_deploy(served, "-c", KILLED_AT, module, name, when)
            died.communicate()
            assert died.returncode == -signal.SIGKILL, f"{name} is no step of a deploy any more"
            assert answering_version() in (1, 2)
            channel = Registry("small").channel("production")
            if channel.version == 2:
                assert served.ml("rollback", "--to", "1") == 0
        assert served.ml("deploy", "--force") == 0
    assert answering_version() == 2
    assert seen.failed == [] and seen.versions == {1, 2}
    assert Registry("small").versions() == [1, 2]


def test_of_two_deploys_at_once_one_wins_and_both_end(served: Site, free_port: int) -> None:
    assert served.ml("deploy", "--port", str(free_port)) == 0
    build_another_model(served)
    shutil.copytree(served.root / "build", served.root / "second")
    first = start_deploy(served, "-m", "ml")
    other = Site(served.root)
    command = [warm.python(), "-m", "ml", "deploy", "--project", "small"]
    command += ["--build", str(other.root / "second")]
    second = subprocess.Popen(command, env=os.environ, cwd=locations.ROOT, stderr=subprocess.PIPE, text=True)
    said = [process.communicate(timeout=PATIENCE_SECONDS)[1] for process in (first, second)]
    codes = [first.returncode, second.returncode]
    assert 0 in codes and set(codes) <= {0, 1}, said
    if 1 in codes:
        told = "a candidate is on trial in production: wait until that deploy has ended"
        assert told in said[codes.index(1)]
    assert answering_version() == 2
    assert Registry("small").versions() == [1, 2]


def test_a_registry_that_is_gone_or_broken_stops_no_answer(served: Site, free_port: int) -> None:
    assert served.ml("deploy", "--port", str(free_port)) == 0
    running = service.find("small", "production")
    assert running
    home = served.root / "home"
    with constant_load(running.url, clients=1) as seen:
        (home / "registry").rename(home / "gone")
        time.sleep(3)  # longer than the follower goes without reading the pointer again
        assert running.get("/health")["ready"]
        (home / "gone").rename(home / "registry")
        channels = home / "registry" / "small" / "channels"
        pointer = (channels / "production.json").read_text()
        (channels / "production.json").write_text(pointer[: len(pointer) // 2])
        time.sleep(1)
        (channels / "production.json").write_text(pointer)
    assert seen.failed == [] and seen.versions == {1}


def test_a_rollback_ends_a_trial_and_its_deploy_says_so(
    served: Site, free_port: int, error_of: ErrorOf
) -> None:
    assert served.ml("deploy", "--port", str(free_port)) == 0
    build_another_model(served)
    command = [warm.python(), "-m", "ml", "deploy", "--project", "small", "--canary", "50", "--for", "60s"]
    trial = subprocess.Popen(
        [*command, "--build", str(served.root / "build")],
        cwd=locations.ROOT,
        stderr=subprocess.PIPE,
        text=True,
    )
    wait_for(lambda: Registry("small").channel("production").candidate)
    began = time.monotonic()
    assert served.ml("rollback", "--why", "customers complain") == 0
    assert time.monotonic() - began < 10, "it must not wait for the end of the trial"
    _, said = trial.communicate(timeout=PATIENCE_SECONDS)
    assert trial.returncode == 3 and "error: version 2 was taken back while it was tried" in said
    assert answering_version() == 1
    assert Registry("small").channel("production").history[-1].why == "customers complain"
