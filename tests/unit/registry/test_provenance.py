"""Where a build comes from, as people read it."""

import pytest

from ml.records import Provenance
from ml.registry.provenance import build_text, commit_text, provenance


def made(**told: object) -> Provenance:
    nothing = dict.fromkeys(("git_commit", "git_clean", "build_number", "build_url"))
    machine = {"python": "3.11", "platform": "Linux", "lock_sha256": "0" * 64}
    return Provenance.model_validate(nothing | machine | told)


def test_this_process_has_an_interpreter_and_a_lock_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BUILD_NUMBER", "17")
    found = provenance()
    assert found.build_number == "17"
    assert found.python.startswith("3.") and len(found.lock_sha256) == 64


@pytest.mark.parametrize(
    ("commit", "clean", "text"),
    [
        ("abc", True, "abc"),
        ("abc", False, "abc with uncommitted changes"),
        (None, None, "none, not a git checkout"),
    ],
)
def test_a_commit_is_told_with_what_was_not_committed(
    commit: str | None, clean: bool | None, text: str
) -> None:
    assert commit_text(made(git_commit=commit, git_clean=clean)) == text


def test_the_url_of_a_build_says_more_than_its_number() -> None:
    assert build_text(made(build_url="http://jenkins/17", build_number="17")) == "http://jenkins/17"
    assert build_text(made(build_number="17")) == "17"
    assert build_text(made()) == "none, run by hand"
