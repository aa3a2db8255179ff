"""Scoring a table offline with a channel's model."""

import sys
from pathlib import Path

import pandas as pd

from ml.data.formats import Kind, read_file, read_rows
from ml.data.request import BrokenRows, row_reader
from ml.errors import MlError
from ml.project import Project
from ml.registry.versions import Registry
from ml.training.bundle import Bundle, load_version
from ml.workspace import Workspace


def predict_table(project: Project, build: Path, channel: str, source: str | None, first: int | None) -> None:
    """Print id, prediction and probabilities of each row as CSV.

    ``source`` is a CSV, JSON or Parquet file, ``-`` for CSV or JSON on standard input, or ``None`` for the
    unlabelled rows that the data stage kept. A target column, if there is one, is not looked at. Raises
    ``MlError`` if there is no model or the rows break the contract.
    """
    project.check_channel(channel)
    registry = Registry(project.name)
    version = registry.channel(channel).version
    if version is None:
        raise MlError(f"channel '{channel}' of {project.name} has no model: deploy one")
    bundle = load_version(registry, version)
    kept = Workspace(build, project.name).folder("data") / "unlabelled.parquet"
    if source is None and not kept.exists():
        raise MlError(f"{kept} is missing: name the rows to score with --input FILE")
    rows = _rows(bundle, source or str(kept))
    bundle.predict(rows.head(first) if first else rows).to_csv(sys.stdout, index=False)


def _rows(bundle: Bundle, source: str) -> pd.DataFrame:
    reader = row_reader(bundle.request_contract, bundle.project)
    target = {bundle.project.target}
    name = "standard input" if source == "-" else source
    try:
        if source != "-":
            return read_file(Path(source), reader, target)
        content = sys.stdin.buffer.read()
        kind: Kind = "json" if content.lstrip().startswith((b"[", b"{")) else "csv"
        return read_rows(content, kind, reader, name, target)
    except BrokenRows as error:
        raise MlError(f"{name}: {error}") from error
