"""Bringing a version into a channel, and taking it out again, against the real service."""

import asyncio
import hashlib
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx2
import pandas as pd
import pytest

from ml import locations
from ml.delivery.waiting import wait_for_version
from ml.errors import MlError
from ml.records import ALREADY_DEPLOYED
from ml.registry import signing
from ml.registry.versions import Registry
from ml.serving import service
from ml.serving.client import Service
from ml.serving.workers import GRACE_SECONDS
from ml.store.tables import builds
from tests.conftest import Site
from tests.production import kept
from tests.support import (
    PASSENGER,
    PATIENCE_SECONDS,
    ErrorOf,
    answering_version,
    build_another_model,
    constant_load,
    resign,
    wait_for,
    workers_of,
)

pytestmark = pytest.mark.slow


def test_a_version_is_deployed_replaced_rolled_back_and_stopped(
    served: Site, free_port: int, error_of: ErrorOf, capsys: pytest.CaptureFixture[str]
) -> None:
    assert served.ml("deploy", "--port", str(free_port)) == 0
    assert answering_version() == 1
    kept = [file.name for file in (served.root / "home" / "services").rglob("*") if file.suffix == ".csv"]
    assert kept == [], "a service keeps the code, and nobody's rows"
    build_another_model(served)
    assert served.ml("deploy") == 0
    assert answering_version() == 2
    deployment = json.loads((served.build / "deploy" / "deployment.json").read_text())
    assert (deployment["version"], deployment["previous_version"]) == (2, 1)

    capsys.readouterr()
    assert served.ml("rollback") == 0
    assert capsys.readouterr().out == "production: back from version 2 to version 1\n"
    assert answering_version() == 1
    assert served.ml("rollback") == 1
    assert "has no earlier version to return to" in error_of()

    assert served.ml("deploy") == 3
    assert "version 2 was taken back from production before: --force" in error_of()
    assert answering_version() == 1
    assert served.ml("deploy", "--force") == 0
    assert answering_version() == 2

    assert served.ml("rollback", "--to", "7") == 1
    assert "no version 7 of small" in error_of()
    assert served.ml("rollback", "--to", "2") == 1
    assert "already has version 2" in error_of()
    assert served.ml("rollback", "--to", "1") == 0
    assert answering_version() == 1

    assert served.ml("serve", "--stop") == 0
    assert service.find("small", "production") is None
    assert served.ml("serve", "--stop") == 0


def test_a_build_that_was_asked_for_and_changes_nothing_is_noted(
    served: Site, free_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert served.ml("deploy", "--port", str(free_port)) == 0
    before = len(kept(builds))
    assert served.ml("deploy") == 0
    assert len(kept(builds)) == before, "nobody waits for it"
    monkeypatch.setenv("WHY", "concept: a row costs 0.7")
    assert served.ml("deploy") == 0
    newest = kept(builds)[-1]
    assert (newest.outcome, newest.version, newest.why) == (ALREADY_DEPLOYED, 1, "concept: a row costs 0.7")


def test_a_version_that_the_service_refuses_is_taken_back(
    served: Site, free_port: int, error_of: ErrorOf
) -> None:
    assert served.ml("deploy", "--port", str(free_port)) == 0
    build_another_model(served)
    golden = served.build / "model" / "golden.json"
    content = json.loads(golden.read_text())
    content["predictions"][0]["probability_1"] += 0.01
    golden.write_text(json.dumps(content))
    resign(served.build / "model")

    assert served.ml("deploy") == 1
    assert "deploying version 2 failed: the service at http://127.0.0.1:" in (error := error_of())
    assert "refuses version 2: " in error
    assert "production has version 1" in error
    assert Registry("small").channel("production").version == 1
    assert answering_version() == 1
    assert not (served.build / "deploy" / "deployment.json").read_text().count('"version": 2')


def test_workers_with_other_code_are_renewed_without_a_failed_request(
    served: Site, free_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert served.ml("deploy", "--port", str(free_port)) == 0
    running = service.find("small", "production")
    assert running
    before = workers_of(running)
    monkeypatch.setattr("ml.delivery.targets.local.running_code", lambda: "another checkout")
    with constant_load(running.url) as seen:
        assert served.ml("deploy") == 0
        wait_for(lambda: not workers_of(running) & before)
    assert seen.failed == [] and seen.versions == {1}
    folders = {Path(f"/proc/{worker}/cwd").readlink() for worker in workers_of(running)}
    assert all(folder.exists() for folder in folders), "what reads relative paths still can"
    file = pd.DataFrame([PASSENGER]).to_csv(index=False)
    answer = httpx2.post(f"{running.url}/predict/file", content=file, headers={"Content-Type": "text/csv"})
    assert answer.status_code == 200, answer.text


def test_a_port_in_use_is_named_and_nothing_is_pointed_to(
    served: Site, free_port: int, error_of: ErrorOf
) -> None:
    with socket.create_server(("127.0.0.1", free_port)):
        assert served.ml("deploy", "--port", str(free_port)) == 1
        assert f"port {free_port} on 127.0.0.1 cannot be used (Address already in use)" in error_of()
        assert Registry("small").channel("production").version is None
        assert served.ml("serve", "--port", str(free_port)) == 1
        assert f"port {free_port} on 127.0.0.1 cannot be used" in error_of()


@pytest.mark.parametrize("place", ["/dev/null/registry", "/proc/registry"])
def test_a_registry_that_cannot_be_written_is_named(
    served: Site, free_port: int, error_of: ErrorOf, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    monkeypatch.setenv("ML_REGISTRY", place)
    assert served.ml("deploy", "--port", str(free_port)) == 1
    assert place in error_of()
    assert service.find("small", "production") is None


def test_a_verdict_about_another_model_does_not_count(served: Site, error_of: ErrorOf) -> None:
    shutil.copytree(served.build / "quality", served.root / "earlier")
    build_another_model(served)
    shutil.rmtree(served.build / "quality")
    (served.root / "earlier").rename(served.build / "quality")
    assert served.ml("deploy") == 3
    assert "the verdict is about another model" in error_of()
    assert Registry("small").versions() == []


def test_predict_names_what_it_cannot_score(
    served: Site, free_port: int, error_of: ErrorOf, tmp_path: Path
) -> None:
    assert served.ml("predict") == 1
    assert "has no model" in error_of()
    assert served.ml("deploy", "--port", str(free_port)) == 0
    (served.build / "data" / "unlabelled.parquet").unlink()
    assert served.ml("predict") == 1
    assert "name the rows to score with --input" in error_of()
    (tmp_path / "rows.json").write_text(json.dumps([PASSENGER | {"Sex": "x"}]))
    (tmp_path / "rows.csv").write_text("PassengerId,Sex\n1,male\n")
    (tmp_path / "rows.parquet").write_text("not parquet")
    for name, problem in {
        "rows.json": "0.Sex: Input should be 'female' or 'male'",
        "rows.csv": "column 'Pclass' is missing",
        "rows.parquet": "rows.parquet cannot be read as a table",
        "none.csv": "none.csv is missing",
        "none.json": "none.json is missing",
    }.items():
        assert served.ml("predict", "--input", str(tmp_path / name)) == 1
        assert problem in error_of()
    assert served.ml("predict", "--input", "rows.xlsx") == 2
    assert "rows.xlsx: cannot tell its format" in error_of()


def test_the_service_outlives_the_checkout_and_the_build_that_started_it(
    built: Site, free_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkout = built.root / "checkout"
    shutil.copytree(locations.ROOT / "ml", checkout / "ml", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(locations.LOCK_FILE, checkout)
    command = [sys.executable, "-m", "ml", "deploy", "--project", "small", "--port", str(free_port)]
    signing.signing_key(signing.release_keys())  # made before it is named
    secrets = {"ML_API_KEY": "secret", "ML_SIGNING_KEY": str(locations.signing_key())}
    # Jenkins kills whoever has one of these, when a step ends or a build is stopped.
    cookies = {"JENKINS_NODE_COOKIE": "of the build", "JENKINS_SERVER_COOKIE": "durable-of-the-job"}
    environment = os.environ | secrets | cookies
    deploy = subprocess.Popen([*command, "--build", str(built.root / "build")], cwd=checkout, env=environment)
    running = wait_for(lambda: service.find("small", "production"))
    try:
        told = Path(f"/proc/{running.pid}/stat").read_text().rpartition(")")[2].split()
        assert int(told[1]) != deploy.pid, "Jenkins kills the children of what it kills"
        assert deploy.wait() == 0
        shutil.rmtree(checkout)
        assert answering_version() == 1
        assert set(running.predict([PASSENGER, PASSENGER])) >= {"version", "predictions"}
        for pid in (running.pid, *workers_of(running)):
            told = dict(
                one.split("=", 1) for one in Path(f"/proc/{pid}/environ").read_text().split("\0") if one
            )
            assert not told.keys() & secrets.keys()
            assert not told.items() & cookies.items()
    finally:
        service.stop("small", "production")


def test_a_service_that_runs_elsewhere_is_waited_for_and_never_started(
    built: Site, free_port: int, monkeypatch: pytest.MonkeyPatch, error_of: ErrorOf
) -> None:
    monkeypatch.setenv("ML_SERVICES", f"small/production=http://127.0.0.1:{free_port}")
    assert built.ml("deploy") == 1
    assert "does not answer /health" in error_of()
    (built.root / "keys.txt").write_text(hashlib.sha256(b"secret").hexdigest())
    monkeypatch.setenv("ML_API_KEY", "secret")
    with monkeypatch.context() as serving:
        serving.setenv("ML_API_KEYS", str(built.root / "keys.txt"))
        serving.setenv("ML_HOME", str(built.root / "other-home"))
        serving.setenv("ML_REGISTRY", str(built.root / "home" / "registry"))
        serving.setenv("ML_VERIFY_KEY", str(built.root / "home" / "keys" / "verify.pem"))
        command = [sys.executable, "-m", "ml", "serve", "--project", "small", "--port", str(free_port)]
        process = subprocess.Popen(command, cwd=locations.ROOT)
    try:
        elsewhere = Service(f"http://127.0.0.1:{free_port}")
        wait_for(lambda: elsewhere.get("/health"))
        assert built.ml("deploy") == 0
        assert service.find("small", "production") is None
        assert elsewhere.predict([PASSENGER])["version"] == 1
        monkeypatch.setenv("ML_API_KEY", "wrong")
        with pytest.raises(MlError, match="401"):
            elsewhere.predict([PASSENGER])
    finally:
        process.terminate()
        process.wait()


def test_swaps_and_rollbacks_under_load_lose_nothing_on_any_worker(served: Site, free_port: int) -> None:
    registry = Registry("small")
    assert served.ml("deploy", "--port", str(free_port)) == 0
    build_another_model(served)
    assert served.ml("deploy") == 0
    running = service.find("small", "production")
    assert running
    with constant_load(running.url) as seen:
        for turn in range(20):
            version = 1 + turn % 2
            registry.move("production", version, "deploy" if turn % 5 else "rollback")
            wait_for_version(running, version, seconds=5)
    assert seen.failed == [] and seen.versions == {1, 2} and seen.answered > 50


def test_a_crowd_that_comes_at_once_waits_its_turn_and_no_longer(served: Site, free_port: int) -> None:
    """Whose connection was taken in first is not answered many times before others are at all."""
    assert served.ml("deploy", "--port", str(free_port)) == 0
    body = json.dumps([PASSENGER] * 10).encode()
    head = f"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n".encode()
    answered = [0] * 200

    async def ask(client: int) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", free_port)
        while not all(answered):
            writer.write(head + body)
            told = await reader.readuntil(b"\r\n\r\n")
            assert told.startswith(b"HTTP/1.1 200"), told
            length = re.search(rb"content-length: (\d+)", told)
            assert length
            await reader.readexactly(int(length[1]))
            answered[client] += 1
        writer.close()

    async def crowd() -> None:
        await asyncio.gather(*map(ask, range(len(answered))))

    asyncio.run(crowd())
    assert max(answered) < 40, answered


def test_a_killed_worker_comes_back(served: Site, free_port: int) -> None:
    settings = served.project / "project.toml"
    settings.write_text("workers = 2\n" + settings.read_text(encoding="utf-8"), encoding="utf-8")
    assert served.ml("deploy", "--port", str(free_port)) == 0
    running = service.find("small", "production")
    assert running
    before = workers_of(running)
    assert len(before) == 2
    killed = min(before)
    os.kill(killed, 9)
    wait_for(lambda: len(now := workers_of(running)) == 2 and killed not in now)
    assert answering_version() == 1


def parent_of(pid: int) -> int:
    """Return the process that began another."""
    return int(Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[1])


def test_workers_answer_on_when_the_process_that_forks_them_is_killed(served: Site, free_port: int) -> None:
    assert served.ml("deploy", "--port", str(free_port)) == 0
    running = service.find("small", "production")
    assert running
    (before,) = workers_of(running)
    assert parent_of(leader := parent_of(before)) == running.pid
    with constant_load(running.url) as seen:
        os.kill(leader, 9)
        wait_for(lambda: before not in workers_of(running))
    assert len(now := workers_of(running)) == 1
    assert parent_of(parent_of(now.pop())) == running.pid
    assert seen.failed == [] and seen.versions == {1}


def test_a_service_comes_back_when_all_but_its_keeper_are_killed(served: Site, free_port: int) -> None:
    assert served.ml("deploy", "--port", str(free_port)) == 0
    running = service.find("small", "production")
    assert running
    (before,) = workers_of(running)
    for pid in (parent_of(before), before):
        os.kill(pid, 9)
    wait_for(lambda: before not in workers_of(running))
    assert len(workers_of(running)) == 1, "what the dead told is forgotten"
    assert answering_version() == 1


def test_nothing_outlives_a_service_that_is_killed(served: Site, free_port: int) -> None:
    assert served.ml("deploy", "--port", str(free_port)) == 0
    running = service.find("small", "production")
    assert running and running.pid
    (worker,) = workers_of(running)
    leader = parent_of(worker)
    counters = (locations.home() / "services" / "small-production.status" / "metrics").readlink()
    assert list(counters.glob("*.db"))
    os.kill(running.pid, 9)
    wait_for(lambda: not any(Path(f"/proc/{pid}").exists() for pid in (worker, leader)))
    assert served.ml("deploy", "--port", str(free_port)) == 0
    assert not counters.exists(), "the next service gives its memory back"


def memory_of(worker: int) -> tuple[int, int]:
    """Return the kilobytes that a process shares with others, and those that it has for itself."""
    lines = Path(f"/proc/{worker}/smaps_rollup").read_text(encoding="utf-8").splitlines()[1:]
    memory = dict(line.split(":") for line in lines)
    shared, own = (
        sum(int(memory[f"{whose}_{kind}"].split()[0]) for kind in ("Clean", "Dirty"))
        for whose in ("Shared", "Private")
    )
    return shared, own


def test_workers_share_what_each_of_them_loaded_when_it_was_deployed(served: Site, free_port: int) -> None:
    settings = served.project / "project.toml"
    settings.write_text("workers = 3\n" + settings.read_text(encoding="utf-8"), encoding="utf-8")
    assert served.ml("deploy", "--port", str(free_port)) == 0
    running = service.find("small", "production")
    assert running
    go_on = threading.Event()

    def file_that_takes_long() -> Iterator[bytes]:
        yield ",".join(PASSENGER).encode() + b"\n"
        go_on.wait(PATIENCE_SECONDS)
        yield b'892,3,"Kelly, Mr. James",male,34.5,0,0,330911,7.8292,,Q\n'

    def send() -> httpx2.Response:
        with httpx2.Client(trust_env=False, timeout=PATIENCE_SECONDS) as client:
            asked = {"content": file_that_takes_long(), "headers": {"Content-Type": "text/csv"}}
            return client.post(f"{running.url}/predict/file", **asked)  # type: ignore[arg-type]

    with constant_load(running.url) as seen, ThreadPoolExecutor(1) as pool:
        before = {worker: memory_of(worker) for worker in workers_of(running)}
        file = pool.submit(send)
        wait_for(lambda: len(now := workers_of(running)) == 3 and not now & before.keys())
        time.sleep(GRACE_SECONDS)  # longer than who is stopped may take
        go_on.set()
        assert file.result().status_code == 200 and "892" in file.result().text
    assert seen.failed == [] and seen.versions == {1}
    for worker in workers_of(running):
        shared, own = memory_of(worker)
        assert shared > 2 * own and own < 0.8 * min(mine for _, mine in before.values()), (before, own)


def test_a_canary_is_promoted_or_withdrawn_and_the_reason_is_kept(
    served: Site, free_port: int, error_of: ErrorOf
) -> None:
    assert served.ml("deploy", "--port", str(free_port)) == 0
    build_another_model(served)
    running = service.find("small", "production")
    assert running
    unasked = ["deploy", "--canary", "30", "--for", "1s", "--min-requests", "5000"]
    for wish, outcome, told in (
        ("hold", "inconclusive", "was held back"),
        ("withdraw", "withdrawn", "was withdrawn"),
    ):
        built = served.project / "project.toml"
        built.write_text(re.sub('inconclusive = "[a-z]+"', f'inconclusive = "{wish}"', built.read_text()))
        assert served.ml(*unasked) == 3
        assert f"{told}: its trial is inconclusive: only 0 of at least 5000" in error_of()
        deployment = json.loads((served.build / "deploy" / "deployment.json").read_text())
        assert (deployment["outcome"], deployment["trial"]["share"]) == (outcome, 0.3)
        assert Registry("small").channel("production").candidate is None
    assert answering_version() == 1
    with constant_load(running.url, clients=1) as seen:
        time.sleep(0.5)  # let some requests come before the trial begins
        command = ["deploy", "--shadow", "--for", "4s", "--min-requests", "5"]  # a busy machine answers few
        assert served.ml(*command) == 0
    assert seen.failed == []
    deployment = json.loads((served.build / "deploy" / "deployment.json").read_text())
    assert deployment["outcome"] == "deployed" and deployment["trial"]["pairs"]["rows"] >= 5
    assert deployment["trial"]["candidate"]["requests"] >= 5
    assert "nothing against it" in deployment["why"][0]
    moves = [move.action for move in Registry("small").channel("production").history]
    assert moves == ["deploy", "canary", "hold", "canary", "withdraw", "shadow", "deploy"]


def add_deck(served: Site) -> None:
    """Let the source deliver one more column, which the contract admits to be missing."""
    table = served.project / "data" / "train.csv"
    rows = pd.read_csv(table)
    rows.assign(Deck=rows["Cabin"].str[0]).to_csv(table, index=False)
    column = "    Deck: str = pa.Field(nullable=True)\n\n    class Config"
    served.edit("contract.py", "    class Config", column)


def test_a_new_column_does_not_stop_a_candidate_and_clients_go_on_as_before(
    served: Site, free_port: int, judged_by: Callable[[str], None]
) -> None:
    judged_by("test_score.py")
    assert served.ml("deploy", "--port", str(free_port)) == 0
    add_deck(served)
    (served.project / "data" / "test.csv").unlink()
    served.edit("project.toml", 'unlabelled = "data/test.csv"\n', "")
    served.edit("project.toml", "max_changed_rows = 0.02", "max_changed_rows = 1.0")
    for stage in ("data", "train", "quality", "deploy"):
        assert served.ml(stage) == 0, stage
    deployment = json.loads((served.build / "deploy" / "deployment.json").read_text())
    assert (deployment["outcome"], deployment["version"]) == ("deployed", 2)
    assert deployment["trial"]["pairs"]["rows"] >= 100
    running = service.find("small", "production")
    assert running
    for row in (PASSENGER, PASSENGER | {"Deck": "C"}):
        assert running.predict([row])["version"] == 2


def test_a_candidate_that_refuses_what_clients_send_is_withdrawn_with_the_reason(
    served: Site, free_port: int, error_of: ErrorOf, judged_by: Callable[[str], None]
) -> None:
    judged_by("test_score.py")
    assert served.ml("deploy", "--port", str(free_port)) == 0
    contract = served.project / "contract.py"
    contract.write_text(re.sub(r"    Cabin: .*\n", "", contract.read_text()))
    served.edit("project.toml", '"Ticket", "Cabin"]', '"Ticket"]')
    served.edit("project.toml", " Cabin = 0.9,", "")
    for stage in ("data", "train", "quality"):
        assert served.ml(stage) == 0, stage
    assert served.ml("deploy") == 3
    assert "requests failed" in (told := error_of()) and "Cabin: Extra inputs are not permitted" in told
    assert answering_version() == 1


def test_undeploy_takes_out_of_service_and_rollback_brings_back(
    served: Site, free_port: int, error_of: ErrorOf, capsys: pytest.CaptureFixture[str]
) -> None:
    assert served.ml("undeploy") == 1
    assert "serves no version" in error_of()
    assert served.ml("deploy", "--port", str(free_port)) == 0
    running = service.find("small", "production")
    assert running
    assert served.ml("undeploy", "--version", "3") == 1
    assert "no version 3 of small" in error_of()
    assert served.ml("undeploy", "--why", "wrong prices") == 0
    assert running.get("/health")["ready"] is False
    move = Registry("small").channel("production").history[-1]
    assert (move.action, move.left, move.why) == ("undeploy", 1, "wrong prices")
    assert move.by
    assert served.ml("deploy") == 3
    assert "version 1 was taken back" in error_of()
    assert served.ml("rollback") == 0
    assert answering_version() == 1
