"""The quality stage: gates that refuse, and a verdict that says why."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from ml.registry.versions import Registry
from ml.stages.quality import read_gates
from tests.conftest import Site, judge_by
from tests.quality import test_score
from tests.support import ErrorOf, register

GATES = {
    "floor: accuracy",
    "floor: roc_auc",
    "ceiling: log_loss",
    "ceiling: calibration_error",
    "gain: over a dummy",
    "gain: over the best single feature",
    "gap: training minus test accuracy",
    "surprise: test minus cross-validated accuracy",
    "slice: Sex=female, Pclass=3",
    "fairness: selection rates by Embarked",
    "fairness: error rates by Embarked",
    "robustness: loss by noise",
    "robustness: loss by text",
    "expectation: being a woman does not lower survival",
    "speed: seconds per row",
    "speed: seconds per request",
    "speed: seconds to load",
    "size: bytes of model.pkl",
    "size: bytes of memory, most at once",
    "pickle: largest difference to the training process",
    "pickle: largest difference in a fresh process elsewhere",
    "batch: largest difference",
    "isolation: files, addresses and programs asked for",
    "isolation: largest difference at another time",
    "too good to be true: accuracy",
    "serving: largest difference to the offline answers",
    "fast path: rows that features_row.py makes otherwise",
    "fast path: rows answered otherwise than by the pickle",
    "environment: trained under another lock",
    "reproducible: largest difference to a training repeated",
    "seeds: spread of accuracy",
}
# Each threshold moved to where no model can reach it
THRESHOLDS = {
    "accuracy = 0.78": "accuracy = 0.99",
    "f1 = 0.70": "f1 = 0.99",
    "roc_auc = 0.82": "roc_auc = 0.99",
    "log_loss = 0.55": "log_loss = 0.01",
    "calibration_error = 0.15 ": "calibration_error = 0.001 ",
    "min_gain_over_dummy = 0.10 ": "min_gain_over_dummy = 0.9 ",
    "min_gain_over_one_feature = 0.0 ": "min_gain_over_one_feature = 0.9 ",
    "max_gap = 0.10 ": "max_gap = -1.0 ",
    "max_surprise = 0.08 ": "max_surprise = -1.0 ",
    "max_score = 0.90 ": "max_score = -1.0 ",
    "max_divergence = 0.15 ": "max_divergence = 1e-9 ",
    "max_seed_spread = 0.05 ": "max_seed_spread = 1e-9 ",
    "max_seconds_per_row = 0.005 ": "max_seconds_per_row = 1e-12 ",
    "max_seconds_per_request = 0.5 ": "max_seconds_per_request = 1e-9 ",
    "max_seconds_to_load = 10": "max_seconds_to_load = 1e-9",
    "max_model_bytes = 5_000_000": "max_model_bytes = 10",
    "max_memory_bytes = 1_000_000_000": "max_memory_bytes = 10",
    "floor = 0.6\n": "floor = 0.99\n",
    "max_selection_rate_difference = 0.5": "max_selection_rate_difference = 0.0",
    "max_error_rate_difference = 0.2": "max_error_rate_difference = 0.0",
    "noise = 0.05 ": "noise = -1.0 ",
    "units = 0.10 ": "units = -1.0 ",
}


def verdict(site: Site) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((site.build / "quality" / "verdict.json").read_text())
    return found


def gate(site: Site, name: str) -> dict[str, Any]:
    (found,) = (gate for gate in verdict(site)["gates"] if gate["gate"] == name)
    return found


def test_a_good_model_is_blessed_with_figures_for_every_gate(built: Site) -> None:
    assert verdict(built)["blessed"] is True
    gates = {gate["gate"] for gate in verdict(built)["gates"]}
    assert GATES <= gates
    assert {gate["outcome"] for gate in verdict(built)["gates"] if gate["gate"] in GATES} == {"passed"}
    accuracy = gate(built, "floor: accuracy")
    assert accuracy["threshold"] == 0.78
    assert accuracy["interval"][0] < accuracy["value"] < accuracy["interval"][1]
    assert gate(built, "no worse than the champion")["message"] == "the channel has no other champion"


def test_the_report_is_one_file_and_one_that_jenkins_may_show(built: Site) -> None:
    folder = built.build / "quality"
    whole, beside = (folder / "report.html").read_text(), (folder / "report" / "index.html").read_text()
    for page in (whole, beside):
        assert ">blessed<" in page and "<script" not in page
        assert page.index("blessed") < page.index("<img") < page.index("accuracy</th>")
    assert "<style>" in whole and whole.count("data:image/svg+xml;base64,") == whole.count("<img")
    assert "style=" not in beside and "<style" not in beside and "data:" not in beside
    pictures = {"curves", "calibration", "confusion", "slices", "robustness", "importance", "trials"}
    for picture in pictures:
        assert f'src="{picture}.svg"' in beside
        assert (folder / "report" / f"{picture}.svg").read_bytes().startswith(b"<svg")


def test_every_gate_can_refuse(built: Site, error_of: ErrorOf) -> None:
    restless = {"n_estimators": [300], "max_depth": [3], "learning_rate": [0.2], "subsample": [0.7]}
    built.grid({"GradientBoostingClassifier": restless})
    for old, new in THRESHOLDS.items():
        built.edit("project.toml", old, new)
    assert built.ml("train") == 0
    assert built.ml("quality") == 3
    error = error_of()
    refused = {found["gate"] for found in verdict(built)["gates"] if found["outcome"] == "refused"}
    kinds = {found["kind"] for found in verdict(built)["gates"] if found["outcome"] == "refused"}
    assert len(refused) >= len(THRESHOLDS)
    assert kinds == {
        "ceiling",
        "divergence",
        "fairness",
        "floor",
        "gain",
        "gap",
        "robustness",
        "seeds",
        "size",
        "slice",
        "speed",
        "surprise",
        "too good to be true",
    }
    assert all(name in error for name in refused)
    assert "not blessed" in (built.build / "quality" / "report.html").read_text()
    assert built.ml("deploy") == 3
    assert "the candidate is not blessed" in error_of()


def test_functions_for_one_row_that_make_something_else_are_refused(
    built: Site, monkeypatch: pytest.MonkeyPatch, error_of: ErrorOf
) -> None:
    built.edit("features_row.py", 'word if word in COMMON else "Rare"', 'word or "Rare"')
    judge_by("test_runtime.py", monkeypatch)
    assert built.ml("train") == 0
    assert built.ml("quality") == 3
    assert "fast path: rows that features_row.py makes otherwise" in (error := error_of())
    assert "title" in error and "mend it, or take it away" in error


def test_an_unchanged_refusal_refuses_again(
    built: Site, error_of: ErrorOf, judged_by: Callable[[str], None]
) -> None:
    judged_by("test_score.py")
    built.edit("project.toml", "accuracy = 0.78", "accuracy = 0.99")
    assert [built.ml("quality"), error_of().count("floor: accuracy")] == [3, 1]
    before = (built.build / "quality" / "verdict.json").read_bytes()
    assert [built.ml("quality"), error_of().count("floor: accuracy")] == [3, 1]
    assert (built.build / "quality" / "verdict.json").read_bytes() == before


def test_a_champion_is_scored_anew_and_a_worse_candidate_refused(
    built: Site, error_of: ErrorOf, judged_by: Callable[[str], None]
) -> None:
    judged_by("test_champion.py")
    registry = Registry("small")
    folders = {"model": built.build / "model", "quality": built.build / "quality"}
    registry.move("production", registry.register(folders, {"model_sha256": "good"}), "deploy")
    built.grid({"DummyClassifier": {"strategy": ["most_frequent"]}})
    assert built.ml("train") == 0
    assert built.ml("quality") == 3
    assert "champion: accuracy, candidate minus champion: -0." in error_of()
    assert gate(built, "champion: McNemar p-value")["outcome"] == "refused"
    assert gate(built, "champion: accuracy of Sex=female")["outcome"] == "refused"
    assert verdict(built)["champion"] == 1


def test_in_a_world_that_changed_the_rows_that_are_newer_than_the_champion_judge(
    built: Site, judged_by: Callable[[str], None]
) -> None:
    judged_by("test_champion.py")
    version = register(built)
    file = built.project / "data" / "train.csv"
    table = pd.read_csv(file)
    men = table[(table["Sex"] == "male") & (table["Pclass"] == 1)].sample(400, replace=True, random_state=1)
    saved = men.assign(
        Survived=np.arange(400) % 10 > 0,
        PassengerId=range(2001, 2401),
        Fare=men["Fare"] + np.arange(400) / 100,
    )
    pd.concat([table, saved.astype({"Survived": int})]).sample(frac=1, random_state=1).to_csv(
        file, index=False
    )
    built.grid({"DummyClassifier": {"strategy": ["constant"], "constant": [1]}})
    assert built.ml("data") == 0 and built.ml("train") == 0
    Registry("small").move("production", version, "deploy")
    assert built.ml("quality") == 0
    assert "newer rows" in gate(built, "champion: accuracy, candidate minus champion")["message"]
    judged = {one["gate"] for one in verdict(built)["gates"] if one["outcome"] != "not run"}
    assert "champion: accuracy of Sex=male" in judged
    assert "champion: accuracy of Pclass=3" not in judged, "on its rows, all old, the champion is better"


def test_a_candidate_that_became_the_champion_is_not_judged_again(built: Site) -> None:
    registry = Registry("small")
    folders = {"model": built.build / "model", "quality": built.build / "quality"}
    identity = {"model_sha256": verdict(built)["model_sha256"]}
    before = (built.build / "quality" / "verdict.json").read_bytes()
    registry.move("production", registry.register(folders, identity), "deploy")
    assert built.ml("quality") == 0
    assert (built.build / "quality" / "verdict.json").read_bytes() == before


@pytest.mark.parametrize(("key", "change"), [("probability_1", 1e-8), ("prediction", 1)])
def test_a_pickle_that_predicts_otherwise_is_refused(
    built: Site, key: str, change: float, judged_by: Callable[[str], None]
) -> None:
    from tests.support import resign

    judged_by("test_runtime.py")

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
        from ml.files import digest, read_json, write_json

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
        '<property name="kind" value="k"/>'
        '<property name="value" value="1"/><property name="threshold" value="2"/></properties>'
        '<failure message="too &lt; small"/></testcase>'
        '<testcase name="test_b_c"><skipped message="why"/></testcase>'
        '<testcase name="test_d"><error message="broke"/></testcase>'
        '<testcase name="test_e"><properties><property name="warning" value="yes"/></properties></testcase>'
        "</testsuite></testsuites>"
    )
    gates = read_gates(tmp_path / "junit.xml")
    assert [(gate.gate, gate.kind, gate.outcome, gate.message) for gate in gates] == [
        ("g", "k", "refused", "too < small"),
        ("b c", None, "not run", "why"),
        ("d", None, "refused", "broke"),
        ("e", None, "warning", ""),
    ]


def test_why_the_tests_cannot_run_is_told_with_the_column_and_the_log_is_kept(
    built: Site, error_of: ErrorOf
) -> None:
    built.edit("expectations.py", "EXPECTATIONS = [", "SLICES = 1 / 0\nEXPECTATIONS = [")
    before = (built.build / "quality" / "verdict.json").read_bytes()
    assert built.ml("quality") == 1
    error, log = error_of(), built.build / "quality.log"
    line = (built.project / "expectations.py").read_text().splitlines().index("SLICES = 1 / 0") + 1
    assert "expectations.py: does not import: ZeroDivisionError" in error
    assert f"expectations.py:{line})" in error
    assert str(log) in error and "ZeroDivisionError" in log.read_text()
    assert (built.build / "quality" / "verdict.json").read_bytes() == before


def test_an_expectation_that_fails_is_told_with_file_line_and_column(
    built: Site, error_of: ErrorOf, judged_by: Callable[[str], None]
) -> None:
    judged_by("test_expectations.py")
    built.edit("expectations.py", 'passengers.assign(Ticket="A/5 21171")', 'passengers[["Tiket"]]')
    assert built.ml("quality") == 3
    found = next(one for one in verdict(built)["gates"] if "another ticket" in one["gate"])
    lines = (built.project / "expectations.py").read_text().splitlines()
    line = next(number for number, text in enumerate(lines, 1) if "Tiket" in text)
    assert found["outcome"] == "refused"
    assert "Tiket" in found["message"] and f"expectations.py:{line}" in found["message"]
    assert "Tiket" in error_of()


def test_a_class_that_is_never_said_is_told() -> None:
    told: list[tuple[str, str]] = []

    def warn(about: str, message: str) -> None:
        told.append((about, message))

    project: Any = SimpleNamespace(task="classification")
    recorded: Any = SimpleNamespace(predictions=np.array(["fine"] * 30))
    target = pd.Series(["fine"] * 20 + ["fraud"] * 8 + ["error"] * 2)
    test_score.test_every_class_is_said(warn, project, recorded, target)
    [(about, message)] = told
    assert about == "classes that are never said" and message.startswith("fraud (8 of 30 test rows): look at")


@pytest.mark.parametrize(
    ("file", "old", "new", "told"),
    [
        ("project.toml", "seed = 42", "seed = 43", "seed in project.toml was changed"),
        ("grid.json", "[1000]", "[1001]", "grid.json was changed"),
    ],
)
def test_a_project_that_was_changed_since_the_training_is_told(
    built: Site, error_of: ErrorOf, file: str, old: str, new: str, told: str
) -> None:
    built.edit(file, old, new)
    assert built.ml("quality", "--force") == 1
    assert f"{told} since the model was trained: run `python -m ml train --project small` first" in error_of()
