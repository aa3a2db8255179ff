"""Telling people: once a state, to whom it concerns, by mail and web hook, and never what an address is."""

import json
from collections.abc import Iterator
from email import message_from_bytes
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from aiosmtpd.controller import Controller

from ml import notify
from ml.errors import GateRefused, MlError
from ml.project import find_project
from ml.records import Look, parse
from ml.serving.service import free_port
from tests.conftest import Site
from tests.support import answering

NOTIFY = '[notify]\nteam = ["TEAM"]\ndata_owner = ["OWNER"]\n\n[channels]'


@pytest.fixture
def told(site: Site, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Return the titles that a web hook of the team gets."""
    site.edit("project.toml", "[channels]", NOTIFY)
    titles: list[str] = []

    class Hook(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            content = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            titles.append(f"{self.path[1:]}: {content['title']}")
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            """Say nothing."""

    with answering(ThreadingHTTPServer(("127.0.0.1", 0), Hook)) as server:
        monkeypatch.setenv("TEAM", f"json://127.0.0.1:{server.server_port}/team")
        monkeypatch.setenv("OWNER", f"json://127.0.0.1:{server.server_port}/owner")
        yield titles


def look(cause: str, ends: float = 0.0) -> Look:
    """Return a look that found a cause."""
    own = {"stage": "monitor", "inputs": {}, "outputs": {}, "finished": "", "seconds": 0.0}
    about = {"project": "small", "channel": "production", "version": 1, "begins": 0.0, "ends": ends}
    return parse(Look, {**own, **about, "cause": cause}, "a look")


def test_a_stage_that_fails_is_told_once_until_it_is_well_again(site: Site, told: list[str]) -> None:
    site.edit("project.toml", 'kind = "csv"', 'kind = "csv"\nrows = { labelled = 5 }')
    for _ in range(2):
        assert site.ml("data") == 1
    assert told == ["team: small: data failed"]
    project = find_project("small")
    notify.tell_failure(project, "production", "quality", GateRefused("floor: roc_auc 0.5 < 0.8"))
    notify.tell_deployed(project, "production")
    notify.tell_deployed(project, "production")
    assert told[1:] == ["team: small: quality refused", "team: small: the pipeline is well again"]


def test_a_cause_is_told_once_and_a_broken_feed_to_the_owner_of_the_data_too(
    told: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    project = find_project("small")
    for cause in ("nothing", "drift", "drift", "nothing", "drift", "broken feed", "broken feed"):
        notify.tell_look(project, look(cause), ["why"])
    assert told == ["team: small: drift", "team: small: broken feed", "owner: small: broken feed"]
    monkeypatch.setattr(notify, "WELL_AGAIN_SECONDS", 0.0)
    notify.tell_look(project, look("nothing"), [])
    assert told[3:] == [f"{who}: small: production is well again" for who in ("team", "owner")]
    notify.tell_look(project, look("drift"), [])
    notify.tell_look(project, look("nothing"), [])
    assert told[5:] == ["team: small: drift", "team: small: production is well again"]


def test_a_build_that_waits_for_an_approval_is_told_of(
    site: Site, told: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    site.edit("project.toml", "production = 8000", "production = { port = 8000, approval = true }")
    assert site.ml("approval") == 0 and told == [], "without Jenkins nobody waits"
    for number in (7, 7, 8):
        monkeypatch.setenv("BUILD_TAG", f"jenkins-small-{number}")
        assert site.ml("approval") == 0
    assert told == ["team: small: deploy waits for an approval"] * 2


def test_a_build_that_died_is_told_once(told: list[str]) -> None:
    project, found = find_project("small"), look("nothing").model_copy(update={"died": "build 7 died"})
    for _ in range(2):
        notify.tell_look(project, found, [])
    notify.tell_deployed(project, "production")
    assert told == ["team: small: a build died", "team: small: the pipeline is well again"]


def test_mail_is_sent(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    site.edit("project.toml", "[channels]", NOTIFY)
    received: list[Any] = []

    class Sink:
        async def handle_DATA(self, _: Any, __: Any, envelope: Any) -> str:
            received.append(envelope)
            return "250 OK"

    controller = Controller(Sink(), hostname="127.0.0.1", port=free_port())
    controller.start()
    to = f"mailto://127.0.0.1:{controller.port}/?from=jenkins@example.org&to=team@example.org"
    monkeypatch.setenv("TEAM", to)
    try:
        lines = ["concept (9 answers)", "a row costs 0.7 where it cost 0.5: 3 >= 2"]
        notify.tell_look(find_project("small"), look("concept"), lines)
    finally:
        controller.stop()
    assert received[0].rcpt_tos == ["team@example.org"]
    message = message_from_bytes(received[0].content)
    assert message["Subject"] == "small: concept"
    assert not message.is_multipart() and message.get_content_type() == "text/plain"
    body = message.get_payload(decode=True).decode().splitlines()  # type: ignore[union-attr]
    assert body[:2] == ["concept (9 answers)", "a row costs 0.7 where it cost 0.5: 3 >= 2"]


@pytest.mark.parametrize(
    ("address", "problem"),
    [
        (None, "the variable TEAM, which project.toml names, is not set"),
        ("nonsense", "what TEAM holds is no address"),
        ("json://user:secret@127.0.0.1:1/", "the message to TEAM could not be sent"),
    ],
)
def test_what_cannot_be_sent_is_said_without_the_address_and_tried_again(
    site: Site,
    told: list[str],
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    address: str | None,
    problem: str,
) -> None:
    with monkeypatch.context() as broken:
        broken.delenv("TEAM") if address is None else broken.setenv("TEAM", address)
        notify.tell_failure(find_project("small"), "production", "train", MlError("out of memory"))
    said = capfd.readouterr().err
    assert problem in said
    assert "secret" not in said
    notify.tell_failure(find_project("small"), "production", "train", MlError("out of memory"))
    assert told == ["team: small: train failed"]


def test_while_the_store_is_away_a_state_is_told_once_and_then_that_all_is_well(
    site: Site, told: list[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    project = find_project("small")
    (tmp_path / "file").write_text("")
    with monkeypatch.context() as away:
        away.setenv("ML_STORE", f"sqlite:///{tmp_path / 'file' / 'store.sqlite'}")
        for _ in range(3):
            notify.tell_failure(project, "production", "monitor", MlError("the store cannot be looked into"))
        notify.tell_deployed(project, "production")
    assert told == ["team: small: monitor failed"]
    for _ in range(2):
        notify.tell_look(project, look("nothing"), [])
    assert told[1:] == ["team: small: the monitor is well again"]
    notify.tell_failure(project, "production", "monitor", MlError("again"))
    assert told[2:] == ["team: small: monitor failed"]


def test_what_could_not_be_sent_while_the_store_is_away_is_tried_again(
    told: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ML_STORE", "off")
    project = find_project("small")
    with monkeypatch.context() as broken:
        broken.delenv("TEAM")
        notify.tell_failure(project, "production", "train", MlError("out of memory"))
    for _ in range(2):
        notify.tell_failure(project, "production", "train", MlError("out of memory"))
    assert told == ["team: small: train failed"]


def test_without_a_store_it_is_told_all_the_same(
    told: list[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("ML_STORE", f"sqlite:///{tmp_path / 'file' / 'store.sqlite'}")
    notify.tell_failure(find_project("small"), "production", "train", MlError("out of memory"))
    assert told == ["team: small: train failed"]
