"""The house keeps its plan: stages do not know each other."""

import re

from ml import locations
from ml.run import STAGES

STAGE_IMPORT = re.compile(r"(?m)^\s*(?:from|import) +(?:ml\.stages\b|\.)")


def test_no_stage_imports_another() -> None:
    files = sorted((locations.ROOT / "ml" / "stages").glob("*.py"))
    assert {file.stem for file in files} == {*STAGES, "__init__"}
    assert [file.name for file in files if STAGE_IMPORT.search(file.read_text(encoding="utf-8"))] == []
