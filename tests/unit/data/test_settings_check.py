"""Settings that mean nothing are refused, and what a change loosens is told."""

import json

import pytest

from ml.data.settings_check import check_settings
from ml.project import find_project, project_names
from ml.quality.loosened import loosened_expectations, loosened_settings
from ml.records import Gate
from ml.registry.versions import Registry
from tests.conftest import Site
from tests.support import ErrorOf


def test_the_built_in_projects_mean_what_they_say() -> None:
    from ml.data.contract import load_contract

    for name in project_names():
        check_settings(find_project(name), load_contract(find_project(name)).columns)


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("max_missing = { Age", "max_missing = { Agee = 0.1, Age", "max_missing: no column 'Agee'"),
        ("max_one_value = { Age", "max_one_value = { Title = 0.1, Age", "max_one_value: no column 'Title'"),
        ('sensitive = ["Embarked"]', 'sensitive = ["C85"]', "gates.fairness.sensitive: no column 'C85'"),
        ('["Age"]]', '["Age"], ["Title"]]', "gates.slices.by: no column 'Title'"),
        ("bins = { Age", "bins = { Ages = [1], Age", "slices.bins: no column 'Ages' in contract.py: did"),
        ('"Ticket", "Cabin"]', '"Tiket", "Cabin"]', "personal: no column 'Tiket'"),
        ('["Age"]]', '["Age"], ["Cabin"]]', "gates.slices.by: 'Cabin' is in personal"),
        ('"Embarked", "Title"]', '"Embarked", "Cabin"]', "features.categorical: 'Cabin' is in personal"),
        ("accuracy = 0.78", "accuracy = 55", "gates.floors.accuracy = 55 means nothing"),
        ("accuracy = 0.78", "accuracy = 0.0001", "gates.floors.accuracy = 0.0001 means nothing"),
        ("f1 = 0.70", "neg_log_loss = 0.5", "neg_log_loss is never above 0"),
        ("log_loss = 0.55", "log_loss = -0.55", "gates.ceilings.log_loss = -0.55 means nothing"),
        ("calibration_error = 0.15 ", "calibration_error = 15 ", "calibration_error = 15 means nothing"),
        ("max_gap = 0.10 ", "max_gap = 10 ", "gates.max_gap = 10 means nothing: accuracy ends at 1"),
        ("min_gain_over_dummy = 0.10 ", "min_gain_over_dummy = 9 ", "gain_over_dummy = 9 means nothing"),
        ("floor = 0.6\n", "floor = 60\n", "gates.slices.floor = 60 means nothing"),
        ("units = 0.10 ", "units = 10 ", "gates.max_damage.units = 10 means nothing"),
    ],
)
def test_a_setting_that_means_nothing_is_refused(
    site: Site, error_of: ErrorOf, old: str, new: str, told: str
) -> None:
    site.edit("project.toml", old, new)
    assert site.ml("data") == 1
    error = error_of()
    assert told in error and "project.toml" in error


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
    ],
)
def test_what_is_loosened_is_told(site: Site, old: str, new: str, told: list[str]) -> None:
    kept = site.root / "version" / "model" / "project"
    kept.mkdir(parents=True)
    (kept / "project.toml").write_bytes((site.project / "project.toml").read_bytes())
    site.edit("project.toml", old, new)
    assert loosened_settings(find_project("small"), site.root / "version") == told


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
    assert line in (built.root / "outcome").read_text().splitlines()[-1]
    assert "gates were loosened: floors.accuracy" in (built.build / "quality" / "report.html").read_text()
    built.edit("project.toml", "roc_auc = 0.82", "roc_auc = 0.99")
    assert built.ml("quality") == 3
    assert line in error_of()
