"""Scoring a table offline with a channel's model."""

import io
import sys
from pathlib import Path

import pandas as pd
from pydantic import TypeAdapter, ValidationError

from ml.data.contract import check
from ml.data.formats import read_table
from ml.data.request import request_model
from ml.data.rows import rows_to_table
from ml.errors import MlError, UsageError, describe
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
        raise MlError(f"channel '{channel}' of {project.name} has no model yet: deploy one")
    bundle = load_version(registry, version)
    kept = Workspace(build, project.name).folder("data") / "unlabelled.parquet"
    if source is None and not kept.exists():
        raise MlError(f"{kept} is missing: name the rows to score with --input FILE")
    rows = _rows(bundle, source or str(kept))
    bundle.predict(rows.head(first) if first else rows).to_csv(sys.stdout, index=False)


def _rows(bundle: Bundle, source: str) -> pd.DataFrame:
    contract, name = bundle.request_contract, "standard input" if source == "-" else source
    suffix = Path(source).suffix.lower()
    if source == "-":
        text = sys.stdin.read()
        if text.lstrip().startswith(("[", "{")):
            return _json_rows(bundle, text, name)
        table = read_table(
            lambda _, **options: pd.read_csv(io.StringIO(text), **options), Path(name), contract
        )
    elif suffix == ".json":
        return _json_rows(bundle, Path(source).read_text(encoding="utf-8"), name)
    elif suffix == ".parquet":
        table = read_table(pd.read_parquet, Path(source))
    elif suffix == ".csv":
        table = read_table(pd.read_csv, Path(source), contract)
    else:
        raise UsageError(
            f"{source}: cannot tell its format: use a .csv, .json or .parquet file, or - for input"
        )
    return check(table.drop(columns=bundle.project.target, errors="ignore"), contract, name)


def _json_rows(bundle: Bundle, text: str, name: str) -> pd.DataFrame:
    row = request_model(bundle.request_contract)
    adapter: TypeAdapter[list] = TypeAdapter(list[row])  # type: ignore[valid-type,type-arg]
    try:
        rows = adapter.validate_json(text if text.lstrip().startswith("[") else f"[{text}]")
    except ValidationError as error:
        raise MlError(f"{name}: {describe(error)}") from error
    return rows_to_table(rows, bundle.request_contract)
