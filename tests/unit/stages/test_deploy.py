"""Who may bring a version into a channel: only who has the release key, and no code of a project with it."""

import json
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest

from ml import expectations, locations
from ml.records import ModelManifest
from ml.registry.versions import Registry
from ml.stages import deploy
from ml.stages.deploy import identity_of
from ml.training import pipeline
from tests.conftest import Site
from tests.support import ErrorOf, register


def strip_signature(file: Path) -> None:
    pointer = json.loads(file.read_text())
    file.write_text(json.dumps({key: value for key, value in pointer.items() if key != "signature"}))


def test_an_unsigned_pointer_is_told_and_a_person_writes_it_anew(built: Site, error_of: ErrorOf) -> None:
    registry = Registry("small")
    for identity in "ab":
        registry.move("production", register(built, identity), "deploy")
    strip_signature(registry.channel_file("production"))
    for command in ("rollback", "data", "quality", "deploy"):
        assert built.ml(command) == 1
        assert "not signed by the release key" in error_of()
    assert built.ml("rollback", "--to", "1", "--why", "an old pointer") == 0
    channel = registry.channel("production")
    assert (channel.version, [move.why for move in channel.history]) == (1, ["an old pointer"])


@pytest.mark.slow
def test_data_train_and_quality_need_no_release_key(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error_of: ErrorOf
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ML_BUILD_KEYS", "build/keys")  # as on Jenkins
    monkeypatch.setenv("ML_VERIFY_KEY", str(tmp_path / "verify.pem"))
    for stage in ("data", "train", "quality"):
        assert site.ml(stage) == 0, stage
    assert not locations.signing_key().exists() and not (tmp_path / "verify.pem").exists()
    assert site.ml("deploy") == 1
    assert "set ML_SIGNING_KEY" in error_of()
    assert Registry("small").versions() == []


def test_what_another_build_signed_is_not_released(
    built: Site,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    error_of: ErrorOf,
    judged_by: Callable[[str], None],
) -> None:
    """Who takes the key of one build signs nothing of another with it."""
    judged_by("test_score.py")
    monkeypatch.setenv("ML_BUILD_KEYS", str(tmp_path / "keys of another build"))
    assert built.ml("train", "--force") == 0 and built.ml("quality", "--force") == 0
    monkeypatch.delenv("ML_BUILD_KEYS")
    assert built.ml("deploy") == 1
    assert "signed by another key" in error_of()


def test_registering_runs_nothing_of_the_project(
    built: Site, monkeypatch: pytest.MonkeyPatch, error_of: ErrorOf
) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("code of the project is loaded")

    for module in (expectations, pipeline):
        monkeypatch.setattr(module, "load_module", refuse)
    monkeypatch.setattr("ml.data.contract.load_module", refuse)
    monkeypatch.setenv("ML_SERVICES", "small/production=http://127.0.0.1:9")
    for file in built.project.glob("*.py"):
        file.write_text("raise SystemExit('code of the project is loaded')")
    assert built.ml("deploy") == 1
    assert "127.0.0.1:9 does not answer" in error_of(), "it came as far as to the service"
    assert Registry("small").versions() == [1]


def test_a_rollback_waits_for_no_services_that_are_made_ready(
    built: Site, monkeypatch: pytest.MonkeyPatch, error_of: ErrorOf
) -> None:
    for identity in "ab":
        Registry("small").move("production", register(built, identity), "deploy")

    class Slow:
        """A target that installs packages, while a person goes back."""

        def prepare(self) -> list[Any]:
            with Registry("small").lock("production"):
                Registry("small").move("production", 1, "rollback")
            return []

        def moved(self) -> None:
            pass

    monkeypatch.setattr(deploy, "open_target", lambda *given: nullcontext(Slow()))
    assert built.ml("deploy") == 1
    assert "production was moved to version 1 meanwhile: deploy again" in error_of()
    assert Registry("small").channel("production").version == 1


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        ("contract.py", "ge=0, le=120", "ge=0, le=130"),
        ("project.toml", '"Ticket", "Cabin"]', '"Ticket"]'),
        ("project.toml", "title = ", 'title = "Another: " # '),
    ],
)
def test_what_a_service_reads_beside_the_pickle_makes_another_version(
    built: Site, file: str, old: str, new: str
) -> None:
    model = built.build / "model" / "manifest.json"
    before = identity_of(ModelManifest.model_validate_json(model.read_text()))
    built.edit(file, old, new)
    assert built.ml("data") == 0 and built.ml("train") == 0
    after = identity_of(ModelManifest.model_validate_json(model.read_text()))
    assert before["model_sha256"] == after["model_sha256"] and before != after


def test_the_model_of_a_version_that_was_taken_back_does_not_come_back_by_a_comment(
    built: Site, error_of: ErrorOf
) -> None:
    registry = Registry("small")
    registry.move("production", register(built, "a"), "deploy")
    sha256 = json.loads((built.build / "model" / "manifest.json").read_text())["outputs"]["model.pkl"]
    taken_back = register(built, sha256)
    registry.move("production", taken_back, "deploy")
    registry.move("production", 1, "rollback")
    assert built.ml("deploy") == 3
    assert "version 3 has the model of version 2, which was taken back from production" in error_of()
