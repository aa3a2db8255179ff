"""The OpenAPI document is true: every answer is named in it, and every one it names is seen."""

import hashlib
import http.client
import re
import subprocess
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import pandas as pd
import pytest
import uvicorn
from fastapi import FastAPI

from ml.registry.versions import Registry
from ml.serving import service
from ml.serving.app import create_app
from ml.serving.bodies import CSV, MAX_BODY_BYTES, MAX_FILE_BYTES
from ml.serving.loaded import LoadedVersion, Routing
from tests.conftest import Site, tool
from tests.support import PASSENGER, register

KEY = "a-key"
UNKNOWN = "0" * 32
CHECKS = "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance"
FILE = pd.DataFrame([PASSENGER]).to_csv(index=False)


@dataclass(frozen=True)
class Running:
    """The application, answering on a real port from a thread, so that a test can break it from within."""

    app: FastAPI
    port: int

    def ask(self, method: str, path: str, key: str = KEY, **arguments: Any) -> httpx2.Response:
        headers = {"X-API-Key": key} | arguments.pop("headers", {})
        url = f"http://127.0.0.1:{self.port}{path}"
        return httpx2.request(method, url, headers=headers, trust_env=False, **arguments)

    def ask_everything(self, key: str = KEY, answered: str = UNKNOWN) -> None:
        self.ask("POST", "/predict", key, json=PASSENGER)
        self.ask("POST", "/predict/file", key, content=FILE, headers={"Content-Type": CSV})
        self.ask("POST", "/feedback", key, json={"request_id": UNKNOWN, "label": 1})
        self.ask("GET", f"/answers/{answered}", key)
        self.ask("PUT", f"/labels/{answered}/0", key, json={"label": 1})
        self.ask("DELETE", f"/labels/{answered}/0", key)
        self.ask("GET", "/model", key)
        self.ask("GET", "/health", key)

    def answered(self) -> str:
        """Return the id of a request whose answer is kept: that happens in the background."""
        identity = str(self.ask("POST", "/predict", json=PASSENGER).json()["request_id"])
        for _ in range(200):
            if self.ask("GET", f"/answers/{identity}").status_code == 200:
                break
            time.sleep(0.1)
        return identity

    def hang_up(self, method: str, path: str) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self.port)
        connection.putrequest(method, path)
        for name, value in (("X-API-Key", KEY), ("Content-Type", CSV), ("Content-Length", "100")):
            connection.putheader(name, value)
        connection.endheaders(b"{")
        connection.close()

    def seen(self) -> set[tuple[str, str, str]]:
        pattern = r'^ml_requests_total\{method="(\w+)",path="(/[^"]*)",status="(\d+)"\}'
        return set(re.findall(pattern, self.ask("GET", "/metrics").text, re.MULTILINE))


@pytest.fixture
def running(built: Site, monkeypatch: pytest.MonkeyPatch) -> Iterator[Running]:
    (built.root / "keys.txt").write_text(hashlib.sha256(KEY.encode()).hexdigest())
    monkeypatch.setenv("ML_API_KEYS", str(built.root / "keys.txt"))
    Registry("small").move("production", register(built), "deploy")
    app, port = create_app("small", "production"), service.free_port()
    server = uvicorn.Server(uvicorn.Config(app, port=port, log_level="warning", access_log=False))
    thread = threading.Thread(target=server.run)
    thread.start()
    for _ in range(200):
        if server.started:
            break
        time.sleep(0.05)
    yield Running(app, port)
    server.should_exit = True
    thread.join()


def test_every_answer_is_documented_and_every_documented_answer_is_seen(
    running: Running, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    if not (program := tool("schemathesis")):
        pytest.skip("schemathesis is not installed (`make test` installs it)")
    url = f"http://127.0.0.1:{running.port}/openapi.json"
    command = [program, "run", url, "--checks", CHECKS, "--header", f"X-API-Key: {KEY}"]
    command += ["--max-examples", "30", "--seed", "1", "--generation-database", "none", "--no-color"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-1000:]

    running.ask_everything()
    running.ask_everything(answered=running.answered())
    running.ask_everything(key="another")
    limits = {
        ("POST", "/predict"): MAX_BODY_BYTES,
        ("POST", "/feedback"): MAX_BODY_BYTES,
        ("POST", "/predict/file"): MAX_FILE_BYTES,
        ("PUT", f"/labels/{UNKNOWN}/0"): MAX_BODY_BYTES,
    }
    for (method, path), most in limits.items():
        running.ask(method, path, content=b" " * (most + 1), headers={"Content-Type": CSV})
        running.hang_up(method, path)
    with monkeypatch.context() as broken:
        broken.setattr(LoadedVersion, "answer_at_once", lambda *_: None)
        broken.setattr(LoadedVersion, "answer", lambda *_: 1 / 0)
        broken.setattr(LoadedVersion, "answer_table", lambda *_: 1 / 0)
        running.ask_everything()
    worker = running.app.state.worker
    worker.follows, worker.follower.routing = False, Routing()
    with monkeypatch.context() as without_store:
        without_store.setattr(running.app.state.predictor, "log", None)
        running.ask_everything()

    documented = {
        (method.upper(), path.split("/{")[0], status)
        for path, methods in running.ask("GET", "/openapi.json").json()["paths"].items()
        for method, described in methods.items()
        for status in described["responses"]
    }
    for _ in range(100):
        if not (missing := documented - running.seen()):
            break
        time.sleep(0.1)
    assert not missing
    assert len(documented) > 20
