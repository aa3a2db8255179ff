"""Whatever is sent: an answer that says what is wrong; what is admitted is answered as offline."""

import asyncio
import dataclasses
import json
import random
import string
import time
from collections.abc import Iterator
from typing import Any

import pandas as pd
import pandera.pandas as pa
import pytest
from fastapi.testclient import TestClient
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from ml.data.contract import check
from ml.data.request import example_row, expressed, request_model
from ml.data.rows import typed_table
from ml.errors import MlError
from ml.registry.channel import Challenger
from ml.registry.versions import Registry
from ml.serving.app import create_app
from ml.serving.fast_path import MAX_ROWS_AT_ONCE
from ml.serving.loaded import LoadedVersion, Routing, ready
from tests.conftest import Site
from tests.support import PASSENGER, register

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=60)
ROW = st.fixed_dictionaries(
    {
        "PassengerId": st.integers(1, 2**63 - 1),
        "Pclass": st.sampled_from([1, 2, 3]),
        "Name": st.builds(
            lambda last, title, rest: f"{last}, {title}. {rest}",
            *[st.text(string.printable, min_size=1, max_size=20)] * 3,
        ),
        "Sex": st.sampled_from(["female", "male"]),
        "Age": st.none() | st.floats(0, 120) | st.integers(0, 120),
        "SibSp": st.integers(0, 20),
        "Parch": st.integers(0, 20),
        "Ticket": TEXT.filter(bool).map(lambda text: text[:50]),
        "Fare": st.none() | st.floats(0, 1000),
        "Cabin": st.none() | TEXT.map(lambda text: text[:50]),
        "Embarked": st.none() | st.sampled_from(["C", "Q", "S"]),
    }
)
ANYTHING = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXT
EASY = settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


@pytest.fixture(scope="module")
def client(_finished: Site, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    with pytest.MonkeyPatch.context() as monkeypatch:
        _finished.settle(monkeypatch)
        monkeypatch.setenv("ML_HOME", str(tmp_path_factory.mktemp("home")))
        monkeypatch.setenv("ML_BUILD_KEYS", str(_finished.root / "home" / "keys" / "build"))
        Registry("small").move("production", register(_finished), "deploy")
        with TestClient(create_app("small", "production"), raise_server_exceptions=False) as client:
            yield client


def champion(client: TestClient) -> LoadedVersion:
    found = client.app.state.worker.follower.routing.champion  # type: ignore[attr-defined]
    assert isinstance(found, LoadedVersion)
    return found


@EASY
@given(rows=st.lists(ROW, min_size=1, max_size=5))
def test_any_row_that_the_contract_admits_is_answered_as_offline(
    client: TestClient, rows: list[dict[str, Any]]
) -> None:
    served = champion(client)
    contract = served.bundle.request_contract
    try:
        table = check(typed_table(rows, contract), contract, "rows")
    except MlError:
        assert client.post("/predict", json=rows).status_code == 422
        return
    answer = client.post("/predict", json=rows)
    assert answer.status_code == 200, answer.text
    offline = served.bundle.predict(table)
    pd.testing.assert_frame_equal(
        pd.DataFrame(answer.json()["predictions"]), offline, check_exact=True, check_dtype=False
    )


@EASY
@given(row=ROW, name=st.sampled_from(sorted(PASSENGER)), value=ANYTHING)
def test_request_model_and_contract_admit_the_same(
    client: TestClient, row: dict[str, Any], name: str, value: Any
) -> None:
    contract = champion(client).bundle.request_contract
    assert expressed(contract)
    changed = row | {name: value}
    try:
        request_model(contract).model_validate_json(json.dumps(changed))
    except ValidationError:
        return
    check(typed_table([changed], contract), contract, "a row that the model admits")


BODIES = {
    "cut off": json.dumps(PASSENGER).encode()[:-20],
    "nested": b"[" * 50_000 + b"]" * 50_000,
    "nested objects": b'{"a":' * 20_000 + b"1" + b"}" * 20_000,
    "not a number": json.dumps(PASSENGER | {"Age": float("nan")}).encode(),
    "infinity": json.dumps(PASSENGER | {"Age": float("inf")}).encode(),
    "huge number": json.dumps(PASSENGER).encode().replace(b"34.5", b"9" * 5000),
    "huge exponent": json.dumps(PASSENGER | {"Fare": 1}).encode().replace(b'"Fare": 1', b'"Fare": 1e999999'),
    "huge id": json.dumps(PASSENGER | {"PassengerId": 2**63}).encode(),
    "utf-16": json.dumps(PASSENGER).encode("utf-16"),
    "latin-1": json.dumps(PASSENGER | {"Cabin": "é"}, ensure_ascii=False).encode("latin-1"),
    "lone surrogate": json.dumps(PASSENGER).encode().replace(b"Kelly", b"\\ud800"),
    "many fields": json.dumps(PASSENGER | {f"field {number}": 1 for number in range(10_000)}).encode(),
    "very many fields": json.dumps({f"field {number}": 1 for number in range(200_000)}).encode(),
    "very many rows": b"[" + b"{}," * 1_000_000 + b"{}]",
    "too many rows": json.dumps([PASSENGER] * 1001).encode(),
    "twice the same": json.dumps(PASSENGER).encode()[:-1] + b', "Sex": 5}',
    "bytes": bytes(random.Random(1).randbytes(10_000)),
    "nothing": b"",
}


PASSENGERS_CSV = pd.DataFrame([PASSENGER]).to_csv(index=False)


@pytest.mark.parametrize("path", ["/predict", "/feedback"])
@pytest.mark.parametrize("name", BODIES)
def test_a_broken_body_is_refused(client: TestClient, path: str, name: str) -> None:
    answer = client.post(path, content=BODIES[name])
    assert answer.status_code == 422, answer.text
    assert answer.json()["detail"] and len(answer.content) < 10_000


def test_files_come_back_in_their_own_format(client: TestClient) -> None:
    rows = [PASSENGER | {"PassengerId": number} for number in range(1, 2502)]
    lines = "\n".join(map(json.dumps, rows))
    answer = client.post("/predict/file", content=lines, headers={"Content-Type": "application/x-ndjson"})
    found = [json.loads(line) for line in answer.text.splitlines()]
    assert [one["PassengerId"] for one in found] == list(range(1, 2502))
    table = pd.DataFrame(rows).to_csv(index=False)
    answer = client.post("/predict/file", content=table, headers={"Content-Type": "text/csv; charset=utf-8"})
    assert answer.headers["content-type"].startswith("text/csv") and answer.headers["X-Model-Version"] == "1"
    assert answer.text.splitlines()[0].startswith("PassengerId,prediction,probability_0")
    assert len(answer.text.splitlines()) == 2502


@pytest.mark.parametrize(
    ("kind", "body", "status", "told"),
    [
        ("application/json", "{}", 415, "send a file of type text/csv or application/x-ndjson"),
        ("text/csv", "", 422, "is empty"),
        ("text/csv", "PassengerId,Sex\n1,male\n", 422, "column 'Pclass' is missing"),
        ("text/csv", PASSENGERS_CSV.replace("892", "9" * 400), 422, "column 'PassengerId' holds"),
        ("text/csv", PASSENGERS_CSV.replace("Kelly, Mr. James", "nobody " * 3), 422, "column 'Name'"),
        (
            "text/csv",
            ",".join(f"c{number}" for number in range(100_000)),
            422,
            "has 100,000 fields in a line",
        ),
        ("text/csv", "\n" + ",".join(f"c{number}" for number in range(30_000)), 422, "has 30,000 fields"),
        ("text/csv", PASSENGERS_CSV + "1," * 30_000 + "1\n", 422, "has 30,001 fields in a line, the"),
        ("application/x-ndjson", "", 422, "the file is empty"),
        ("application/x-ndjson", BODIES["very many fields"].decode(), 422, "199,989 names more than there"),
        ("application/x-ndjson", json.dumps(PASSENGER) + "\n{}", 422, "line 2"),
    ],
)
def test_a_broken_file_is_refused_before_anything_is_answered(
    client: TestClient, kind: str, body: str, status: int, told: str
) -> None:
    answer = client.post("/predict/file", content=body, headers={"Content-Type": kind})
    assert answer.status_code == status and told in json.dumps(answer.json())
    assert "nobody" not in answer.text, "names are personal"


def test_a_file_with_line_ends_of_old_is_answered(client: TestClient) -> None:
    body = PASSENGERS_CSV.replace("\n", "\r")
    answer = client.post("/predict/file", content=body, headers={"Content-Type": "text/csv"})
    assert answer.status_code == 200 and len(answer.text.splitlines()) == 2


def test_labels_are_taken_and_counted_for_the_version_that_answered(client: TestClient) -> None:
    answer = client.post("/predict", json=[PASSENGER, PASSENGER]).json()
    said = answer["predictions"][0]["prediction"]
    given_labels = [
        {"request_id": answer["request_id"], "row": 0, "label": said},
        {"request_id": answer["request_id"], "row": 1, "label": 1 - said},
    ]
    assert client.post("/feedback", json=given_labels).json() == {"accepted": 2}
    for _ in range(100):
        time.sleep(0.1)
        metrics = client.get("/metrics").text
        if 'outcome="wrong"' in metrics and 'outcome="right"' in metrics:
            break
    assert 'ml_feedback_total{outcome="right",version="1"} 1.0' in metrics
    assert 'ml_feedback_total{outcome="wrong",version="1"} 1.0' in metrics
    for wrong in ({"label": 2}, {"label": "x"}, {"label": None}, {"label": True}):
        about = {"request_id": answer["request_id"]}
        assert client.post("/feedback", json=about | wrong).status_code == 422
    later = {"request_id": answer["request_id"], "label": 1, "at": "2099-01-01T00:00:00Z"}
    refused = client.post("/feedback", json=later)
    assert refused.status_code == 422 and "it has not come true yet" in refused.text
    refused = client.post("/feedback", json=later | {"at": "0001-01-01T00:00:00+14:00"})
    assert refused.status_code == 422 and "no service answered before 1970" in refused.text


def test_the_example_of_the_documentation_is_answered(client: TestClient) -> None:
    document = client.get("/openapi.json").json()
    example = document["paths"]["/predict"]["post"]["requestBody"]["content"]["application/json"]["examples"]
    assert client.post("/predict", json=example["one row"]["value"]).status_code == 200
    prediction = document["components"]["schemas"]["Prediction"]
    assert prediction["properties"]["probability_1"] == {"type": "number"}
    contract = champion(client).bundle.request_contract
    assert example["one row"]["value"] == example_row(contract)


@pytest.mark.parametrize(
    ("column", "example"),
    [
        (pa.Column(float, pa.Check.in_range(200, 400), nullable=True), None),
        (pa.Column(float, [pa.Check.ge(200), pa.Check.le(400)], nullable=True), 300.0),
        (pa.Column(float, [pa.Check.ge(0), pa.Check.le(7.77777e-6)]), 3.89e-6),
        (pa.Column(float, [pa.Check.gt(1e6), pa.Check.lt(1e6 + 1)]), 1e6 + 0.5),
        (pa.Column(int, [pa.Check.ge(0), pa.Check.le(14)]), 7),
        (pa.Column(int, pa.Check.ge(3)), 3),
        (pa.Column("Int64", nullable=True), None),
        (pa.Column(float, [pa.Check.ge(0), pa.Check.le(9)], metadata={"example": 8.0}), 8.0),
    ],
)
def test_the_example_is_the_middle_of_the_range_unless_one_is_declared(column: Any, example: Any) -> None:
    row = example_row(pa.DataFrameSchema({"x": column}))
    assert row == {"x": example} and row is not None and type(row["x"]) is type(example)


@pytest.fixture
def service(client: TestClient) -> Iterator[Any]:
    """Return what the endpoints share, for as long as it does not follow its channel."""
    shared = client.app.state.worker  # type: ignore[attr-defined]
    before, shared.follows = shared.follower.routing, False
    yield shared
    shared.follower.routing, shared.follows = before, True


def test_a_full_queue_is_told_at_once_and_a_slow_sender_is_cut_off(
    client: TestClient, service: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service.batcher, "waiting_rows", 10**6)
    assert client.post("/predict", json=PASSENGER).status_code == 200, "a few rows wait for nobody"
    answer = client.post("/predict", json=[PASSENGER] * (MAX_ROWS_AT_ONCE + 1))
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "1")
    assert "ml_shed_total" in client.get("/metrics").text
    monkeypatch.setattr("ml.serving.app.BODY_SECONDS", 0.05)
    sent: list[Any] = []

    async def ask() -> None:
        async def receive() -> dict[str, Any]:
            await asyncio.sleep(5)
            return {"type": "http.request", "body": b"{", "more_body": True}

        async def send(message: dict[str, Any]) -> None:
            sent.append(message)

        scope = {"type": "http", "method": "POST", "path": "/predict", "headers": [], "query_string": b""}
        scope |= {"http_version": "1.1", "scheme": "http", "root_path": ""}
        await client.app(scope, receive, send)  # type: ignore[arg-type]

    asyncio.run(ask())
    assert sent[0]["status"] == 408


def with_candidate(service: Any, share: float) -> None:
    champion = service.follower.routing.champion
    candidate = dataclasses.replace(champion, version=2)
    service.follower.routing = Routing(champion, candidate, Challenger(2, share, float("inf")))


def test_a_canary_answers_its_share_and_always_the_same_keys(client: TestClient, service: Any) -> None:
    with_candidate(service, 0.3)
    keys = [str(number) for number in range(60)]

    def ask(key: str) -> int:
        return int(client.post("/predict", json=PASSENGER, headers={"X-Request-Key": key}).json()["version"])

    first = [ask(key) for key in keys]
    assert first == [ask(key) for key in keys]
    assert 5 < first.count(2) < 35
    by_row = {client.post("/predict", json=PASSENGER).json()["version"] for _ in range(5)}
    assert len(by_row) == 1, "without a key, the row's id decides"


def test_a_candidate_that_fails_is_counted_and_the_champion_answers(
    client: TestClient, service: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    work = LoadedVersion.answer

    def answer(self: LoadedVersion, rows: list[Any]) -> list[dict[str, Any]]:
        if self.version == 2:
            raise RuntimeError("broken")
        return work(self, rows)

    monkeypatch.setattr(LoadedVersion, "answer_at_once", lambda *_: None)
    monkeypatch.setattr(LoadedVersion, "answer", answer)
    with_candidate(service, 0.999999)
    response = client.post("/predict", json=PASSENGER)
    assert (response.status_code, response.json()["version"]) == (200, 1)
    assert 'ml_answers_total{outcome="failed",version="2"}' in client.get("/metrics").text
    service.follower.routing = Routing(dataclasses.replace(service.follower.routing.champion, version=2))
    assert client.post("/predict", json=PASSENGER).status_code == 500


def test_a_shadow_is_scored_and_compared_and_never_answers(client: TestClient, service: Any) -> None:
    with_candidate(service, 0.0)
    before = count_of(client, "ml_pairs_total")
    answered = [client.post("/predict", json=PASSENGER).json()["version"] for _ in range(5)]
    assert set(answered) == {1}
    wait_for_count(client, "ml_pairs_total", before + 5)


def count_of(client: TestClient, name: str) -> float:
    """Return the sum of the counters of version 2 whose name begins like this."""
    lines = [line for line in client.get("/metrics").text.splitlines() if line.startswith(name)]
    return sum(float(line.split()[-1]) for line in lines if 'version="2"' in line)


def wait_for_count(client: TestClient, name: str, count: float) -> None:
    for _ in range(100):
        if count_of(client, name) == count:
            break
        time.sleep(0.05)
    assert count_of(client, name) == count


def test_what_a_canary_answers_the_champion_scores_too(client: TestClient, service: Any) -> None:
    with_candidate(service, 0.999999)
    time.sleep(0.2)  # what the tests before left to compare
    before = count_of(client, "ml_pairs_total")
    assert client.post("/predict", json=PASSENGER).json()["version"] == 2
    wait_for_count(client, "ml_pairs_total", before + 1)


def with_another_contract(service: Any, share: float, contract: Any) -> None:
    champion = service.follower.routing.champion
    candidate = ready(2, dataclasses.replace(champion.bundle, contract=contract))
    service.follower.routing = Routing(champion, candidate, Challenger(2, share, float("inf")))


@pytest.mark.parametrize("share", [0.0, 0.999999])
def test_a_new_column_is_for_the_candidate_and_the_champion_lets_it_pass(
    client: TestClient, service: Any, share: float
) -> None:
    before = service.follower.routing
    contract = before.champion.bundle.contract.add_columns({"Deck": pa.Column(str, nullable=True)})
    with_another_contract(service, share, contract)
    for row in (PASSENGER | {"Deck": "A"}, PASSENGER):
        response = client.post("/predict", json=[row])
        assert response.status_code == 200, response.text
        assert response.json()["version"] == (2 if share else 1)
    lines = json.dumps(PASSENGER | {"Deck": "A"}).encode()
    headers = {"Content-Type": "application/x-ndjson"}
    assert client.post("/predict/file", content=lines, headers=headers).status_code == 200
    assert client.post("/predict", json=PASSENGER | {"Dekc": "A"}).status_code == 422
    assert client.post("/predict", content=b'{"Deck": NaN}').status_code == 422
    service.follower.routing = before
    assert client.post("/predict", json=PASSENGER | {"Deck": "A"}).status_code == 422, "no trial, no grace"


@pytest.mark.parametrize("share", [0.0, 0.999999])
def test_a_candidate_that_refuses_what_clients_send_is_counted_and_tells_why(
    client: TestClient, service: Any, share: float
) -> None:
    contract = service.follower.routing.champion.bundle.contract
    with_another_contract(service, share, contract.remove_columns(["Cabin"]))
    counted = 'ml_answers_total{outcome="failed"'
    before = count_of(client, counted)
    response = client.post("/predict", json=PASSENGER)
    assert (response.status_code, response.json()["version"]) == (200, 1)
    wait_for_count(client, counted, before + 1)
    trouble = client.app.state.predictor.trouble  # type: ignore[attr-defined]
    assert "Cabin: Extra inputs are not permitted" in trouble["2"]


def test_a_path_that_is_none_leads_nowhere_else(client: TestClient) -> None:
    found = client.post("/predict/", json=PASSENGER, headers={"Host": "elsewhere"}, follow_redirects=False)
    assert found.status_code == 404
