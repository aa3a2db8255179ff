"""Tables in CSV files."""

from pathlib import Path
from typing import Literal

import pandas as pd

from ml.data.completeness import check_count, check_file
from ml.data.contract import load_contract
from ml.data.formats import read_table
from ml.data.sources.interface import Tables
from ml.errors import MlError
from ml.files import digest
from ml.project import Project
from ml.settings import CsvSource


def fetch(project: Project, source: CsvSource) -> Tables:
    """Read the files, after checking the sha256 of those for which the project gives one."""
    labelled = _read(project, source, "labelled", source.labelled)
    unlabelled = _read(project, source, "unlabelled", source.unlabelled) if source.unlabelled else None
    return Tables(labelled, unlabelled, f"files: {source.labelled}", f"files: {source.unlabelled}")


def _read(
    project: Project, source: CsvSource, role: Literal["labelled", "unlabelled"], path: str
) -> pd.DataFrame:
    file: Path = project.folder / path
    expected = source.sha256.get(role)
    if expected and file.exists() and digest(file) != expected:
        raise MlError(f"{file} was changed: its sha256 is {digest(file)}, project.toml says {expected}")
    agreed = source.rows.get(role)
    check_file(file, counted=agreed is not None)
    table = read_table(pd.read_csv, file, load_contract(project))
    check_count(str(file), len(table), agreed)
    return table
