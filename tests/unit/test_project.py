"""project.toml: what is declared is read, and what is misspelt is refused."""

import shutil
from pathlib import Path

import pytest

from ml.errors import MlError
from ml.project import find_project, project_names
from ml.settings import ChannelSettings
from ml.user_code import load_module
from tests.conftest import Site


def test_titanic_is_built_in() -> None:
    project = find_project("titanic")
    assert project.target == "Survived"
    assert project.channels["production"] == ChannelSettings(port=8000)
    assert "titanic" in project_names()


def test_a_channel_may_ask_for_an_approval(site: Site) -> None:
    site.edit("project.toml", "production = 8000", "production = { port = 8000, approval = true }")
    project = find_project("small")
    assert project.channels["production"].approval and not project.channels["staging"].approval


def test_projects_may_live_elsewhere(site: Site) -> None:
    assert find_project("small").folder == site.project
    assert "small" in project_names()


def test_a_project_that_is_there_twice_is_told(site: Site) -> None:
    shutil.copytree(site.project, site.project.parent / "titanic")
    with pytest.raises(
        MlError, match="project 'titanic' is there twice, .*ml/projects/titanic and .*rename one"
    ):
        find_project("titanic")


@pytest.mark.parametrize("name", ["nowhere", "../titanic", "", "a/b", "..", "titanic\n", "$(id)"])
def test_an_unknown_project_is_refused_with_the_known_ones(name: str) -> None:
    with pytest.raises(MlError, match="(?s)unknown project .* titanic"):
        find_project(name)


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ("test_share = 0.3", "test_shar = 0.3", "split.test_share: Field required"),
        ("test_share = 0.3", "test_share = 1.5", "split.test_share: Input should be less than 1"),
        ("folds = 5", 'folds = "five"', "training.folds: Input should be a valid integer"),
        ("max_gap = 0.10", "max_gapp = 0.10", "gates.max_gapp: Extra inputs are not permitted"),
        ('task = "classification"', 'task = "guessing"', "task: Input should be 'classification'"),
        ('kind = "csv"', 'kind = "fax"', "source: Input tag 'fax'"),
        ('"Sex", "Embarked"', '"Sex", "Survived"', "the target 'Survived' must not be a feature"),
        ('"Sex", "Embarked"', '"Sex", "Sex"', "column named twice: Sex"),
        ("production = 8000", "production = 80000", "channels.production.port: Input should be less than"),
        ("staging = 8001", '"a b" = 8001', "channels.a b.[key]: String should match pattern"),
        ('task = "classification"', 'task = "regression"\npositive = 1', "positive names a class"),
        ("[split]", "[split", "not valid TOML"),
        ("[split]", "x = " + "[" * 100_000, "not valid TOML"),
    ],
)
def test_a_wrong_setting_is_named(site: Site, old: str, new: str, problem: str) -> None:
    site.edit("project.toml", old, new)
    with pytest.raises(MlError) as caught:
        find_project("small")
    assert str(site.project / "project.toml") in str(caught.value)
    assert problem in str(caught.value)


def test_a_byte_order_mark_is_no_setting(site: Site) -> None:
    file = site.project / "project.toml"
    file.write_bytes(b"\xef\xbb\xbf" + file.read_bytes())
    assert find_project("small").target == "Survived"


def test_an_undeclared_channel_is_refused() -> None:
    with pytest.raises(MlError, match="unknown channel 'moon'.*production, staging"):
        find_project("titanic").check_channel("moon")


def test_two_versions_of_one_module_live_side_by_side(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    (tmp_path / "a" / "features.py").write_text("VALUE = 1\n")
    (tmp_path / "b" / "features.py").write_text("VALUE = 2\n")
    first, second = (
        load_module(file, file.read_bytes()) for file in (tmp_path / name / "features.py" for name in "ab")
    )
    assert (first.VALUE, second.VALUE) == (1, 2)
    assert first.__name__ != second.__name__


def test_a_module_with_a_syntax_error_is_named_with_its_line(tmp_path: Path) -> None:
    (tmp_path / "features.py").write_text("x = 1\ndef broken(:\n")
    with pytest.raises(MlError, match=r"features.py: does not import: line 2: SyntaxError"):
        load_module(tmp_path / "features.py", (tmp_path / "features.py").read_bytes())


@pytest.mark.parametrize("code", ["import sys\nsys.exit(0)\n", "raise SystemExit\n", "exit('done')\n"])
def test_a_module_that_ends_the_program_does_not_import(tmp_path: Path, code: str) -> None:
    with pytest.raises(MlError, match=r"features.py: does not import: SystemExit"):
        load_module(tmp_path / "features.py", code.encode())
