"""The history: a line for each build, whatever becomes of its folder, and pages that Jenkins shows."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from ml.files import read_json
from ml.project import find_project
from ml.quality.history import MAX_BUILDS, BuildFigures, append, read_history
from ml.quality.history_pages import write_history
from ml.registry.versions import Registry
from tests.conftest import Site
from tests.support import page_policy_breaches

LINE = {
    "finished": "2026-11-25T01:00:00+00:00",
    "blessed": True,
    "metric": "accuracy",
    "score": 0.8,
    "train_rows": 6,
    "test_rows": 3,
}


def build(number: int | None, **told: object) -> BuildFigures:
    return BuildFigures.model_validate(LINE | {"number": number} | told, strict=False)


def test_each_build_is_a_line_and_built_again_it_replaces_its_line(tmp_path: Path) -> None:
    file = tmp_path / "history.jsonl"
    for number in (1, 2, 1):
        append(file, build(number, score=number / 10))
    assert [one.number for one in read_history(file)] == [2, 1]
    assert read_history(tmp_path / "none") == []
    assert [entry.name for entry in tmp_path.iterdir()] == ["history.jsonl"], "nothing half-written is left"


def test_a_restart_that_copies_a_line_makes_no_second_build(tmp_path: Path) -> None:
    file = tmp_path / "history.jsonl"
    file.write_text("".join(build(number).model_dump_json() + "\n" for number in (1, 1)))
    assert [one.number for one in append(file, build(3))] == [1, 3]


def test_builds_by_hand_are_told_apart_by_their_end(tmp_path: Path) -> None:
    file = tmp_path / "history.jsonl"
    append(file, build(None))
    append(file, build(None))
    append(file, build(None, finished="2026-11-25T02:00:00+00:00"))
    assert [one.name for one in read_history(file)] == ["11-25 01:00", "11-25 02:00"]


def test_only_the_newest_builds_are_kept(tmp_path: Path) -> None:
    file = tmp_path / "history.jsonl"
    file.write_text("".join(build(number).model_dump_json() + "\n" for number in range(MAX_BUILDS + 5)))
    kept = append(file, build(MAX_BUILDS + 5))
    assert len(kept) == len(read_history(file)) == MAX_BUILDS and kept[-1].number == MAX_BUILDS + 5


ENDLESS = json.dumps(LINE | {"number": 6, "score": float("inf")})


@pytest.mark.parametrize("broken", ["", "{", "null", "[1]", '{"number": 1}', "\x00\xff", ENDLESS])
def test_a_line_that_cannot_be_read_is_left_out(tmp_path: Path, broken: str) -> None:
    file = tmp_path / "history.jsonl"
    file.write_text(f"{broken}\n{build(7).model_dump_json()}\n", encoding="latin-1")
    assert [one.number for one in read_history(file)] == [7]
    assert [one.number for one in append(file, build(8))] == [7, 8]


def test_scores_by_another_metric_are_listed_and_not_drawn(site: Site) -> None:
    entries = [build(1, metric="neg_log_loss", score=-0.4), build(2, score=0.8), build(3, score=0.9)]
    write_history(site.build / "history", find_project("small"), entries, Registry("small"))
    page = (site.build / "history" / "index.html").read_text(encoding="utf-8")
    assert "accuracy of 2 builds, 0.9 in the newest, between 0.8 and 0.9" in page
    assert "neg_log_loss -0.4" in page


@pytest.mark.parametrize("entries", [[], [build(1, score=None)]], ids=["no build", "a build without a score"])
def test_a_history_of_nothing_has_its_page(site: Site, entries: list[BuildFigures]) -> None:
    write_history(site.build / "history", find_project("small"), entries, Registry("small"))
    page = (site.build / "history" / "index.html").read_text(encoding="utf-8")
    assert "No version is registered yet" in page and page_policy_breaches(page) == []


def test_the_stage_adds_this_build_and_draws_the_pages(built: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    registry = Registry("small")
    folders = {"model": built.build / "model", "quality": built.build / "quality"}
    version = registry.register(folders, {"model_sha256": "good"})
    registry.move("production", version, "deploy", why="<b>because</b>")
    [first] = read_history(built.build / "history.jsonl")
    assert first.blessed and first.score and first.low and set(first.seconds) == {"data", "train", "quality"}

    monkeypatch.setenv("BUILD_NUMBER", "7")
    monkeypatch.setenv("BUILD_URL", "http://jenkins/job/small/7/")
    built.edit("project.toml", "accuracy = 0.78", "accuracy = 0.99")
    assert built.ml("quality") == 3
    _, refused = read_history(built.build / "history.jsonl")
    assert (refused.number, refused.blessed, refused.refused) == (7, False, "floor: accuracy")
    assert refused.champion == version and refused.champion_score is not None

    page = (built.build / "history" / "index.html").read_text(encoding="utf-8")
    assert '<a href="http://jenkins/job/small/7/">#7</a>' in page and "refused: floor: accuracy" in page
    assert "Channel production" in page and "&lt;b&gt;because&lt;/b&gt;" in page
    assert page_policy_breaches(page) == []
    assert (built.build / "history" / "trend.svg").read_bytes().startswith(b"<svg")
    assert "history.jsonl" not in json.dumps(read_json(built.build / "quality" / "verdict.json"))


def test_a_history_that_cannot_be_written_stops_no_stage(
    built: Site, capsys: pytest.CaptureFixture[str], judged_by: Callable[[str], None]
) -> None:
    judged_by("test_score.py")
    (built.build / "history.jsonl").unlink()
    (built.build / "history.jsonl").mkdir()
    assert built.ml("quality", "--force") == 0
    assert "the history of small was not written" in capsys.readouterr().err
