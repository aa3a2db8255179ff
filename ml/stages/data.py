"""The data stage: fetch the tables, check the contract, split, and keep what was found in a manifest."""

import hashlib
from pathlib import Path
from typing import Any

import pandas as pd
from pandas.api import types

from ml import sources
from ml.console import say
from ml.contracts import check, load_contract
from ml.errors import MlError
from ml.project import Project
from ml.workspace import StageResult, Workspace, code_digest, digest


def build_data(
    project: Project, workspace: Workspace, *, csv: bool = False, force: bool = False
) -> StageResult:
    """Write ``train``, ``test`` and, if there are rows without a target, ``unlabelled`` as Parquet (and CSV).

    Raises ``MlError`` if the source fails or a table breaks the contract.
    """
    contract = load_contract(project.folder)
    for role, column in (("target", project.target), ("id", project.id)):
        if column not in contract.columns:
            raise MlError(
                f"{project.folder / 'contract.py'}: has no column '{column}', the {role} of project.toml"
            )
    tables = sources.fetch(project)
    labelled = check(tables.labelled, contract, f"labelled table ({tables.origin})")
    parts = {"labelled": labelled}
    if tables.unlabelled is not None:
        without_target = contract.remove_columns([project.target])
        parts["unlabelled"] = check(tables.unlabelled, without_target, f"unlabelled table ({tables.origin})")
    _check_rows(labelled, project)
    inputs = {
        "tables": {name: _table_digest(table) for name, table in parts.items()},
        "contract": digest(project.folder / "contract.py"),
        "settings": project.model_dump(mode="json", include={"target", "id", "seed", "split"}),
        "csv": csv,
        "code": code_digest(),
    }

    def work(folder: Path) -> dict[str, Any]:
        train, test = split(labelled, project)
        written = {"train": train, "test": test} | {k: v for k, v in parts.items() if k == "unlabelled"}
        for name, table in written.items():
            table.to_parquet(folder / f"{name}.parquet", index=False)
            if csv:
                table.to_csv(folder / f"{name}.csv", index=False)
        say(f"data: {len(labelled)} labelled rows -> {len(train)} train, {len(test)} test; contract holds")
        twins = test.drop(columns=project.id).merge(train.drop(columns=project.id), how="inner")
        return {
            "source": tables.origin,
            "contract": "holds",
            "rows_in": {name: len(table) for name, table in parts.items()},
            "rows_out": {name: len(table) for name, table in written.items()},
            "test_rows_equal_to_a_train_row": len(twins.drop_duplicates()),
            "reference_statistics": statistics(train),
        }

    return workspace.run("data", inputs, work, force=force)


def split(labelled: pd.DataFrame, project: Project) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return train and test rows: ``test_share`` of each class, those whose hashed id ranks first.

    Ranking by a hash of seed and id, rather than shuffling, keeps a row on its side when rows are added
    tomorrow (but for a few at the boundary): the champion has then not been trained on the rows it is
    judged on.
    """
    order = labelled[project.id].map(lambda key: hashlib.sha256(f"{project.seed}:{key}".encode()).hexdigest())
    rank = order.groupby(labelled[project.target]).rank(method="first")
    size = labelled.groupby(project.target)[project.target].transform("size")
    in_test = rank <= (size * project.split.test_share).round().clip(1)
    train, test = labelled[~in_test], labelled[in_test]
    shared = set(train[project.id]) & set(test[project.id])
    if shared:
        raise MlError(
            f"{len(shared)} ids are in train and test: '{project.id}' must be unique in the contract"
        )
    return train.reset_index(drop=True), test.reset_index(drop=True)


def statistics(table: pd.DataFrame) -> dict[str, dict[str, Any]]:
    """Return what drift is measured against: per column missing rows, deciles or the share of each value."""
    found: dict[str, dict[str, Any]] = {}
    for name in table:
        column = table[name]
        entry: dict[str, Any] = {"rows": len(column), "missing": int(column.isna().sum())}
        if types.is_numeric_dtype(column) and column.notna().any():
            entry |= {
                "mean": float(column.mean()),
                "standard_deviation": float(column.std(ddof=0)),
                "deciles": [float(value) for value in column.quantile([i / 10 for i in range(11)])],
            }
        if column.nunique() <= 20:
            shares = column.value_counts(normalize=True).sort_index()
            entry["shares"] = {str(value): float(share) for value, share in shares.items()}
        found[str(name)] = entry
    return found


def _check_rows(labelled: pd.DataFrame, project: Project) -> None:
    if labelled[project.id].duplicated().any():
        twice = labelled[project.id][labelled[project.id].duplicated()].iloc[0]
        raise MlError(f"labelled table: id {twice!r} stands there twice; '{project.id}' must name each row")
    classes = labelled[project.target].value_counts()
    if len(classes) < 2:
        raise MlError(
            f"labelled table: the target '{project.target}' has one class only: a model needs two to learn"
        )
    needed = project.training.folds + 1
    if classes.min() * (1 - project.split.test_share) < needed:
        raise MlError(
            f"labelled table: class {classes.idxmin()!r} of '{project.target}' has {classes.min()} rows, "
            f"too few for {project.training.folds} folds and a test share of {project.split.test_share}"
        )


def _table_digest(table: pd.DataFrame) -> str:
    return hashlib.sha256(table.to_csv(index=False).encode()).hexdigest()
