"""What a change loosens is told: gates, and expectations that were deleted or allow more."""

import html
import json

import pytest

from ml.project import find_project
from ml.quality.loosened import loosened_expectations, loosened_settings
from ml.records import Gate
from ml.registry.versions import Registry
from tests.conftest import Site
from tests.support import ErrorOf


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("accuracy = 0.78", "accuracy = 0.3", ["floors.accuracy 0.78 -> 0.3"]),
        ("accuracy = 0.78", "accuracy = 0.8", []),
        ("max_gap = 0.10 ", "max_gap = 0.5 ", ["max_gap 0.1 -> 0.5"]),
        ("max_gap = 0.10 ", "max_gap = 0.05 ", []),
        ("max_gap = 0.10 ", "# max_gap = 0.10 ", ["max_gap deleted"]),
        ("min_rows = 800", "min_rows = 10", ["min_rows 800 -> 10"]),
        ("min_rows = 20", "min_rows = 200", ["slices.min_rows 20 -> 200"]),
        ("log_loss = 0.55", "log_loss = 0.9", ["ceilings.log_loss 0.55 -> 0.9"]),
        ("champion_tolerance = 0.03", "champion_tolerance = 0.5", ["champion_tolerance 0.03 -> 0.5"]),
        ('by = [["Sex"], ["Pclass"], ', 'by = [["Pclass"], ', ["slices.by: 1 of 4 changed or deleted"]),
        ('by = [["Sex"], ', 'by = [["Sex"], ["Parch"], ', []),
        ("max_missing = { Age = 0.35,", "max_missing = { Age = 0.9,", ["max_missing.Age 0.35 -> 0.9"]),
        ("between = [5, 15]", "between = [0, 999]", ["usual: 1 of 6 changed or deleted"]),
        ('mode = "shadow"', 'mode = "none"', ["mode shadow -> none"]),
        ("[split]", "# [split]\n[split]", []),
        (
            "# The worked example: who survived the Titanic?",
            "\ufeff# The worked example: who survived the Titanic?",
            [],
        ),
    ],
)
def test_what_is_loosened_is_told(site: Site, old: str, new: str, told: list[str]) -> None:
    kept = site.root / "version" / "model" / "project"
    kept.mkdir(parents=True)
    (kept / "project.toml").write_bytes((site.project / "project.toml").read_bytes())
    before = find_project("small").gates.model_dump(mode="json")
    site.edit("project.toml", old, new)
    for judged_by in (None, before):
        assert loosened_settings(find_project("small"), site.root / "version", judged_by) == told


def test_the_gates_that_the_champion_passed_count_not_those_it_was_trained_with(site: Site) -> None:
    kept = site.root / "version" / "model" / "project"
    kept.mkdir(parents=True)
    (kept / "project.toml").write_bytes((site.project / "project.toml").read_bytes())
    site.edit("project.toml", "accuracy = 0.78", "accuracy = 0.5")
    project = find_project("small")
    judged_by = project.gates.model_dump(mode="json")
    assert loosened_settings(project, site.root / "version", judged_by) == []


def expected(name: str, most_broken: float) -> Gate:
    return Gate(
        gate=f"expectation: {name}", kind="expectation", outcome="passed", message="", threshold=most_broken
    )


def test_deleted_and_weaker_expectations_are_told() -> None:
    before = [expected("a", 0.0), expected("b", 0.0), expected("c", 0.1)]
    now = [expected("a", 0.0), expected("b", 0.5)]
    told = ["expectation 'b' may be broken by 0 -> 0.5", "expectation 'c' deleted"]
    assert loosened_expectations(before, now) == told


@pytest.mark.slow
def test_loosened_gates_are_told_on_the_page_of_the_build(
    built: Site, error_of: ErrorOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry = Registry("small")
    folders = {"model": built.build / "model", "quality": built.build / "quality"}
    registry.move("production", registry.register(folders, {"model_sha256": "good"}), "deploy")
    monkeypatch.setenv("ML_OUTCOME", str(built.root / "outcome"))
    built.edit("project.toml", "accuracy = 0.78", "accuracy = 0.3")
    text = (built.project / "expectations.py").read_text()
    start = text.index('    Known("a labourer')
    (built.project / "expectations.py").write_text(text[:start] + "]\n")
    built.grid({"LogisticRegression": {"C": [0.9], "max_iter": [1000]}})
    assert [built.ml("train"), built.ml("quality")] == [0, 0]
    told = [
        "floors.accuracy 0.78 -> 0.3",
        "expectation 'a labourer of the third class does not' deleted",
    ]
    assert json.loads((built.build / "quality" / "verdict.json").read_text())["loosened"] == told
    line = f"gates were loosened: {'; '.join(told)}"
    assert line in html.unescape((built.root / "outcome").read_text().splitlines()[-1])
    assert "gates were loosened: floors.accuracy" in (built.build / "quality" / "report.html").read_text()
    built.edit("project.toml", "roc_auc = 0.82", "roc_auc = 0.99")
    assert built.ml("quality") == 3
    assert line in error_of()
