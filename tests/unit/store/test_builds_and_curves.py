"""Trainings and builds in the store: written while they go on, and no work stops for them."""

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, func, select

from ml import locations
from ml.store.database import open_store
from ml.store.history import Curve, last_builds, note_build, noted
from ml.store.tables import curves
from tests.conftest import Site


def test_a_curve_grows_while_a_model_is_trained_and_its_verdict_is_noted(built: Site) -> None:
    trials = [json.loads(line) for line in (built.build / "model" / "trials.jsonl").read_text().splitlines()]
    assert built.ml("train", "--force") == 0
    url = locations.store("small", "production")
    assert url
    engine = open_store(url)
    with engine.connect() as connection:
        newest = select(func.max(curves.c.began)).scalar_subquery()  # the site was trained before
        points = connection.execute(
            select(curves).where(curves.c.began == newest).order_by(curves.c.iteration)
        ).all()
    engine.dispose()
    assert [one.iteration for one in points] == list(range(1, len(trials) + 1))
    assert [one.percent_complete for one in points] == [
        pytest.approx(100 * number / len(trials)) for number in range(1, len(trials) + 1)
    ]
    assert points[0].began <= points[0].at <= points[-1].at
    scores = {trial["scores"]["accuracy"]["mean"] for trial in trials}
    assert {one.validation_score for one in points} == scores
    assert all(one.metric == "accuracy" and 0.7 < one.score <= 1 for one in points)


def test_builds_are_noted_with_their_reason(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WHY", "drift and concept: a row costs more")
    monkeypatch.setenv("BUILD_URL", "http://jenkins.example.org/job/small/7/")
    note_build("small", "production", "quality", "refused", told="refused by floor: accuracy")
    note_build("small", "production", "deploy", "deployed", 3)
    note_build("other", "production", "deploy", "deployed", 9)
    url = locations.store("small", "production")
    assert url
    engine = open_store(url)
    with engine.connect() as connection:
        newest, before = last_builds(connection, "small", "production", 5)
    engine.dispose()
    assert (newest.stage, newest.outcome, newest.version) == ("deploy", "deployed", 3)
    assert (before.outcome, before.told) == ("refused", "refused by floor: accuracy")
    assert before.why.startswith("drift and concept") and before.build.endswith("/7/")


def test_a_store_that_is_away_is_told_once(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("ML_STORE", f"sqlite:///{tmp_path / 'file' / 'store.sqlite'}")
    curve = Curve("small", "production", "accuracy")
    for percent in (50.0, 100.0):
        curve.point("LogisticRegression()", 0.9, 0.8, percent)
    assert capsys.readouterr().err.count("the curve of this training is not noted") == 1
    monkeypatch.setenv("ML_STORE", "off")
    note_build("small", "production", "deploy", "deployed", 3)
    assert capsys.readouterr().err == ""


def points_kept() -> Iterator[int]:
    url = locations.store("small", "production")
    assert url
    engine = open_store(url)
    with engine.connect() as connection:
        yield from connection.execute(select(curves.c.iteration).order_by(curves.c.number)).scalars()
    engine.dispose()


def test_points_that_follow_at_once_are_written_together(site: Site) -> None:
    curve = Curve("small", "production", "accuracy")
    for number in range(1, 1000):
        curve.point("DecisionTreeClassifier()", 0.9, 0.8, number / 10)
    before = len(list(points_kept()))
    assert 1 <= before < 100
    curve.point("DecisionTreeClassifier()", 0.9, 0.8, 100.0)
    assert list(points_kept()) == list(range(1, 1001))


def test_who_interrupts_waits_until_what_was_begun_is_noted(site: Site) -> None:
    noted_all = []

    def work(connection: Connection) -> Any:
        os.kill(os.getpid(), signal.SIGINT)
        noted_all.append(True)

    # What is started in the background of a shell ignores SIGINT.
    ours = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            noted("small", "production", work, "this")
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    finally:
        signal.signal(signal.SIGINT, ours)
    assert noted_all == [True]
