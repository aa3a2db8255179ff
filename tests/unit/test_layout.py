"""The house keeps its plan: an import goes down, stages do not know each other, one module reads ML_*."""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from ml import locations
from ml.stages import STAGES

PACKAGE = locations.ROOT / "ml"
# From the ground up; a module of a room may use its own room and all below it.
FLOORS = (
    ("errors", "console", "results", "build_page", "locations", "files", "dvc"),
    ("settings", "source_settings", "monitoring_settings", "user_code", "project", "records"),
    ("registry", "workspace"),
    ("touched",),
    ("store",),
    ("data",),
    ("training",),
    ("expectations", "quality"),
    ("serving",),
    ("delivery", "monitoring", "notify"),
    ("stages",),
    ("pipeline", "predict", "show", "options", "option_types"),
    ("new", "recall", "diff", "labels", "upkeep"),
    ("commands",),
    ("cli",),
    ("__main__",),
)
FLOOR_OF = {room: floor for floor, rooms in enumerate(FLOORS) for room in rooms}
FILES = sorted(file for file in PACKAGE.rglob("*.py") if PACKAGE / "projects" not in file.parents)
LIGHT = ("pandas", "sklearn", "numpy", "fastapi", "pydantic", "sqlalchemy", "matplotlib", "catboost")


def room_of(file: Path) -> str:
    """Return the room, or the flat module, that a file of the package is in."""
    return file.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imported(file: Path) -> Iterator[str]:
    """Yield each module of the package that a file imports, at its top or in a function."""
    for node in ast.walk(ast.parse(file.read_bytes())):
        if isinstance(node, ast.Import):
            yield from (one.name for one in node.names if one.name.startswith("ml."))
        elif isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "ml":
            yield from (f"{node.module}.{one.name}" for one in node.names)


def test_every_module_has_a_room() -> None:
    assert {room_of(file) for file in FILES} - {"__init__"} == set(FLOOR_OF)


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(PACKAGE)))
def test_an_import_goes_down(file: Path) -> None:
    floor = FLOOR_OF.get(room_of(file), 0)
    up = [name for name in imported(file) if FLOOR_OF[name.split(".")[1]] > floor]
    assert up == []


def test_no_stage_imports_another() -> None:
    stages = [file for file in FILES if room_of(file) == "stages" and file.stem != "__init__"]
    assert stages
    assert {file.stem for file in stages} == set(STAGES)
    names = {f"ml.stages.{stage}" for stage in STAGES}
    assert [file.name for file in stages if names & set(imported(file))] == []


def test_only_locations_reads_the_variables_of_this_project() -> None:
    readers = {
        str(file.relative_to(PACKAGE))
        for file in FILES
        if re.search(r"environ(\.get\(|\[)\s*f?\"ML_|getenv\(\s*\"ML_", file.read_text(encoding="utf-8"))
    }
    # The entry point tells, too, that other modules cannot be imported.
    assert readers == {"locations.py", "__main__.py"}


def test_the_command_line_imports_nothing_heavy() -> None:
    told = subprocess.run(
        [sys.executable, "-c", "import sys, ml.cli; print(*sys.modules)"],
        cwd=locations.ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert {name.split(".")[0] for name in told.stdout.split()} & set(LIGHT) == set()


def test_no_test_file_imports_another() -> None:
    tests = (locations.ROOT / "tests").rglob("test_*.py")
    pattern = re.compile(r"(?m)^\s*from tests\.(?!quality\b)[\w.]*\btest_\w+ import")
    assert [file.name for file in tests if pattern.search(file.read_text(encoding="utf-8"))] == []


def test_no_two_test_modules_are_called_alike() -> None:
    """Pytest takes one of them for the other: with ``tests/quality`` they never run together."""
    folders = [folder for folder in (locations.ROOT / "tests").iterdir() if folder.name != "quality"]
    names = [file.name for folder in folders for file in folder.rglob("test_*.py")]
    assert sorted(names) == sorted(set(names))
