"""From rows as JSON gives them to the numbers that an estimator takes, by constants of a fitted pipeline."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate
from typing import Any, Literal

import numpy as np
import pandas as pd
import pandera.pandas as pa
from sklearn.pipeline import Pipeline

from ml.data.rows import Row, typed_table
from ml.project import Project
from ml.training.pipeline import feature_functions
from ml.training.row_features import RowFunction, is_missing, row_functions

FEW_ROWS = 16  # of more it takes less time to look at a column of all than at a row of all columns


class NotCompiled(Exception):
    """A part of a model that the fast path does not know; its text says which."""


@dataclass(frozen=True)
class _Numbers:
    """Columns of numbers: what fills a gap, and how each is scaled."""

    names: list[str]
    fills: list[float]
    mean: np.ndarray
    scale: np.ndarray


@dataclass(frozen=True)
class _Category:
    """A column of categories: the numbers that stand for each, for one that is unknown, and for a gap."""

    name: str
    known: dict[Any, tuple[float, ...]]
    unknown: tuple[float, ...]
    missing: tuple[float, ...]


@dataclass(frozen=True)
class Columns:
    """What lies before the estimator of a pipeline that ``ml.training.pipeline`` builds."""

    contract: pa.DataFrameSchema
    functions: list[tuple[str, Any]]
    row_functions: dict[str, RowFunction]
    numbers: _Numbers
    categories: list[_Category]
    by_column: bool = False  # how numbers lie in memory, on which the order of a product's sums depends

    @classmethod
    def of(
        cls, pipeline: Pipeline, project: Project, contract: pa.DataFrameSchema, some: pd.DataFrame
    ) -> "Columns":
        """Read the constants of a fitted pipeline; raise ``NotCompiled`` for what is not known.

        ``some`` rows, in the contract's types, tell how it lays numbers in memory.
        """
        numbers, categories = _Numbers([], [], np.zeros(0), np.zeros(0)), []
        for name, fitted, columns in pipeline.named_steps["columns"].transformers_:
            if not len(columns) or name == "remainder":
                continue
            if name == "numeric":
                imputer, scaler = fitted[0], fitted[1]
                numbers = _Numbers(list(columns), imputer.statistics_.tolist(), scaler.mean_, scaler.scale_)
            elif name == "categorical":
                categories += _one_hot(list(columns), fitted[0], fitted[1])
            elif hasattr(fitted, "steps"):
                categories += _target_means(list(columns), fitted[0], fitted[1])
            else:
                categories += _numbered(list(columns), fitted)
        if np.isnan(np.array(numbers.fills, dtype=float)).any():
            raise NotCompiled("a column of numbers was empty in training")
        functions = feature_functions(project), row_functions(project)
        made = pipeline[:-1].transform(some)
        by_column = isinstance(made, np.ndarray) and made.flags.f_contiguous
        return cls(contract, *functions, numbers, categories, by_column)

    @cached_property
    def by_table(self) -> str:
        """The first function that has no version for one row, so that all run on a table; else nothing."""
        return next((name for name, _ in self.functions if name not in self.row_functions), "")

    @cached_property
    def _scaled(self) -> list[tuple[str, float, float, float]]:
        """Of each number its name, what fills a gap, and what is taken off and divided by."""
        own = self.numbers
        return list(zip(own.names, own.fills, own.mean.tolist(), own.scale.tolist(), strict=True))

    @cached_property
    def _order(self) -> Literal["C", "F"]:
        return "F" if self.by_column else "C"

    def matrix(self, rows: Sequence[Row]) -> np.ndarray:
        """Return what the pipeline gives its estimator of each row: shape (rows, numbers)."""
        made = self._features(rows)
        return self._row_by_row(made) if len(made) <= FEW_ROWS else self._column_by_column(made)

    def differs_alone(self, rows: Sequence[Row]) -> list[int]:
        """Return the places of the rows of which few together would become other numbers than many do."""
        made = self._features(rows)
        return np.flatnonzero((self._row_by_row(made) != self._column_by_column(made)).any(axis=1)).tolist()

    def _features(self, rows: Sequence[Row]) -> Sequence[Row]:
        if self.by_table:
            table = typed_table(rows, self.contract)
            for _, function in self.functions:
                table = function(table)
            asked = [*self.numbers.names, *(one.name for one in self.categories)]
            found: list[Row] = [
                dict(zip(asked, row, strict=True)) for row in table[asked].itertuples(index=False, name=None)
            ]
            return found
        for name, _ in self.functions:
            function = self.row_functions[name]
            rows = [function(row) for row in rows]
        return rows

    def _row_by_row(self, rows: Sequence[Row]) -> np.ndarray:
        return np.array([self._line(row) for row in rows], dtype=float, order=self._order)

    def _column_by_column(self, rows: Sequence[Row]) -> np.ndarray:
        widths = [1] * len(self.numbers.names) + [len(one.unknown) for one in self.categories]
        matrix, places = np.empty((len(rows), sum(widths)), order=self._order), accumulate(widths, initial=0)
        for name, fill in zip(self.numbers.names, self.numbers.fills, strict=True):
            values = [row[name] for row in rows]
            matrix[:, next(places)] = [fill if one is None or one != one else one for one in values]
        for category in self.categories:
            start, known, unknown = next(places), category.known, category.unknown
            values = [row[category.name] for row in rows]
            matrix[:, start : start + len(unknown)] = [
                category.missing if one is None or one != one else known.get(one, unknown) for one in values
            ]
        numbers = len(self.numbers.names)
        matrix[:, :numbers] -= self.numbers.mean
        matrix[:, :numbers] /= self.numbers.scale
        return matrix

    def _line(self, row: Row) -> list[float]:
        line: list[float] = []
        for name, fill, mean, scale in self._scaled:
            value = row[name]
            # A float, whatever kind of number a function made: NumPy's short ones are computed with as such.
            line.append((float(fill if value is None or value != value else value) - mean) / scale)
        for category in self.categories:
            value = row[category.name]
            if value is None or value != value:
                line += category.missing
            else:
                line += category.known.get(value, category.unknown)
        return line


def _one_hot(names: list[str], imputer: Any, encoder: Any) -> list[_Category]:
    found = []
    for name, fill, categories in zip(names, imputer.statistics_, encoder.categories_, strict=True):
        values = np.asarray(categories, dtype=object).tolist()
        unknown = (0.0,) * len(values)
        known = {
            value: tuple(float(place == other) for other in range(len(values)))
            for place, value in enumerate(values)
        }
        found.append(_Category(name, known, unknown, known.get(fill, unknown)))
    return found


def _target_means(names: list[str], encoder: Any, scaler: Any) -> list[_Category]:
    """Return categories that the mean of the target stands for: one number, or one for each class."""
    found, width = [], len(encoder.encodings_) // len(names)
    overall = np.broadcast_to(encoder.target_mean_, width)
    for number, (name, categories) in enumerate(zip(names, encoder.categories_, strict=True)):
        own = slice(number * width, (number + 1) * width)
        means = np.stack(encoder.encodings_[own], axis=1)
        scaled = ((np.vstack([means, overall]) - scaler.mean_[own]) / scaler.scale_[own]).tolist()
        *each, unknown = map(tuple, scaled)
        known = dict(zip(np.asarray(categories, dtype=object).tolist(), each, strict=True))
        missing = [numbers for value, numbers in known.items() if is_missing(value)]
        found.append(_Category(name, known, unknown, missing[0] if missing else unknown))
    return found


def _numbered(names: list[str], encoder: Any) -> list[_Category]:
    """Return categories that an estimator encodes itself, each of which a number stands for."""
    unknown, gap = (float(encoder.unknown_value),), (float(encoder.encoded_missing_value),)
    found = []
    for name, categories in zip(names, encoder.categories_, strict=True):
        values = np.asarray(categories, dtype=object).tolist()
        known: dict[Any, tuple[float, ...]] = {
            value: (float(place),) for place, value in enumerate(values) if not is_missing(value)
        }
        found.append(_Category(name, known, unknown, gap if len(known) < len(values) else unknown))
    return found
