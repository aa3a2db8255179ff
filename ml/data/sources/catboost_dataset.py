"""Data sets that ``catboost.datasets`` downloads, with the project's own snapshot when that fails."""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pandas as pd

from ml.console import say
from ml.data.completeness import check_count
from ml.data.contract import load_contract
from ml.data.formats import read_table
from ml.data.sources import files
from ml.data.sources.interface import Tables
from ml.project import Project
from ml.settings import CatboostSource

# catboost's download has no time limit of its own, so it runs in a process that can be ended.
DOWNLOAD = """
import sys
from catboost import datasets
labelled, unlabelled = getattr(datasets, sys.argv[1])()
labelled.to_csv("labelled.csv", index=False)
unlabelled.to_csv("unlabelled.csv", index=False)
"""


def fetch(project: Project, source: CatboostSource) -> Tables:
    """Download the data set; after ``timeout_seconds`` or on an error, use the snapshot and say so."""
    contract = load_contract(project)
    with tempfile.TemporaryDirectory() as folder:
        reason = _download(source, Path(folder))
        if not reason:
            say(f"data: downloaded catboost.datasets.{source.dataset}()")
            labelled, unlabelled = (
                read_table(pd.read_csv, Path(folder) / name, contract)
                for name in ("labelled.csv", "unlabelled.csv")
            )
            origin = f"catboost.datasets.{source.dataset}()"
            agreed = source.snapshot.rows
            check_count(f"{origin}, labelled table", len(labelled), agreed.get("labelled"))
            check_count(f"{origin}, unlabelled table", len(unlabelled), agreed.get("unlabelled"))
            return Tables(labelled, unlabelled, origin, origin)
    say(
        f"data: catboost.datasets.{source.dataset}() cannot be reached ({reason}); "
        "using the committed snapshot"
    )
    snapshot, declared = files.fetch(project, source.snapshot), source.snapshot
    return Tables(
        snapshot.labelled,
        snapshot.unlabelled,
        f"snapshot: {declared.labelled}",
        f"snapshot: {declared.unlabelled}",
    )


def _download(source: CatboostSource, folder: Path) -> str:
    """Return why the download failed, or nothing if it worked."""
    command = [sys.executable, "-c", DOWNLOAD, source.dataset]
    environment = os.environ | {
        "TMPDIR": str(folder)
    }  # catboost leaves its temporary files behind on an error
    try:
        done = subprocess.run(
            command,
            cwd=folder,
            env=environment,
            timeout=source.timeout_seconds,
            capture_output=True,
            text=True,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return f"no answer within {source.timeout_seconds:g} s"
    return "the download failed" if done.returncode else ""
