"""The gates that look at each row by itself: they see a table batch by batch, and count."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from pandas.api import types

from ml.data.contract import Violation, examples
from ml.data.findings import Count, Finding
from ml.data.formats import read_table
from ml.errors import MlError
from ml.project import Project
from ml.settings import Timeliness


class RowGates:
    """What the gates have found in the rows so far; the row numbers are those of the batches' index.

    ``known`` are the statistics of the champion's data by column, if there is one.
    """

    def __init__(self, project: Project, known: dict[str, dict[str, Any]]) -> None:
        """Read the tables of the keys; one that cannot be read raises ``MlError``."""
        self._project, self._known = project, known
        self._counts: dict[tuple[str, str, str], Count] = {}
        self._dates: list[pd.Timestamp] = []
        self._rows = 0
        self._keys = [(join, _key_values(project, join.file, join.key)) for join in project.data_gates.keys]

    def see(self, rows: pd.DataFrame) -> None:
        """Count what is wrong in some more rows."""
        self._rows += len(rows)
        for one in (
            *self._missing(rows),
            *self._without_partner(rows),
            *self._ahead(rows),
            *self._garbled(rows),
            *self._unseen(rows),
        ):
            gate = (one.kind, one.about, one.told)
            self._counts[gate] = self._counts[gate] + one if gate in self._counts else one

    def findings(self) -> list[Finding]:
        """Return what was found in all rows that were seen."""
        found = [one.finding() for one in self._counts.values()]
        rule = self._project.data_gates.timeliness
        return found + (list(self._timeliness(rule)) if rule else [])

    def _count(
        self, rows: pd.DataFrame, wrong: np.ndarray, kind: str, column: str, most: float, told: str
    ) -> Count:
        shown = examples(rows, wrong, column, self._project.personal)
        return Count(kind, column, most, column, told, int(wrong.sum()), len(rows), shown)

    def _missing(self, rows: pd.DataFrame) -> Iterator[Count]:
        for name, most in self._project.data_gates.max_missing.items():
            if name in rows:  # a feature that a function makes is judged in the train stage
                told = f"column '{name}': the share of missing values is too large"
                missing = rows[name].isna().to_numpy()
                yield Count(
                    "missing", name, most, name, told, int(missing.sum()), len(rows), examples(rows, missing)
                )

    def _without_partner(self, rows: pd.DataFrame) -> Iterator[Count]:
        for join, known in self._keys:
            if join.column not in rows:
                raise MlError(f"project.toml: data_gates.keys: no column '{join.column}' in the data")
            values = rows[join.column]
            alone = (values.notna() & ~values.astype(str).isin(known)).to_numpy()
            told = f"column '{join.column}' has values that {join.file} does not know"
            yield self._count(rows, alone, "join key", join.column, 0.0, told)

    def _ahead(self, rows: pd.DataFrame) -> Iterator[Count]:
        """Count the rows of the future, and keep the first and the last date."""
        if (rule := self._project.data_gates.timeliness) is None:
            return
        if rule.column not in rows:
            raise MlError(f"project.toml: data_gates.timeliness: no column '{rule.column}' in the data")
        dates = pd.to_datetime(rows[rule.column], format="ISO8601", utc=True, errors="coerce")
        if dates.notna().any():
            self._dates = [min(self._dates + [dates.min()]), max(self._dates + [dates.max()])]
        if rule.max_age_days is not None:
            ahead = (dates - datetime.now(UTC) > pd.Timedelta(days=1)).to_numpy()  # a day for time zones
            told = f"column '{rule.column}' lies in the future: is a clock wrong, here or at the source?"
            shown = examples(rows, ahead, rule.column, self._project.personal)
            about, count = "rows of the future", int(ahead.sum())
            yield Count("timeliness", about, 0.0, rule.column, told, count, len(rows), shown)

    def _timeliness(self, rule: Timeliness) -> Iterator[Finding]:
        first, last = self._dates or (None, None)
        if rule.first is not None:
            begins = first.date().isoformat() if first is not None else "no date"
            shown = "another day" if rule.column in self._project.personal else begins
            told = (
                f"column '{rule.column}' begins with {shown}, not {rule.first}: is the start missing, or are "
                "dates shifted?"
            )
            wrong = Violation(rule.column, told, self._rows) if begins != rule.first else None
            yield Finding("timeliness", "first date", float(wrong is not None), 0.0, wrong)
        if rule.max_age_days is not None:
            age = (datetime.now(UTC) - last).total_seconds() / 86400 if last is not None else float("inf")
            told = f"column '{rule.column}': the newest row is {age:.1f} days old: did the source deliver?"
            stale = Violation(rule.column, told, self._rows) if age > rule.max_age_days else None
            yield Finding("timeliness", "age of the newest row in days", age, rule.max_age_days, stale)

    def _garbled(self, rows: pd.DataFrame) -> Iterator[Count]:
        if (most := self._project.data_gates.max_garbled) is None:
            return
        for name in rows:
            if not types.is_numeric_dtype(rows[name]):
                told = f"column '{name}' holds texts that were read in a wrong encoding: is the source UTF-8?"
                yield self._count(rows, garbled_rows(rows[name]), "garbled", str(name), most, told)

    def _unseen(self, rows: pd.DataFrame) -> Iterator[Count]:
        if (most := self._project.data_gates.max_unseen) is None:
            return
        for name in rows:
            known = self._known.get(str(name), {}).get("shares")
            if known and not types.is_numeric_dtype(rows[name]):
                unseen = (rows[name].notna() & ~rows[name].astype(str).isin(list(known))).to_numpy()
                told = f"column '{name}' has values never seen before"
                yield self._count(rows, unseen, "unseen", str(name), most, told)


def garbled_rows(column: pd.Series) -> np.ndarray:
    """Tell which texts of a column were read in a wrong encoding."""
    wrong = np.zeros(len(column), dtype=bool)
    try:
        texts = pa.array(column, from_pandas=True)
        doubtful = pc.fill_null(pc.invert(pc.string_is_ascii(texts)), False).to_numpy(zero_copy_only=False)
    except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError):  # not of texts alone
        doubtful = column.notna().to_numpy()
    wrong[doubtful] = column[doubtful].map(garbled).to_numpy(dtype=bool)
    return wrong


def garbled(text: object) -> bool:
    """Tell whether a text was read in a wrong encoding: it holds U+FFFD, or is UTF-8 read as Latin-1."""
    if not isinstance(text, str) or text.isascii():
        return False
    if "\ufffd" in text:
        return True
    for encoding in ("latin-1", "cp1252"):
        try:
            text.encode(encoding).decode("utf-8")
        except UnicodeError:
            continue
        return True
    return False


def _key_values(project: Project, file: str, key: str) -> list[str]:
    other = read_table(pd.read_csv, project.folder / file)
    if key not in other:
        raise MlError(f"project.toml: data_gates.keys: no column '{key}' in {file}")
    values: list[str] = other[key].astype(str).tolist()
    return values
