"""Tables from a web server that answers late, wrong, in part or not at all."""

import ssl
import subprocess
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from ml import locations
from ml.data.sources import url
from ml.data.sources.interface import Asked, SourceAway
from ml.errors import MlError
from ml.source_settings import UrlSource
from tests.support import answering

CONTENT = b"id,size\n1,2\n2,3\n"
SHA256 = "0" * 64


class Server(ThreadingHTTPServer):
    """Answers as the test says, and notes what it was asked."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.answers: list[tuple[int, dict[str, str], bytes]] = []
        self.asked: list[dict[str, str]] = []
        self.delay = 0.0
        self.address = f"http://127.0.0.1:{self.server_port}"


class Handler(BaseHTTPRequestHandler):
    """Takes the next answer, or the last one again."""

    server: Server

    def do_GET(self) -> None:
        self.server.asked.append(dict(self.headers))
        answers = self.server.answers
        code, headers, body = answers.pop(0) if len(answers) > 1 else answers[0]
        if headers.get("ETag") and self.headers.get("If-None-Match") == headers["ETag"]:
            code, body = 304, b""
        self.send_response(code)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        for start in range(0, len(body), 8):
            self.wfile.write(body[start : start + 8])
            self.wfile.flush()
            time.sleep(self.server.delay)

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("ML_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(url, "FIRST_PAUSE_SECONDS", 0.01)
    with answering(Server()) as found:
        yield found


def read(server: Server, tmp_path: Path, path: str = "/t.csv", **settings: Any) -> pd.DataFrame:
    source = UrlSource(kind="url", labelled=server.address + path, **settings)
    asked = Asked("p", tmp_path, tmp_path, source.labelled)
    return pd.concat(list(url.read(source, asked)))


def test_an_unchanged_file_is_not_fetched_again(
    server: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    server.answers = [(200, {"ETag": '"1"'}, CONTENT)]
    assert len(read(server, tmp_path)) == 2
    assert read(server, tmp_path)["size"].tolist() == [2, 3]
    assert server.asked[1]["If-None-Match"] == '"1"'
    assert "is unchanged since the last download" in capsys.readouterr().err
    [kept] = (tmp_path / "home" / "downloads").glob("*.csv")
    kept.write_bytes(b"id,size\n9,9\n")
    assert read(server, tmp_path)["size"].tolist() == [2, 3], "what was altered here is fetched again"


def test_a_server_that_stumbles_is_asked_again(server: Server, tmp_path: Path) -> None:
    short = (200, {"Content-Length": "99"}, CONTENT)
    server.answers = [(503, {}, b""), (500, {}, b""), short, (200, {}, CONTENT)]
    assert len(read(server, tmp_path)) == 2
    assert len(server.asked) == 4


def test_a_server_that_does_not_answer_is_away(server: Server, tmp_path: Path) -> None:
    server.answers = [(503, {}, b"")]
    with pytest.raises(SourceAway, match=r"/t.csv: the server answers 503"):
        read(server, tmp_path, retries=2)
    assert len(server.asked) == 3
    server.server_close()
    with pytest.raises(SourceAway, match="refused|reset"):
        read(server, tmp_path, retries=0)


@pytest.mark.parametrize(
    ("answer", "settings", "told"),
    [
        ((404, {}, b""), {}, "the server answers 404"),
        ((403, {}, b""), {}, "answers 403: is the token right"),
        ((200, {"Content-Type": "text/html; charset=utf-8"}, b"<html>"), {}, "a web page, not a table"),
        ((200, {}, CONTENT), {"max_bytes": 10}, "more than 10 bytes came"),
        ((200, {}, CONTENT), {"sha256": {"labelled": SHA256}}, "was changed: its sha256 is"),
        ((200, {}, b"id,size\n1\n2,3\n"), {}, "has 1 fields, the header has 2"),
    ],
)
def test_an_answer_that_is_no_table_is_refused_at_once(
    server: Server, tmp_path: Path, answer: Any, settings: dict[str, Any], told: str
) -> None:
    server.answers = [answer]
    with pytest.raises(MlError, match=told):
        read(server, tmp_path, **settings)
    assert len(server.asked) == 1
    assert not list((tmp_path / "home").rglob(".*"))


def test_a_slow_server_is_given_up(server: Server, tmp_path: Path) -> None:
    server.answers, server.delay = [(200, {}, CONTENT * 50)], 0.05
    started = time.monotonic()
    with pytest.raises(SourceAway, match="the time was over|timed out"):
        read(server, tmp_path, max_seconds=0.3, retries=0)
    assert time.monotonic() - started < 10


def test_a_token_is_sent_and_never_shown_nor_carried_elsewhere(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TABLE_TOKEN", "open-sesame")
    with answering(Server()) as other:
        other.answers = [(200, {}, CONTENT)]
        elsewhere = other.address.replace("127.0.0.1", "localhost") + "/t.csv"
        server.answers = [(302, {"Location": elsewhere}, b"")]
        assert len(read(server, tmp_path, token_from="TABLE_TOKEN")) == 2
        assert server.asked[0]["Authorization"] == "Bearer open-sesame"
        assert "Authorization" not in other.asked[0]
    kept = b"".join(file.read_bytes() for file in (tmp_path / "home").rglob("*") if file.is_file())
    assert b"open-sesame" not in kept
    source = UrlSource(kind="url", labelled="http://example.org/t.csv", token_from="TABLE_TOKEN")
    with pytest.raises(MlError, match="a token is sent by https only"):
        list(url.read(source, Asked("p", tmp_path, tmp_path, source.labelled)))
    monkeypatch.delenv("TABLE_TOKEN")
    with pytest.raises(MlError, match="TABLE_TOKEN, which project.toml names under its source, is not set"):
        read(server, tmp_path, token_from="TABLE_TOKEN")


def test_what_a_query_string_holds_is_not_told(server: Server, tmp_path: Path) -> None:
    server.answers = [(404, {}, b"")]
    with pytest.raises(MlError) as caught:
        read(server, tmp_path, "/t.csv?key=open-sesame")
    assert "open-sesame" not in str(caught.value)


def test_how_to_read_it_is_said_where_the_address_does_not(server: Server, tmp_path: Path) -> None:
    server.answers = [(200, {}, CONTENT)]
    assert len(read(server, tmp_path, "/export?day=1", file_type=".csv")) == 2
    with pytest.raises(MlError, match=r'say file_type = ".csv"'):
        read(server, tmp_path, "/export?day=1")


def test_a_server_that_is_down_is_told_when_it_is_asked_for_size_and_age(
    server: Server, tmp_path: Path
) -> None:
    source = UrlSource(kind="url", labelled=server.address + "/t.csv")
    asked = Asked("p", tmp_path, tmp_path, source.labelled)
    dated = {"Last-Modified": "Wed, 25 Nov 2026 08:00:00 GMT"}
    server.answers = [(200, dated, CONTENT)]
    assert url.size(source, asked) == f"{len(CONTENT)} bytes"
    when = url.delivered(source, asked)
    assert when and when.isoformat() == "2026-11-25T08:00:00+00:00"
    server.answers = [(503, {}, b"")]
    for ask in (url.size, url.delivered):
        with pytest.raises(SourceAway, match="/t.csv: the server answers 503"):
            ask(source, asked)


@pytest.mark.parametrize("token", ["open\nsesame", "open-sésame"])
def test_a_token_that_no_header_can_hold_is_refused_and_not_told(
    server: Server,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    token: str,
) -> None:
    monkeypatch.setenv("TABLE_TOKEN", token)
    server.answers = [(200, {}, CONTENT)]
    with pytest.raises(MlError, match="TABLE_TOKEN is no token") as caught:
        read(server, tmp_path, token_from="TABLE_TOKEN")
    assert "open" not in str(caught.value) + capsys.readouterr().err
    assert server.asked == []


def test_a_server_that_says_when_to_come_back_is_not_asked_before(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    waited: list[float] = []
    monkeypatch.setattr(url.time, "sleep", waited.append)
    server.answers = [(429, {"Retry-After": "7"}, b""), (200, {}, CONTENT)]
    assert len(read(server, tmp_path)) == 2
    assert max(waited) == 7


def test_what_was_fetched_is_for_its_owner_alone(server: Server, tmp_path: Path) -> None:
    server.answers = [(200, {}, CONTENT)]
    read(server, tmp_path)
    assert [file.stat().st_mode & 0o077 for file in locations.downloads().glob("*.csv")] == [0]


def test_a_way_from_https_to_http_is_not_gone(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    certificate = tmp_path / "certificate.pem"
    command = "openssl req -x509 -newkey rsa:2048 -nodes -days 1 -subj /CN=localhost"
    files = ["-addext", "subjectAltName=DNS:localhost", "-keyout", str(certificate) + ".key"]
    subprocess.run([*command.split(), *files, "-out", str(certificate)], check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, f"{certificate}.key")
    secure = Server()
    secure.socket = context.wrap_socket(secure.socket, server_side=True)
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    secure.address = f"https://localhost:{secure.server_port}"
    secure.answers = [(302, {"Location": f"{server.address}/t.csv"}, b""), (200, {}, CONTENT)]
    server.answers = [(200, {}, CONTENT)]
    with answering(secure):
        with pytest.raises(MlError, match="leads from https to http"):
            read(secure, tmp_path)
        assert len(read(secure, tmp_path)) == 2, "without the detour it is read"
