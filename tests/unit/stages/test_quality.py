"""The quality stage: gates that refuse, and a verdict that says why."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ml.registry import Registry
from ml.stages.quality import read_gates
from tests.conftest import Site

ErrorOf = Callable[[], str]


def verdict(site: Site) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((site.build / "quality" / "verdict.json").read_text())
    return found


def gate(site: Site, name: str) -> dict[str, Any]:
    (found,) = (gate for gate in verdict(site)["gates"] if gate["gate"] == name)
    return found


def test_a_good_model_is_blessed_with_figures_for_every_gate(built: Site) -> None:
    assert verdict(built)["blessed"] is True
    assert {gate["gate"] for gate in verdict(built)["gates"]} == {
        "floor: accuracy",
        "floor: f1",
        "gap: training minus test accuracy",
        "speed: seconds per row",
        "speed: seconds per request",
        "size: bytes of model.pkl",
        "pickle: largest difference to the training process",
        "no worse than the champion",
    }
    accuracy = gate(built, "floor: accuracy")
    assert accuracy["threshold"] == 0.78
    assert accuracy["interval"][0] < accuracy["value"] < accuracy["interval"][1]
    assert gate(built, "no worse than the champion")["outcome"] == "not run"


def test_the_report_shows_verdict_and_pictures_without_inline_styles(built: Site) -> None:
    page = (built.build / "quality" / "report.html").read_text()
    assert "floor: accuracy" in page and ">blessed<" in page
    for picture in ("roc", "confusion", "importance", "trials"):
        assert f"report/{picture}.png" in page
        assert (built.build / "quality" / "report" / f"{picture}.png").read_bytes().startswith(b"\x89PNG")
    assert "style=" not in page and "<style" not in page and "data:" not in page and "<script" not in page


def test_every_gate_can_refuse(built: Site, error_of: ErrorOf) -> None:
    thresholds = {
        "accuracy = 0.78": "accuracy = 0.99",
        "f1 = 0.70": "f1 = 0.99",
        "max_gap = 0.10 ": "max_gap = -1.0 ",
        "max_seconds_per_row = 0.001 ": "max_seconds_per_row = 1e-12 ",
        "max_seconds_per_request = 0.1 ": "max_seconds_per_request = 1e-9 ",
        "max_model_bytes = 5_000_000": "max_model_bytes = 10",
    }
    for old, new in thresholds.items():
        built.edit("project.toml", old, new)
    assert built.ml("quality") == 3
    error = error_of()
    refused = {found["gate"] for found in verdict(built)["gates"] if found["outcome"] == "refused"}
    assert len(refused) == len(thresholds)
    assert all(name in error for name in refused)
    assert "not blessed" in (built.build / "quality" / "report.html").read_text()
    assert built.ml("deploy") == 3
    assert "the candidate is not blessed" in error_of()


def test_an_unchanged_refusal_refuses_again(built: Site, error_of: ErrorOf) -> None:
    built.edit("project.toml", "accuracy = 0.78", "accuracy = 0.99")
    assert [built.ml("quality"), error_of().count("floor: accuracy")] == [3, 1]
    before = (built.build / "quality" / "verdict.json").read_bytes()
    assert [built.ml("quality"), error_of().count("floor: accuracy")] == [3, 1]
    assert (built.build / "quality" / "verdict.json").read_bytes() == before


def test_a_champion_is_scored_anew_and_a_worse_candidate_refused(built: Site, error_of: ErrorOf) -> None:
    registry = Registry("small")
    folders = {"model": built.build / "model", "quality": built.build / "quality"}
    registry.move("production", registry.register(folders, {"model_sha256": "good"}, {}), "deploy")
    built.edit("project.toml", "f1 = 0.70", "f1 = 0.0")
    built.edit("project.toml", "accuracy = 0.78", "accuracy = 0.0")
    built.grid({"DummyClassifier": {"strategy": ["most_frequent"]}})
    assert built.ml("train") == 0
    assert built.ml("quality") == 3
    assert "champion: accuracy: 0.615672 is not >= 0.8" in error_of()
    assert verdict(built)["champion"] == 1


def test_a_candidate_that_became_the_champion_is_not_judged_again(built: Site) -> None:
    registry = Registry("small")
    folders = {"model": built.build / "model", "quality": built.build / "quality"}
    identity = {"model_sha256": verdict(built)["model_sha256"]}
    before = (built.build / "quality" / "verdict.json").read_bytes()
    registry.move("production", registry.register(folders, identity, {}), "deploy")
    assert built.ml("quality") == 0
    assert (built.build / "quality" / "verdict.json").read_bytes() == before


@pytest.mark.parametrize(("key", "change"), [("probability_1", 1e-15), ("prediction", 1)])
def test_a_pickle_that_predicts_otherwise_is_refused(built: Site, key: str, change: float) -> None:
    from tests.unit.serving.test_app import resign

    golden = built.build / "model" / "golden.json"
    content = json.loads(golden.read_text())
    content["predictions"][0][key] += change
    golden.write_text(json.dumps(content))
    resign(built.build / "model")
    assert built.ml("quality") == 3
    assert gate(built, "pickle: largest difference to the training process")["outcome"] == "refused"


@pytest.mark.parametrize("change", ["truncated", "one byte", "unsigned", "resealed without a signature"])
def test_an_altered_model_is_not_even_loaded(built: Site, error_of: ErrorOf, change: str) -> None:
    model = built.build / "model"
    content = bytearray((model / "model.pkl").read_bytes())
    content[100] ^= 1
    if change == "unsigned":
        (model / "manifest.json.sig").unlink()
    else:
        (model / "model.pkl").write_bytes(content if change != "truncated" else content[:100])
    if change.startswith("resealed"):
        from ml.workspace import digest, read_json, write_json

        record = read_json(model / "manifest.json")
        write_json(
            model / "manifest.json",
            record | {"outputs": record["outputs"] | {"model.pkl": digest(model / "model.pkl")}},
        )
    before = (built.build / "quality" / "verdict.json").read_bytes()
    assert built.ml("quality") == 1
    error = error_of()
    assert any(word in error for word in ("was altered", "not signed", "signature does not fit"))
    assert (built.build / "quality" / "verdict.json").read_bytes() == before


@pytest.mark.parametrize(
    ("missing", "command"),
    [("data", "train"), ("data", "quality"), ("model", "quality"), ("quality", "deploy")],
)
def test_a_missing_stage_is_named_with_the_way_out(
    built: Site, error_of: ErrorOf, missing: str, command: str
) -> None:
    shutil.rmtree(built.build / missing)
    assert built.ml(command) == 1
    stage = {"model": "train"}.get(missing, missing)
    assert f"is missing: run `python -m ml {stage} --project small` first" in error_of()


def test_gates_are_read_from_junit(tmp_path: Path) -> None:
    (tmp_path / "junit.xml").write_text(
        '<testsuites><testsuite><testcase name="test_a"><properties><property name="gate" value="g"/>'
        '<property name="value" value="1"/><property name="threshold" value="2"/></properties>'
        '<failure message="too &lt; small"/></testcase>'
        '<testcase name="test_b_c"><skipped message="why"/></testcase>'
        '<testcase name="test_d"><error message="broke"/></testcase></testsuite></testsuites>'
    )
    told = [(gate["gate"], gate["outcome"], gate["message"]) for gate in read_gates(tmp_path / "junit.xml")]
    assert told == [("g", "refused", "too < small"), ("b c", "not run", "why"), ("d", "refused", "broke")]
