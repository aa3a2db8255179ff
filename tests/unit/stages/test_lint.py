"""Lint: each check finds what it is for, with file and line, and leaves a report that Jenkins can read."""

import xml.etree.ElementTree as ElementTree
from collections.abc import Callable
from pathlib import Path

import pytest

from ml import locations
from tests.conftest import Site


def failures(site: Site, check: str) -> list[str]:
    suite = ElementTree.parse(site.build / "lint" / check / "junit.xml").getroot()
    assert int(suite.attrib["tests"]) >= 1
    return [failure.attrib["message"] for failure in suite.iter("failure")]


@pytest.mark.slow
def test_this_repository_is_clean(site: Site) -> None:
    assert site.ml("lint") == 0
    assert [failures(site, check) for check in ("flake8", "pydocstyle", "dependencies")] == [[], [], []]


@pytest.mark.parametrize(
    ("check", "old", "new", "problem"),
    [
        (
            "flake8",
            "import pandas as pd\n",
            "import os\nimport pandas as pd\n",
            ":3:1: F401 'os' imported but unused",
        ),
        ("pydocstyle", '    """Add ``FamilySize``', '    # """Add ``FamilySize``', "features.py:15 D103"),
    ],
)
def test_a_finding_is_told_with_file_and_line(
    site: Site, error_of: Callable[[], str], check: str, old: str, new: str, problem: str
) -> None:
    site.edit("features.py", old, new)
    assert site.ml("lint", "--check", check) == 1
    assert f"{site.project}/features.py" in (error := error_of()) and problem in error
    assert any(problem in found for found in failures(site, check))


def test_only_the_check_that_was_asked_for_is_run(site: Site) -> None:
    assert site.ml("lint", "--check", "dependencies") == 0
    assert [folder.name for folder in (site.build / "lint").iterdir() if folder.is_dir()] == ["dependencies"]


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("pytest==0.1", "lock.txt:1: pytest 0.1 is locked, installed is"),
        ("no-such-package==1.0", "no-such-package 1.0 is locked, installed is none"),
        ("pytest>=1", "pytest is not pinned to one version"),
        ("-r other.txt", "'-r other.txt' is no requirement"),
        ("colorama==0.1 ; sys_platform == 'never'", ""),
        ("# a comment", ""),
    ],
)
def test_the_lock_is_compared_with_what_is_installed(
    site: Site, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, line: str, problem: str
) -> None:
    monkeypatch.setattr(locations, "LOCK_FILE", tmp_path / "lock.txt")
    (tmp_path / "lock.txt").write_text(line + "\n")
    assert site.ml("lint", "--check", "dependencies") == (1 if problem else 0)
    found = failures(site, "dependencies")
    assert bool(found) == bool(problem) and all(problem in one for one in found)
