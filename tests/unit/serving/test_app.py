"""The service: what it answers, what it refuses, and how it follows its channel."""

import hashlib
import json
import os
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from ml.errors import MlError
from ml.registry.versions import Registry
from ml.serving import access
from ml.serving.app import create_app
from ml.serving.bodies import MAX_BODY_BYTES
from tests.conftest import Site
from tests.support import PASSENGER, register, resign


@pytest.fixture
def client(built: Site) -> Iterator[TestClient]:
    Registry("small").move("production", register(built), "deploy")
    with TestClient(create_app("small", "production")) as client:
        yield client


def wait_for_health(client: TestClient, key: str, value: object) -> dict[str, object]:
    for _ in range(100):
        if (health := client.get("/health").json())[key] == value:
            return health
        time.sleep(0.05)
    raise AssertionError(f"{key} did not become {value}: {health}")


def test_one_passenger_and_a_list_are_answered_alike(client: TestClient) -> None:
    one = client.post("/predict", json=PASSENGER).json()
    many = client.post(
        "/predict", json=[PASSENGER | {"PassengerId": number} for number in range(1, 900)]
    ).json()
    assert one["version"] == 1
    assert one["predictions"][0]["PassengerId"] == 892
    assert one["predictions"][0]["prediction"] in (0, 1)
    assert len(many["predictions"]) == 899
    for key in ("probability_0", "probability_1"):
        assert many["predictions"][0][key] == pytest.approx(one["predictions"][0][key], abs=1e-12)


@pytest.mark.parametrize(
    ("body", "place", "problem"),
    [
        (PASSENGER | {"Sex": None}, ["Sex"], "Input should be 'female' or 'male'"),
        ({key: PASSENGER[key] for key in PASSENGER if key != "Sex"}, ["Sex"], "Field required"),
        (PASSENGER | {"Pclass": 4}, ["Pclass"], "Input should be one of 1, 2, 3"),
        (PASSENGER | {"Pclass": True}, ["Pclass"], "Input should be a valid integer"),
        (PASSENGER | {"Age": "22"}, ["Age"], "Input should be a valid number"),
        (PASSENGER | {"Survived": 1}, ["Survived"], "Extra inputs are not permitted"),
        (
            [PASSENGER, PASSENGER | {"PassengerId": "2"}],
            ["1", "PassengerId"],
            "Input should be a valid integer",
        ),
        ([], [], "List should have at least 1 item after validation, not 0"),
        ("Kelly", [], "Input should be an object"),
    ],
)
def test_what_is_no_passenger_is_refused_with_its_place(
    client: TestClient, body: object, place: list[str], problem: str
) -> None:
    response = client.post("/predict", json=body)
    assert response.status_code == 422
    assert {"place": place, "problem": problem} in response.json()["detail"]


@pytest.mark.parametrize("body", [b"", b"{", b"\xff\xfe", b"[" * 100_000, b'{"Age": NaN}', b"null"])
def test_what_is_no_json_is_refused(client: TestClient, body: bytes) -> None:
    response = client.post("/predict", content=body)
    assert response.status_code == 422
    assert response.json()["detail"]


def test_a_huge_request_is_refused_whether_it_says_so_or_not(client: TestClient) -> None:
    huge = b" " * (100 * 1024 * 1024)
    assert client.post("/predict", content=huge).status_code == 413
    chunks = (b" " * 65536 for _ in range(MAX_BODY_BYTES // 65536 + 2))
    assert client.post("/predict", content=chunks).status_code == 413
    assert client.post("/predict", json=PASSENGER).status_code == 200


def test_the_lineage_and_the_counters_are_shown(client: TestClient) -> None:
    client.post("/predict", json=[PASSENGER, PASSENGER | {"PassengerId": 1}])
    client.get("/a/path/that/is/not/ours")
    assert client.get("/model").json()["version"] == 1
    metrics = client.get("/metrics").text
    assert "ml_predicted_rows_total 2.0" in metrics
    assert 'ml_requests_total{method="POST",path="/predict",status="200"} 1.0' in metrics
    assert 'path="other",status="404"' in metrics
    assert "ml_model_version 1.0" in metrics


def test_the_documentation_describes_a_row_by_the_contract(client: TestClient) -> None:
    assert client.get("/docs").status_code == 200
    schema = client.get("/openapi.json").json()
    row = schema["components"]["schemas"]["Row"]
    assert row["properties"]["Sex"]["enum"] == ["female", "male"]
    assert row["properties"]["Age"]["anyOf"][0]["maximum"] == 120
    assert "Survived" not in row["properties"] and "Age" not in row["required"]
    assert row["additionalProperties"] is False
    assert "requestBody" in schema["paths"]["/predict"]["post"]


def test_the_service_follows_its_channel(client: TestClient, built: Site) -> None:
    Registry("small").move("production", register(built, "b"), "deploy")
    wait_for_health(client, "version", 2)
    assert client.post("/predict", json=PASSENGER).json()["version"] == 2
    Registry("small").move("production", 1, "rollback")
    wait_for_health(client, "version", 1)


@pytest.mark.parametrize("file", ["model/model.pkl", "version.json"])
def test_an_altered_version_is_refused_and_the_old_one_keeps_answering(
    client: TestClient, built: Site, file: str
) -> None:
    version = register(built, "b")
    altered = Registry("small").folder(version) / file
    altered.write_bytes(altered.read_bytes()[:-9] + b"tampered!")
    Registry("small").move("production", version, "deploy")
    for _ in range(100):
        if refused := client.get("/health").json()["refused"]:
            break
        time.sleep(0.05)
    assert "2" in refused
    assert client.post("/predict", json=PASSENGER).json()["version"] == 1


def test_a_broken_pointer_changes_nothing(client: TestClient) -> None:
    pointer = Registry("small").root / "channels" / "production.json"
    pointer.write_text("{")
    time.sleep(0.6)
    assert client.post("/predict", json=PASSENGER).json()["version"] == 1


def test_a_model_that_was_taken_back_answers_no_more(client: TestClient) -> None:
    Registry("small").move("production", None, "revert")
    wait_for_health(client, "version", None)
    assert client.post("/predict", json=PASSENGER).status_code == 503


def test_the_service_only_reads_the_registry_so_a_full_or_read_only_one_does_not_matter(
    client: TestClient, built: Site
) -> None:
    root, mine, watching = str(Registry("small").root), threading.get_ident(), True
    read: list[str] = []
    changed: list[str] = []

    def watch(event: str, arguments: tuple[Any, ...]) -> None:
        if not watching or threading.get_ident() == mine or not str(arguments[:1]).count(root):
            return
        if event == "open" and not arguments[2] & (os.O_WRONLY | os.O_RDWR):
            read.append(str(arguments[0]))
        elif event in ("open", "os.rename", "os.mkdir", "os.remove", "os.rmdir", "os.link", "os.chmod"):
            changed.append(f"{event} {arguments[0]}")

    sys.addaudithook(watch)
    Registry("small").move("production", register(built, "b"), "deploy")
    wait_for_health(client, "version", 2)
    Registry("small").move("production", 1, "rollback")
    wait_for_health(client, "version", 1)
    assert client.post("/predict", json=PASSENGER).status_code == 200
    assert client.get("/model").json()["version"] == 1
    watching = False
    assert any(file.endswith("model.pkl") for file in read)
    assert not changed


def test_without_a_model_the_service_says_so(site: Site) -> None:
    with TestClient(create_app("small", "production")) as client:
        for response in (
            client.get("/health"),
            client.get("/model"),
            client.post("/predict", json=PASSENGER),
        ):
            assert response.status_code == 503
        assert "serves no model" in response.json()["detail"]


def test_a_model_whose_predictions_come_out_otherwise_is_refused(built: Site) -> None:
    golden = built.build / "model" / "golden.json"
    content = json.loads(golden.read_text())
    content["predictions"][0]["probability_1"] += 0.01
    golden.write_text(json.dumps(content))
    resign(built.build / "model")
    Registry("small").move("production", register(built), "deploy")
    with TestClient(create_app("small", "production")) as client:
        assert "golden predictions come out otherwise" in client.get("/health").json()["refused"]["1"]


def test_with_keys_set_only_who_has_one_is_answered(built: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    keys = built.root / "keys.txt"
    keys.write_text(
        "".join(f"{hashlib.sha256(key).hexdigest()}  {key.decode()}\n" for key in (b"one", b"two"))
    )
    monkeypatch.setenv("ML_API_KEYS", str(keys))
    Registry("small").move("production", register(built), "deploy")
    with TestClient(create_app("small", "production")) as client:
        for headers, status in (({}, 401), ({"X-API-Key": "three"}, 401), ({"X-API-Key": "two"}, 200)):
            assert client.post("/predict", json=PASSENGER, headers=headers).status_code == status
            assert client.get("/model", headers=headers).status_code == status
        assert client.get("/health").status_code == 200
        assert "APIKeyHeader" in client.get("/openapi.json").json()["components"]["securitySchemes"]


def test_a_key_that_is_taken_out_of_the_file_is_refused_and_a_broken_file_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file, sha256 = (
        tmp_path / "keys.txt",
        {key: hashlib.sha256(key.encode()).hexdigest() for key in ("a", "b")},
    )
    file.write_text(sha256["a"])
    monkeypatch.setenv("ML_API_KEYS", str(file))
    monkeypatch.setattr(access, "LOOK_SECONDS", -1.0)
    keys = access.Keys()
    assert sha256["a"] in keys and sha256["b"] not in keys
    (tmp_path / "new.txt").write_text(sha256["b"])
    (tmp_path / "new.txt").replace(file)
    assert sha256["a"] not in keys and sha256["b"] in keys
    file.write_text("")
    assert sha256["b"] in keys and "the API keys stay those of before" in capsys.readouterr().err
    file.unlink()
    assert keys and sha256["b"] in keys and sha256["a"] not in keys


@pytest.mark.parametrize("content", ["", "secret in plain text\n"])
def test_a_file_without_hashed_keys_is_refused(
    built: Site, monkeypatch: pytest.MonkeyPatch, content: str
) -> None:
    (built.root / "keys.txt").write_text(content)
    monkeypatch.setenv("ML_API_KEYS", str(built.root / "keys.txt"))
    with pytest.raises(MlError, match="write the sha256 of each API key"):
        create_app("small", "production")
