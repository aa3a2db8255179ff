"""Answers and labels as resources, who told a label, and what could not be answered."""

import hashlib
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import Connection, select

from ml import locations
from ml.registry.versions import Registry
from ml.serving import REPLAY_HEADER
from ml.serving.app import create_app
from ml.store.database import open_store
from ml.store.lookup import labels_that_hold
from ml.store.tables import labels, troubles
from tests.conftest import Site
from tests.support import PASSENGER, register, wait_for

KEY = "one of the clients"
UNKNOWN = "0" * 32


@pytest.fixture(scope="module")
def client(_finished: Site, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    """Return a client with a key of a service that keeps what it answers."""
    home = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as monkeypatch:
        _finished.settle(monkeypatch)
        (home / "keys.txt").write_text(hashlib.sha256(KEY.encode()).hexdigest())
        monkeypatch.setenv("ML_HOME", str(home))
        monkeypatch.setenv("ML_API_KEYS", str(home / "keys.txt"))
        monkeypatch.setenv("ML_BUILD_KEYS", str(_finished.root / "home" / "keys" / "build"))
        Registry("small").move("production", register(_finished), "deploy")
        with TestClient(create_app("small", "production"), headers={"X-API-Key": KEY}) as client:
            yield client


def in_store(ask: Callable[[Connection], Any], wanted: Callable[[Any], bool] = bool) -> Any:
    """Return what is asked of the store, once it is as wanted: it is written in the background."""
    url = locations.store("small", "production")
    assert url
    engine = open_store(url)

    def look() -> tuple[Any] | None:
        with engine.connect() as connection:
            return (found,) if wanted(found := ask(connection)) else None

    try:
        return wait_for(look)[0]
    finally:
        engine.dispose()


def answered(client: TestClient) -> str:
    """Return the id of a request that was answered and kept."""
    identity: str = client.post("/predict", json=[PASSENGER, PASSENGER]).json()["request_id"]
    wait_for(lambda: client.get(f"/answers/{identity}").status_code == 200)
    return identity


def holds(identity: str) -> list[Any]:
    """Return the labels that hold of a request."""
    found = labels_that_hold("small", "production")
    return list(
        in_store(
            lambda connection: connection.execute(
                select(found.c.row, found.c.label).where(found.c.request == identity)
            ).all(),
            lambda _: True,
        )
    )


def test_a_label_is_set_replaced_and_withdrawn_and_all_are_kept(client: TestClient) -> None:
    identity = answered(client)
    place = f"/labels/{identity}/1"
    assert client.delete(place).status_code == 404
    assert client.put(place, json={"label": 1}).json() == {"accepted": 1}
    assert client.put(place, json={"label": 0}).json() == {"accepted": 1}
    assert holds(identity) == [(1, "0")]
    late = client.put(place, json={"label": 1, "at": "2001-01-01T00:00:00+00:00"})
    assert late.status_code == 200 and holds(identity) == [(1, "0")], "it came true before"
    assert client.delete(place).json() == {"withdrawn": 1}
    assert client.delete(place).status_code == 404
    assert holds(identity) == []
    assert client.put(place, json={"label": 1}).status_code == 200
    assert holds(identity) == [(1, "1")]
    kept = client.get(f"/answers/{identity}").json()
    assert [one["label"] for one in kept["rows"][1]["labels"]] == [1, 0, 1, None, 1]
    assert kept["rows"][0]["labels"] == [] and kept["version"] == 1
    assert (
        kept["rows"][0]["inputs"]["Pclass"] == PASSENGER["Pclass"] and "Name" not in kept["rows"][0]["inputs"]
    )


def test_what_is_none_is_refused(client: TestClient) -> None:
    identity = answered(client)
    for method, path in (
        ("GET", f"/answers/{UNKNOWN}"),
        ("PUT", f"/labels/{UNKNOWN}/0"),
        ("PUT", f"/labels/{identity}/7"),
        ("DELETE", f"/labels/{UNKNOWN}/0"),
    ):
        body = {"label": 1} if method == "PUT" else None
        assert client.request(method, path, json=body).status_code == 404, path
    for content in ({}, {"label": "yes"}, {"label": 7}, {"label": 1, "row": 0}, {"label": 1, "at": "today"}):
        assert client.put(f"/labels/{identity}/0", json=content).status_code == 422, content
    for path in ("/answers/x", f"/labels/{identity}/-1", f"/labels/{identity}/{2**40}"):
        method = "GET" if "answers" in path else "DELETE"
        assert client.request(method, path).status_code == 422, path
    assert client.get(f"/answers/{identity}", headers={"X-API-Key": "another"}).status_code == 401


def test_who_told_a_label_is_kept(client: TestClient) -> None:
    identity = answered(client)
    told = [{"request_id": identity, "row": 0, "label": 1}]
    assert client.post("/feedback", json=told).status_code == 202
    client.put(f"/labels/{identity}/1", json={"label": 1})
    mine = select(labels.c.sender).where(labels.c.request == identity)
    senders = in_store(lambda one: one.execute(mine).scalars().all(), lambda found: len(found) == 2)
    assert senders == [hashlib.sha256(KEY.encode()).hexdigest()[:12]] * 2


def test_what_is_refused_is_counted_by_column_and_rule(client: TestClient) -> None:
    for _ in range(3):
        assert client.post("/predict", json=[PASSENGER | {"Age": 500, "Sex": "?"}]).status_code == 422
    assert client.post("/predict", content=b"{").status_code == 422
    assert (
        client.post("/predict", json=PASSENGER | {"Age": 500}, headers={REPLAY_HEADER: "1"}).status_code
        == 422
    )

    def counted(connection: Connection) -> dict[tuple[str, str], int]:
        found: dict[tuple[str, str], int] = {}
        for one in connection.execute(select(troubles).where(troubles.c.kind == "refused")):
            found[one.column_name, one.rule] = found.get((one.column_name, one.rule), 0) + one.count
        return found

    found = in_store(counted, lambda found: sum(found.values()) >= 7)
    by_column = {column: count for (column, _), count in found.items()}
    assert by_column == {"Age": 3, "Sex": 3, "": 1}, found


def test_a_store_that_is_away_is_said_so(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    log = client.app.state.predictor.log  # type: ignore[attr-defined]
    monkeypatch.setattr(log, "url", "sqlite:////proc/no/store.sqlite")
    assert client.get(f"/answers/{UNKNOWN}").status_code == 503
    monkeypatch.setattr(client.app.state.predictor, "log", None)  # type: ignore[attr-defined]
    assert client.delete(f"/labels/{UNKNOWN}/0").status_code == 503
