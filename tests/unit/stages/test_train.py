"""The train stage: what it leaves, what it refuses, and what an interruption leaves alone."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable

import pytest

from tests.conftest import SMALL_GRID, Site, environment
from tests.support import PATIENCE_SECONDS, ErrorOf, register, wait_for


def test_every_trial_and_the_lineage_are_kept(built: Site) -> None:
    model = built.build / "model"
    trials = [json.loads(line) for line in (model / "trials.jsonl").read_text().splitlines()]
    manifest = json.loads((model / "manifest.json").read_text())
    assert {trial["estimator"] for trial in trials} == {"LogisticRegression", "DecisionTreeClassifier"}
    assert all({"accuracy", "f1"} <= set(trial["scores"]) for trial in trials)
    assert all(len(trial["scores"]["accuracy"]["folds"]) == 5 for trial in trials)
    best = max(trials, key=lambda trial: trial["scores"]["accuracy"]["mean"])
    assert manifest["estimator"] == best["estimator"] and manifest["parameters"] == best["parameters"]
    assert manifest["cross_validation"] == best["scores"]
    assert len(manifest["provenance"]["lock_sha256"]) == 64
    assert {"project/contract.py", "project/features.py", "data-manifest.json"} <= set(manifest["outputs"])


def test_the_build_number_of_jenkins_is_kept(built: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BUILD_NUMBER", "17")
    assert built.ml("train", "--force") == 0
    manifest = json.loads((built.build / "model" / "manifest.json").read_text())
    assert manifest["provenance"]["build_number"] == "17"


def test_a_rebuild_gives_the_same_bytes_also_in_a_process_that_has_loaded_a_model(built: Site) -> None:
    file = built.build / "model" / "model.pkl"
    before = file.read_bytes()
    script = (
        "import sys; from pathlib import Path\n"
        "from ml import cli; from ml.training.bundle import load_bundle\n"
        "load_bundle(Path(sys.argv[1]) / 'small' / 'model')\n"
        "sys.exit(cli.main(['train', '--project', 'small', '--force', '--build', sys.argv[1]]))"
    )
    command = [sys.executable, "-c", script, str(built.root / "build")]
    subprocess.run(command, env=environment(), check=True)
    assert file.read_bytes() == before


@pytest.mark.parametrize(
    ("grid", "problem"),
    [
        ({"LogisticRegression": {"C": [-1.0]}}, "LogisticRegression(C=-1.0) cannot be fitted"),
        ({"LogisticRegression": {"C": ["x"]}}, "cannot be fitted"),
        ({"CatBoostClassifier": {"depth": [99]}}, "CatBoostClassifier(depth=99) cannot be fitted"),
        ({"LogisticRegression": {"depth": [1]}}, "has no parameter 'depth'"),
    ],
)
def test_a_candidate_that_cannot_be_fitted_is_named(
    built: Site, error_of: ErrorOf, grid: object, problem: str
) -> None:
    before = (built.build / "model" / "manifest.json").read_bytes()
    built.grid(grid)
    assert built.ml("train") == 1
    assert problem in error_of()
    assert (built.build / "model" / "manifest.json").read_bytes() == before


def test_a_missing_key_is_named_before_the_search(
    built: Site, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("ML_BUILD_KEYS", "/dev/null")
    assert built.ml("train", "--force") == 1
    said = capsys.readouterr().err
    assert said.startswith("error: ") and "/dev/null" in said and "trials" not in said


def test_an_unknown_metric_is_named(built: Site, error_of: ErrorOf) -> None:
    built.edit("project.toml", 'metric = "accuracy"', 'metric = "acuracy"')
    assert built.ml("train") == 1
    assert "unknown metric 'acuracy'" in error_of()


def test_a_metric_of_another_task_is_named_before_anything_is_fitted(built: Site, error_of: ErrorOf) -> None:
    built.edit("project.toml", 'metric = "accuracy"', 'metric = "neg_mean_gamma_deviance"')
    assert built.ml("train") == 1
    assert "the metric 'neg_mean_gamma_deviance' does not fit" in error_of()


@pytest.mark.slow
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interrupted_training_leaves_the_earlier_model(
    built: Site, number: signal.Signals, code: int
) -> None:
    before = (built.build / "model" / "manifest.json").read_bytes()
    built.grid({"DecisionTreeClassifier": {"max_depth": [1], "min_samples_leaf": list(range(1, 2000))}})
    command = [
        sys.executable,
        "-m",
        "ml",
        "train",
        "--project",
        "small",
        "--build",
        str(built.root / "build"),
    ]
    # What is started in the background of a shell ignores SIGINT, and its children would, too.
    ours = signal.signal(signal.SIGINT, signal.default_int_handler)
    # coverage holds a lock for a moment at each new file, and waits for ever if it is interrupted there.
    unmeasured = {name: value for name, value in environment().items() if not name.startswith("COVERAGE")}
    try:
        process = subprocess.Popen(
            command, env=unmeasured, stderr=subprocess.PIPE, text=True, start_new_session=True
        )
    finally:
        signal.signal(signal.SIGINT, ours)
    log = built.build / ".model.partial" / "trials.jsonl"
    wait_for(lambda: log.exists() and log.read_text())  # trials are written as they end
    os.killpg(process.pid, number)
    said = process.communicate(timeout=PATIENCE_SECONDS)[1]
    assert process.returncode == code, said
    assert "Traceback" not in said
    assert said.splitlines()[-1] == "error: interrupted; what was not finished is as it was before"
    assert (built.build / "model" / "manifest.json").read_bytes() == before
    assert not list(built.build.glob(".*.partial"))


def test_a_fresh_workspace_takes_the_model_of_a_version_made_from_the_same_inputs(
    built: Site, capsys: pytest.CaptureFixture[str], judged_by: Callable[[str], None]
) -> None:
    judged_by("test_runtime.py")
    made = {file.name: file.read_bytes() for file in (built.build / "model").iterdir() if file.is_file()}
    register(built)
    shutil.rmtree(built.build / "model")
    assert built.ml("train") == 0
    assert "version 1 was made from the same inputs" in capsys.readouterr().err
    for name in ("model.pkl", "trials.jsonl", "golden.json", "data-manifest.json"):
        assert (built.build / "model" / name).read_bytes() == made[name]
    manifest = json.loads((built.build / "model" / "manifest.json").read_text())
    before = json.loads(made["manifest.json"])
    assert {key for key in before if before[key] != manifest[key]} <= {"finished", "seconds"}
    assert built.ml("quality") == 0


def test_a_version_of_other_inputs_or_another_key_is_not_taken(
    built: Site, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    register(built)
    built.grid({"LogisticRegression": {"C": [0.5], "max_iter": [1000]}})
    assert built.ml("train") == 0
    built.grid(SMALL_GRID)
    monkeypatch.setenv("ML_HOME", str(built.root / "another-home"))
    monkeypatch.setenv("ML_REGISTRY", str(built.root / "home" / "registry"))
    shutil.rmtree(built.build / "model")
    assert built.ml("train") == 0
    assert "same inputs" not in capsys.readouterr().err


def test_the_outcome_is_noted_where_the_environment_says(
    built: Site, monkeypatch: pytest.MonkeyPatch, judged_by: Callable[[str], None]
) -> None:
    judged_by("test_score.py")
    file = built.root / "outcome.html"
    monkeypatch.setenv("ML_OUTCOME", str(file))
    assert built.ml("data", "--force") == 0
    assert built.ml("train", "--force") == 0
    assert built.ml("quality", "--force") == 0
    built.edit("project.toml", "accuracy = 0.78", "accuracy = 0.99")
    assert built.ml("quality") == 3
    data, train, blessed, refused = file.read_text().removesuffix("<br>\n").split("<br>\n")
    assert re.fullmatch(r"data: .+, forced, 623 train and 268 test rows", data)
    assert re.fullmatch(r"train: \w+\(.*\), accuracy 0\.\d{4} in cross-validation", train)
    score = r"accuracy 0\.\d{4} \(0\.\d\d to 0\.\d\d\)"
    assert re.fullmatch(rf"quality: blessed, {score}, \d+ gates passed", blessed)
    assert refused.startswith("error: the model is not blessed: floor: accuracy")
