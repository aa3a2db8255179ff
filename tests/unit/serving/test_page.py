"""The page for people: the fields of the contract, an answer as of /predict, no trace of what was tried."""

import base64
import dataclasses
import hashlib
import html
import re
import sqlite3
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlencode

import pandera.pandas as pa
import pytest
from fastapi.testclient import TestClient

from ml.registry.channel import Challenger
from ml.registry.versions import Registry
from ml.serving.app import create_app
from ml.serving.contributions import Contributions
from ml.serving.figures import figure
from ml.serving.form import MAX_FORM_BYTES, PREFIX, Field, example_fields, row_of, typed_fields
from ml.serving.loaded import LoadedVersion, Routing, ready
from ml.serving.page import About, Said, Tried, try_page
from tests.conftest import Site
from tests.support import PASSENGER, register

KEY = "a key that opens"
HOSTILE = "<script>alert(1)</script>\"'&"
FORM = {"Content-Type": "application/x-www-form-urlencoded"}


@pytest.fixture
def client(built: Site) -> Iterator[TestClient]:
    Registry("small").move("production", register(built), "deploy")
    with TestClient(create_app("small", "production")) as client:
        yield client


def form(row: dict[str, Any], **more: str) -> str:
    """Return a row as a browser sends the form."""
    return urlencode({PREFIX + name: "" if value is None else value for name, value in row.items()} | more)


def tried(client: TestClient, row: dict[str, Any], **more: str) -> tuple[int, str]:
    answer = client.post("/try", content=form(row, **more), headers=FORM)
    return answer.status_code, answer.text


def control(page: str, name: str) -> str:
    """Return the HTML of a field with all that is told of it."""
    [found] = [one for one in page.split('<div class="field') if f'name="{PREFIX}{name}"' in one]
    return found


def figures(page: str) -> list[str]:
    """Return the values of the answer: the prediction, the probabilities, then the parts."""
    return [html.unescape(value) for value in re.findall(r'<data value="([^"]*)">', page)]


def loaded(client: TestClient) -> LoadedVersion:
    champion = client.app.state.worker.follower.routing.champion  # type: ignore[attr-defined]
    assert isinstance(champion, LoadedVersion)
    return champion


def test_the_form_has_the_fields_of_the_contract_filled_with_the_example_of_the_documentation(
    client: TestClient,
) -> None:
    page = client.get("/").text
    examples = client.get("/openapi.json").json()["paths"]["/predict"]["post"]["requestBody"]["content"]
    row = examples["application/json"]["examples"]["one row"]["value"]
    assert row_of(example_fields(loaded(client))) == {key: row[key] for key in row if row[key] is not None}
    assert re.findall(rf'name="{PREFIX}(\w+)"', page) == list(PASSENGER)

    age, sex, pclass = (control(page, name) for name in ("Age", "Sex", "Pclass"))
    assert 'type="number" step="any" min="0' in age and "years · 0 to 120 · may be empty" in age
    assert "required" not in age
    assert re.findall(r'<option value="(\w*)"', sex) == ["female", "male"] and "required" in sex
    assert re.findall(r'<option value="(\w*)"', pclass) == ["1", "2", "3"]
    assert re.findall(r'<option value="(\w*)"', control(page, "Embarked")) == ["", "C", "Q", "S"]
    assert 'step="1"' in control(page, "SibSp") and "max=" not in control(page, "PassengerId")
    assert 'value="Brown, Mrs. Margaret"' in control(page, "Name") and "personal" in control(page, "Name")


def test_a_row_is_answered_as_predict_answers_it_with_what_drove_it(client: TestClient) -> None:
    [said] = client.post("/predict", json=PASSENGER).json()["predictions"]
    status, page = tried(client, PASSENGER)
    prediction, no, yes, *parts = figures(page)
    assert status == 200 and prediction == str(said["prediction"])
    assert (float(no), float(yes)) == (said["probability_0"], said["probability_1"])
    assert len(parts) >= 3 and ("Exact: " in page) != ("One field at a time: " in page)
    assert "Without effect on it: PassengerId, Ticket, Cabin." in page
    assert 'value="Kelly, Mr. James"' in control(page, "Name"), "what was typed is kept"


@pytest.mark.parametrize(
    ("changed", "column", "problem"),
    [
        ({"Age": "old"}, "Age", "Input should be a valid number"),
        ({"Age": "1e999"}, "Age", "Input should be a valid number"),
        ({"Age": "121"}, "Age", "Input should be less than or equal to 120"),
        ({"SibSp": "1.5"}, "SibSp", "Input should be a valid integer"),
        ({"SibSp": ""}, "SibSp", "Field required"),
        ({"Sex": HOSTILE}, "Sex", "Input should be 'female' or 'male'"),
        ({"Pclass": "4"}, "Pclass", "Input should be one of 1, 2, 3"),
        ({"Name": HOSTILE}, "Name", "String should match pattern"),
    ],
)
def test_a_broken_row_keeps_what_was_typed_and_has_the_message_at_its_field(
    client: TestClient, changed: dict[str, str], column: str, problem: str
) -> None:
    status, page = tried(client, PASSENGER | changed)
    field = control(page, column)
    assert status == 422 and problem in html.unescape(field)
    assert f'value="{html.escape(changed[column])}"' in field
    assert page.count('class="problem"') == 2, "one at the field, one that says where to look"
    assert 'class="said"' not in page


@pytest.mark.parametrize("body", [b"\xff=1", b"a=%ff", b"&".join(b"a=1" for _ in range(99)), b"{}", b""])
def test_what_the_form_never_sends_is_refused_on_a_page(client: TestClient, body: bytes) -> None:
    answer = client.post("/try", content=body, headers=FORM)
    assert answer.status_code == 422 and 'class="problem"' in answer.text


def test_a_huge_form_is_refused_on_a_page(client: TestClient) -> None:
    answer = client.post("/try", content=b"a" * (MAX_FORM_BYTES + 1), headers=FORM)
    assert answer.status_code == 413 and "is larger than" in answer.text


def test_what_is_tried_is_counted_as_a_request_and_leaves_no_other_trace(
    client: TestClient, built: Site
) -> None:
    champion = loaded(client)
    follower = client.app.state.worker.follower  # type: ignore[attr-defined]
    challenger = Challenger(version=2, share=0.0, until=2e9)
    candidate = ready(2, dataclasses.replace(champion.bundle))
    follower.routing = Routing(champion, candidate, challenger)
    for changed in ({}, {"Age": "old"}):
        tried(client, PASSENGER | changed)
    follower.routing = Routing(champion)
    client.post("/predict", json=PASSENGER | {"PassengerId": 4711})
    metrics = client.get("/metrics").text
    client.app.state.predictor.log.close()  # type: ignore[attr-defined]

    assert 'ml_requests_total{method="POST",path="/try",status="200"} 1.0' in metrics
    assert 'ml_requests_total{method="POST",path="/try",status="422"} 1.0' in metrics
    assert (
        "ml_predicted_rows_total 1.0" in metrics
        and 'ml_answers_total{outcome="ok",version="1"} 1.0' in metrics
    )
    assert 'version="2"' not in metrics and "ml_pairs_total{" not in metrics
    [database] = built.root.rglob("*.sqlite")
    with sqlite3.connect(database) as log:
        rows = log.execute("select * from predictions").fetchall()
        assert len(rows) == 1 and "4711" in str(rows)
        assert log.execute("select count(*) from compared").fetchone() == (0,)


def test_nothing_may_run_on_the_page_or_be_fetched_and_nobody_frames_or_keeps_it(client: TestClient) -> None:
    pages = [client.get("/"), client.post("/try", content=form(PASSENGER), headers=FORM)]
    for answer in pages:
        policy = dict(one.split(" ", 1) for one in answer.headers["content-security-policy"].split("; "))
        [style] = re.findall(r"(?s)<style>(.*?)</style>", answer.text)
        digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
        assert policy == {
            "default-src": "'none'",
            "style-src": f"'sha256-{digest}'",
            "form-action": "'self'",
            "img-src": "'self' data:",
            "frame-ancestors": "'none'",
            "base-uri": "'none'",
        }
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["cache-control"] == "no-store"
        assert "<script" not in answer.text and "style=" not in answer.text and "http" not in answer.text


def test_a_hostile_contract_and_row_are_shown_as_text(client: TestClient) -> None:
    champion = loaded(client)
    hostile = pa.Column(
        str,
        pa.Check.isin([HOSTILE, "</option>"]),
        title=f"T{HOSTILE}",
        description=f"D{HOSTILE}",
        metadata={"example": "</option>"},
    )
    contract = pa.DataFrameSchema({f"C{HOSTILE}": hostile, "Survived": pa.Column(int)})
    bundle = dataclasses.replace(champion.bundle, contract=contract)
    fields = typed_fields(ready(1, bundle), {f"{PREFIX}C{HOSTILE}": f"V{HOSTILE}"})
    about = About(f"P{HOSTILE}", f"N{HOSTILE}", 1, f"S{HOSTILE}", needs_key=False, has_report=True)
    page = try_page(about, fields, Said(problem=HOSTILE, key_problem=HOSTILE))
    assert "<script" not in page and page.count(html.escape(HOSTILE)) >= 9
    assert page.count("</option>") == 3 and html.escape("</option>") in page


def test_the_report_is_sent_as_it_was_signed_and_nothing_in_it_runs(client: TestClient, built: Site) -> None:
    assert 'href="report"' in client.get("/").text
    answer = client.get("/report")
    assert answer.content == (built.build / "quality" / "report.html").read_bytes()
    policy = answer.headers["content-security-policy"]
    assert policy.startswith("default-src 'none'; ") and "sandbox" in policy and "script" not in policy
    assert answer.headers["x-content-type-options"] == "nosniff"

    report = Registry("small").folder(1) / "quality" / "report.html"
    report.write_bytes(report.read_bytes() + b"<p>and more</p>")
    assert client.get("/report").status_code == 503
    assert "is not what was signed" in client.get("/report").json()["detail"]


def test_a_version_without_a_report_says_so(built: Site) -> None:
    (built.build / "quality" / "report.html").unlink()
    Registry("small").move("production", register(built), "deploy")
    with TestClient(create_app("small", "production")) as client:
        assert 'href="report"' not in client.get("/").text
        assert client.get("/report").status_code == 404
        assert client.get("/report").json() == {"detail": "version 1 carries no report (quality/report.html)"}


def test_with_keys_set_the_page_answers_only_who_types_one_and_never_repeats_it(
    built: Site, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (built.root / "keys.txt").write_text(hashlib.sha256(KEY.encode()).hexdigest())
    monkeypatch.setenv("ML_API_KEYS", str(built.root / "keys.txt"))
    Registry("small").move("production", register(built), "deploy")
    with TestClient(create_app("small", "production")) as client:
        page = client.get("/").text
        assert (
            'type="password" name="key"' in page
            and 'href="report"' not in page
            and 'href="model"' not in page
        )
        for more, status in (({}, 401), ({"key": "another"}, 401), ({"key": ""}, 401), ({"key": KEY}, 200)):
            got, page = tried(client, PASSENGER, **more)
            assert got == status and (status == 200) == ('class="said"' in page)
            assert KEY not in page and "another<" not in page and 'value="another"' not in page
            assert 'value="Kelly, Mr. James"' in page, "what was typed is kept"
        assert client.get("/report").status_code == 401
        assert client.get("/report", headers={"X-API-Key": KEY}).status_code == 200
    assert KEY not in capsys.readouterr().out


def test_without_a_model_the_page_says_so_in_plain_words(site: Site) -> None:
    with TestClient(create_app("small", "production")) as client:
        for answer in (client.get("/"), client.post("/try", content=form(PASSENGER), headers=FORM)):
            assert answer.status_code == 503 and answer.headers["retry-after"] == "1"
            assert "serves no model: deploy one" in answer.text and "<form" not in answer.text
        assert client.get("/report").status_code == 503


def test_a_model_that_fails_or_is_overrun_is_told_on_the_page(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as broken:
        broken.setattr(LoadedVersion, "answer", lambda *_: 1 / 0)
        assert tried(client, PASSENGER)[0] == 500
    batcher = client.app.state.predictor.batcher  # type: ignore[attr-defined]
    batcher.waiting_rows = batcher.max_waiting
    status, page = tried(client, PASSENGER)
    assert status == 503 and "too many requests wait already" in page


def test_who_reloads_the_answer_comes_back_to_the_form(client: TestClient) -> None:
    answer = client.get("/try", follow_redirects=False)
    assert (answer.status_code, answer.headers["location"]) == (303, ".")


@pytest.mark.parametrize(
    ("value", "told"),
    [
        (3716980.42, "3,716,980"),
        (-12345.678, "−12,345.7"),
        (1912.0, "1912"),
        (0.25, "0.25"),
        (0.0, "0"),
        (6.01333e-15, "6.01333e−15"),
        (1.5e13, "1.5e13"),
    ],
)
def test_numbers_are_told_for_people(value: float, told: str) -> None:
    assert figure(value) == told


@pytest.mark.parametrize(
    ("total", "part", "told"),
    [
        (6.01333e-15, 9.77e-16, ["6.01333e−15", "+0.977e−15", "from 5.036e−15", "to 6.013e−15"]),
        (3716980.42, -1234567.8, ["3,716,980", "−1,234,568", "from 4,951,548"]),
        (2.5e14, 1e14, ["2.5e14", "+1.00e14", "from 1.50e14"]),
        (22.5, 1.25, ["22.5", "+1.25", "from 21.25, the mean"]),
    ],
)
def test_what_drove_an_answer_is_told_on_the_scale_of_the_answer(
    total: float, part: float, told: list[str]
) -> None:
    field = Field("x", "x", "", "number", (), 0.0, 1.5e13, None, nullable=False, personal=False, value="1")
    drivers = Contributions("prediction", total, total - part, 10, {"x": part}, exact=True)
    about = About("P", "production", 1, "y", needs_key=False, has_report=False)
    page = try_page(about, [field], Said(Tried({"prediction": total}, drivers)))
    assert [one for one in told if one not in page] == [] and "0 to 1.5e13" in page
