"""Another table whose columns are added to each row by declared keys."""

from collections.abc import Collection

import pandas as pd
from pandas.api import types

from ml.errors import MlError
from ml.source_settings import Join


class Partner:
    """The table to join: a key stands there once, and nearly every row has to find a partner in it."""

    def __init__(
        self, join: Join, told: str, batches: list[pd.DataFrame], texts: Collection[str] = ()
    ) -> None:
        """Keep the table in memory; a missing key column or a key that is there twice raises ``MlError``.

        Keys that are ``texts`` are compared as such, whatever a table makes of them.
        """
        self._join, self._told = join, told
        self._texts = [name for name in join.on if name in texts]
        self._table = pd.concat(batches, ignore_index=True)
        self._rows = self._alone = 0
        self._example = ""
        for name in join.on:
            if name not in self._table:
                raise MlError(f"{told}: has no column '{name}', by which it is joined")
        self._table = self._table.assign(**{name: _as_text(self._table[name]) for name in self._texts})
        twice = self._table.duplicated(join.on)
        if twice.any():
            key = ", ".join(str(value) for value in self._table.loc[twice, join.on].iloc[0])
            raise MlError(f"{told}: the key ({key}) of {', '.join(join.on)} stands there twice")

    def add(self, rows: pd.DataFrame) -> pd.DataFrame:
        """Return rows with the partner's columns, missing where there is no partner."""
        on = self._join.on
        for name in on:
            if name not in rows:
                raise MlError(f"{self._told}: is joined by '{name}', which the first table does not have")
        if both := [name for name in self._table if name in rows and name not in on]:
            raise MlError(f"{self._told}: the column '{both[0]}' is in both tables: name one otherwise")
        rows = rows.assign(**{name: _as_text(rows[name]) for name in self._texts})
        try:
            found = rows.merge(self._table, how="left", on=on, validate="many_to_one", indicator="_partner")
        except ValueError as error:
            reason = str(error).strip().splitlines()[0]
            raise MlError(f"{self._told}: the keys cannot be compared: {reason}") from error
        alone = (found.pop("_partner") == "left_only").to_numpy()
        if alone.any() and not self._example:
            self._example = ", ".join(str(value) for value in rows.loc[alone, on].iloc[0])
        self._rows += len(rows)
        self._alone += int(alone.sum())
        return found

    def check(self) -> None:
        """Raise ``MlError`` if more rows than agreed on had no partner."""
        share, most = self._alone / max(self._rows, 1), self._join.max_without_partner
        if share > most:
            raise MlError(
                f"{self._told}: {share:.2%} of the rows have no partner in it, and max_without_partner "
                f"allows {most:.2%}; the first has {', '.join(self._join.on)} = {self._example}"
            )


def _as_text(column: pd.Series) -> pd.Series:
    """Return a key as text, as it is compared with one that is: whole numbers have no point."""
    if not types.is_numeric_dtype(column):
        return column
    texts = [None if pd.isna(one) else str(int(one) if one % 1 == 0 else one) for one in column.tolist()]
    return pd.Series(texts, index=column.index, dtype="str")
