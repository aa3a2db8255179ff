"""Versions are immutable and signed; channels are pointers with a history."""

import multiprocessing
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ml.errors import MlError
from ml.files import read_json, write_json
from ml.registry.versions import Registry
from tests.conftest import Site


@pytest.fixture
def registry(site: Site) -> Registry:
    return Registry("p")


def register(registry: Registry, folder: Path, name: str = "a") -> int:
    folder.mkdir(exist_ok=True)
    (folder / "model.pkl").write_text(name)
    return registry.register({"model": folder}, {"model_sha256": name})


def register_in_a_process(folder: Path) -> int:
    return register(Registry("p"), folder)


def test_versions_count_up_and_are_found_by_what_they_hold(registry: Registry, tmp_path: Path) -> None:
    assert [register(registry, tmp_path / "m", name) for name in "ab"] == [1, 2]
    assert registry.find({"model_sha256": "a"}) == 1
    assert registry.find({"model_sha256": "c"}) is None
    assert registry.read(2).identity == {"model_sha256": "b"}


def test_an_altered_version_is_refused(registry: Registry, tmp_path: Path) -> None:
    version = register(registry, tmp_path / "m")
    (registry.folder(version) / "model" / "model.pkl").write_text("evil")
    with pytest.raises(MlError, match=r"model.pkl is not what was signed"):
        registry.read(version)


def test_an_unknown_version_is_refused(registry: Registry) -> None:
    with pytest.raises(MlError, match="no version 7 of p .* it has none"):
        registry.folder(7)


def test_what_is_no_version_of_ours_hinders_nothing(registry: Registry, tmp_path: Path) -> None:
    assert register(registry, tmp_path / "m") == 1
    for odd in ("07", "\N{SUPERSCRIPT TWO}", "2", "notes"):
        (registry.root / "versions" / odd).mkdir()
    (registry.root / "versions" / "2" / "notes").touch()
    (registry.root / "versions" / "3").touch()
    assert registry.versions() == [1]
    assert register(registry, tmp_path / "m", "b") == 4
    assert registry.find({"model_sha256": "b"}) == 4


def test_a_pointer_that_is_no_json_is_named(registry: Registry) -> None:
    file = registry.channel_file("production")
    file.parent.mkdir(parents=True)
    file.write_text("[" * 100_000)
    with pytest.raises(MlError, match="production.json: not valid JSON"):
        registry.channel("production")


@pytest.mark.slow
def test_builds_registering_at_once_get_different_numbers(registry: Registry, tmp_path: Path) -> None:
    register(registry, tmp_path / "first")
    with multiprocessing.get_context("spawn").Pool(4) as pool:
        numbers = pool.map(
            register_in_a_process, [tmp_path / f"m{number}" for number in range(12)], chunksize=1
        )
    assert sorted(numbers) == list(range(2, 14))
    assert all(registry.read(number) for number in numbers)
    assert sorted(path.name for path in (registry.root / "versions").iterdir()) == sorted(
        str(number) for number in range(1, 14)
    )


def test_rolling_back_walks_down_the_deployed_versions(registry: Registry) -> None:
    for version in (1, 2, 3):
        registry.move("production", version, "deploy")
    assert registry.channel("production").previous == 2
    registry.move("production", 2, "rollback")
    assert registry.channel("production").previous == 1
    registry.move("production", 4, "deploy")
    assert registry.channel("production").previous == 2
    registry.move("production", 2, "revert")
    assert registry.channel("production").previous == 1


def test_what_a_person_rolled_back_counts_as_withdrawn_until_it_is_deployed_again(registry: Registry) -> None:
    for version in (1, 2):
        registry.move("production", version, "deploy")
    registry.move("production", 1, "rollback")
    assert registry.channel("production").withdrawn(2)
    assert not registry.channel("production").withdrawn(1)
    registry.move("production", 2, "deploy")
    assert not registry.channel("production").withdrawn(2)


def test_a_deployment_that_failed_by_itself_may_be_tried_again(registry: Registry) -> None:
    registry.move("production", 1, "deploy")
    registry.move("production", None, "revert")
    assert not registry.channel("production").withdrawn(1)
    assert registry.channel("production").previous is None


def test_a_channel_file_that_is_none_is_named(registry: Registry) -> None:
    registry.move("production", 1, "deploy")
    (registry.root / "channels" / "production.json").write_text('{"version": "latest"}')
    with pytest.raises(MlError, match=r"production.json is not a channel pointer"):
        registry.channel("production")


def pointer_file(registry: Registry) -> Path:
    return registry.root / "channels" / "production.json"


@pytest.mark.parametrize(
    "change",
    [
        lambda pointer: pointer | {"version": 1},
        lambda pointer: pointer | {"history": pointer["history"][:1]},
        lambda pointer: pointer | {"candidate": {"version": 1, "share": 0.5, "until": 1e9}},
        lambda pointer: {key: value for key, value in pointer.items() if key != "signature"},
        lambda pointer: pointer | {"signature": 7},
    ],
)
def test_a_pointer_that_somebody_else_wrote_is_not_followed(
    registry: Registry, change: Callable[[dict[str, Any]], dict[str, Any]]
) -> None:
    for version in (1, 2):
        registry.move("production", version, "deploy")
    write_json(pointer_file(registry), change(read_json(pointer_file(registry))))
    with pytest.raises(MlError, match="production.json is not signed by the release key.*rollback.* --to N"):
        registry.channel("production")


def test_a_pointer_of_another_channel_is_not_followed(registry: Registry) -> None:
    registry.move("staging", 1, "deploy")
    pointer_file(registry).write_bytes((registry.root / "channels" / "staging.json").read_bytes())
    with pytest.raises(MlError, match="not signed by the release key"):
        registry.channel("production")


@pytest.mark.parametrize(
    "candidate", [{"version": 1}, {"version": "1", "share": 0.1, "until": 1.0}, {"version": 1, "x": 2}, "two"]
)
def test_a_candidate_that_is_none_is_named(registry: Registry, candidate: object) -> None:
    registry.move("production", 1, "deploy")
    write_json(pointer_file(registry), read_json(pointer_file(registry)) | {"candidate": candidate})
    with pytest.raises(MlError, match="is not a channel pointer .candidate"):
        registry.channel("production")


def test_rolling_back_to_a_number_leaves_what_was_below_it(registry: Registry, tmp_path: Path) -> None:
    for name in "abcd":
        registry.move("production", register(registry, tmp_path / "m", name), "deploy")
    assert registry.move("production", 2, "rollback").previous == 1
    assert registry.channel("production").withdrawn(4) and not registry.channel("production").withdrawn(3)
    assert registry.move("production", 3, "rollback").previous is None, "3 was not among those below 2"
