"""Feature functions for one row, ``features_row.py``: the service needs no table for them."""

from collections.abc import Callable
from typing import Any

import pandas as pd

from ml.data.rows import Row, records
from ml.project import ROW_FILE, Project
from ml.training.pipeline import feature_functions, run_function
from ml.user_code import load_module

RowFunction = Callable[[Row], Row]


def row_functions(project: Project) -> dict[str, RowFunction]:
    """Return the functions of ``features_row.py`` that the project names, as far as there are any.

    Each takes one row, a gap in it being ``None``, and returns it with what its namesake in ``features.py``
    adds.
    """
    code = project.content(ROW_FILE) if project.features.functions else None
    if code is None:
        return {}
    module = load_module(project.folder / ROW_FILE, code)
    return {name: getattr(module, name) for name in project.features.functions if hasattr(module, name)}


def is_missing(value: Any) -> bool:
    """Tell whether a value is a gap: ``None``, or no number."""
    return value is None or value != value


def rows_made_otherwise(project: Project, table: pd.DataFrame) -> dict[str, list[int]]:
    """Return the places of the rows of which a function makes otherwise than its namesake, for each function.

    A function that fails at a row makes it otherwise.
    """
    by_row = row_functions(project)
    found: dict[str, list[int]] = {}
    for name, function in feature_functions(project):
        made = run_function(project, name, function, table)
        if name in by_row:
            pairs = zip(records(table), records(made), strict=True)
            places = [place for place, (row, then) in enumerate(pairs) if not _makes(by_row[name], row, then)]
            found[name] = places
        table = made
    return found


def _makes(function: RowFunction, row: Row, expected: Row) -> bool:
    try:
        made = function(row)
    except (Exception, SystemExit):
        return False
    return all(
        made.get(name) == value or (is_missing(value) and is_missing(made.get(name)))
        for name, value in expected.items()
    )
