"""What is in the registry and in the store, for people."""

import time

import pytest

from ml import locations
from ml.errors import MlError
from ml.registry.versions import Registry
from ml.serving.prediction_log import AnsweredRows, Label, PredictionLog
from ml.show import show_registry, show_request, show_version
from tests.conftest import Site
from tests.support import register

REQUEST = "0" * 32


def test_a_registry_is_shown(built: Site, capsys: pytest.CaptureFixture[str]) -> None:
    show_registry("small")
    assert "small has no version yet" in capsys.readouterr().out
    register(built, "a" * 64, data_sha256="b" * 64)
    Registry("small").move("production", 1, "deploy", "a try")
    show_registry("small")
    assert "LogisticRegression" in (told := capsys.readouterr().out) and "production" in told
    show_version("small", 1)
    told = capsys.readouterr().out
    for expected in (
        "requirements.txt sha256",
        "blessed",
        "gate floor: accuracy",
        "channel production",
        "a try",
    ):
        assert expected in told, expected


def test_a_request_is_shown_with_what_came_true_and_the_version(
    built: Site, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    register(built, "a" * 64, data_sha256="b" * 64)
    assert (url := locations.store("small", "production"))
    log = PredictionLog(url, of=("small", "production"))
    about = REQUEST, 0, time.time(), 1, True
    log.put([AnsweredRows.of(*about, [{"Age": 3.5}], [{"prediction": 1}], 1.5)])
    log.put([Label(REQUEST, 0, 1, time.time(), 86_400.0), Label(REQUEST, 0, 0, time.time(), 0.0)])
    log.close()
    show_request("small", "production", REQUEST)
    told = capsys.readouterr().out
    for expected in (
        "a replay",
        '{"Age":3.5}',
        '{"prediction":1}',
        "1, at 1970-01-02T00",
        "0, at 1970-01-01T00",
        "small version 1",
    ):
        assert expected in told, expected
    with pytest.raises(MlError, match="no request 'f"):
        show_request("small", "production", "f" * 32)
    monkeypatch.setenv("ML_STORE", "off")
    with pytest.raises(MlError, match="ML_STORE is off"):
        show_request("small", "production", REQUEST)
