"""The build folder: whole results or none, skipped when nothing changed, one process at a time."""

from pathlib import Path
from typing import Any

import pytest

from ml import locations
from ml.errors import MlError
from ml.records import LintReport, ModelManifest
from ml.workspace import Workspace, code_digest


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace(tmp_path, "p")


def write(content: str) -> Any:
    def work(folder: Path) -> dict[str, Any]:
        (folder / "file.txt").write_text(content)
        return {"findings": [content]}

    return work


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if path.suffix != ".lock")


def test_a_stage_leaves_its_files_and_a_record(workspace: Workspace) -> None:
    result = workspace.run(LintReport, {"a": 1}, write("x"))
    assert result.status == "done"
    assert workspace.record(LintReport).findings == ["x"]
    assert list(workspace.record(LintReport).outputs) == ["file.txt"]


def test_unchanged_inputs_are_skipped_unless_forced(workspace: Workspace) -> None:
    workspace.run(LintReport, {"a": 1}, write("x"))
    assert workspace.run(LintReport, {"a": 1}, write("y")).status == "unchanged"
    assert workspace.record(LintReport).findings == ["x"]
    assert workspace.run(LintReport, {"a": 2}, write("y")).status == "done"
    assert workspace.run(LintReport, {"a": 2}, write("z"), force=True).status == "done"


def test_an_altered_output_is_made_again(workspace: Workspace) -> None:
    workspace.run(LintReport, {"a": 1}, write("x"))
    (workspace.folder("lint") / "file.txt").write_text("tampered")
    with pytest.raises(MlError, match=r"file.txt is missing or was altered .* run `python -m ml lint"):
        workspace.record(LintReport)
    assert workspace.run(LintReport, {"a": 1}, write("x")).status == "done"


@pytest.mark.parametrize("error", [MlError("no"), KeyboardInterrupt(), SystemExit(143), OSError(28, "full")])
def test_a_failure_leaves_the_earlier_result_and_nothing_else(
    workspace: Workspace, error: BaseException
) -> None:
    workspace.run(LintReport, {"a": 1}, write("x"))

    def fail(folder: Path) -> dict[str, Any]:
        (folder / "half").write_text("written")
        raise error

    with pytest.raises(type(error)):
        workspace.run(LintReport, {"a": 2}, fail)
    assert workspace.record(LintReport).findings == ["x"]
    assert names(workspace.root) == ["lint"]


def test_what_a_killed_run_left_is_cleared_away(workspace: Workspace) -> None:
    (workspace.root / ".lint.partial").mkdir(parents=True)
    (workspace.root / ".lint.partial" / "half").write_text("written")
    workspace.run(LintReport, {"a": 1}, write("x"))
    assert names(workspace.root) == ["lint"]
    assert list(workspace.record(LintReport).outputs) == ["file.txt"]


def test_a_run_killed_while_swapping_left_the_earlier_result(workspace: Workspace) -> None:
    workspace.run(LintReport, {"a": 1}, write("x"))
    workspace.folder("lint").rename(workspace.root / ".lint.old")
    assert workspace.record(LintReport).findings == ["x"]


def test_two_runs_of_one_stage_do_not_mix(workspace: Workspace) -> None:
    def work(folder: Path) -> dict[str, Any]:
        with pytest.raises(MlError, match="another lint is running"):
            Workspace(workspace.root.parent, "p").run(LintReport, {"a": 2}, write("y"))
        return write("x")(folder)

    workspace.run(LintReport, {"a": 1}, work)
    assert workspace.record(LintReport).findings == ["x"]


def test_scratch_of_a_killed_process_goes_and_that_of_a_running_one_stays(workspace: Workspace) -> None:
    left = workspace.root / ".scratch-left"
    left.mkdir(parents=True)
    (left / "rows.parquet").touch()
    with workspace.scratch() as first:
        assert not left.exists()
        (first / "rows.parquet").touch()
        with workspace.scratch() as second:
            assert second != first and (first / "rows.parquet").exists()
        assert not second.exists() and first.exists()
    assert not list(workspace.root.glob(".*"))


def test_a_missing_stage_is_named_with_the_way_out(workspace: Workspace) -> None:
    with pytest.raises(
        MlError, match=r"manifest.json is missing: run `python -m ml train --project p` first"
    ):
        workspace.record(ModelManifest)


@pytest.mark.parametrize("content", [b"", b"[]", b"{", b"\xff"])
def test_a_broken_record_is_named(workspace: Workspace, content: bytes) -> None:
    workspace.run(LintReport, {"a": 1}, write("x"))
    (workspace.folder("lint") / "manifest.json").write_bytes(content)
    with pytest.raises(MlError, match="manifest.json: not "):
        workspace.record(LintReport)
    assert workspace.run(LintReport, {"a": 1}, write("x")).status == "done"


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a checkout, below a folder called ``projects``, of a stage that uses two modules of four."""
    root = tmp_path / "projects" / "checkout"
    for name, content in {
        "requirements.txt": "joblib==1\n",
        "ml/__init__.py": "",
        "ml/stages/train.py": "def run():\n    from ml import model\n",
        "ml/model.py": "import ml.data.rows as rows\n",
        "ml/data/rows.py": "",
        "ml/serving.py": "import ml.model\n",
        "ml/data/look.css": "",
    }.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(content)
    monkeypatch.setattr(locations, "ROOT", root)
    monkeypatch.setattr(locations, "LOCK_FILE", root / "requirements.txt")
    return root


@pytest.mark.parametrize(
    ("changed", "used"),
    [
        ("ml/stages/train.py", True),
        ("ml/model.py", True),
        ("ml/data/rows.py", True),
        ("ml/__init__.py", True),
        ("requirements.txt", True),
        ("ml/data/look.css", True),
        ("ml/serving.py", False),
    ],
)
def test_the_code_of_a_stage_is_what_it_imports_and_no_more(checkout: Path, changed: str, used: bool) -> None:
    stage = (checkout / "ml" / "stages" / "train.py", checkout / "ml" / "data" / "look.css")
    before = code_digest(*stage)
    with open(checkout / changed, "a") as stream:
        stream.write("# a comment\n")
    assert (code_digest(*stage) != before) is used
