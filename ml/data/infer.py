"""What a table's columns are, guessed on one part of the rows and proved on the rest."""

import re
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import pandas as pd
from pandas.api import types

from ml.data.ranges import range_of
from ml.data.shapes import pattern_of
from ml.errors import MlError

Role = Literal["target", "id", "number", "category", "time", "left out"]
Kind = Literal["int", "float", "bool", "str"]

LEARNED_SHARE = 0.6
MIN_ROWS = 50
MAX_COLUMNS = 1000
MAX_VALUES = 30  # that a contract lists one by one
MAX_NUMBERS = 12  # whole ones, that a contract lists
MIN_SHARE_LISTED = 0.03
MIN_SHARE_TEXT = 0.01  # where one value is rarer, others may come
MIN_TIMES = 5  # that a value must stand there before it is listed
MAX_SHARE_OF_VALUES = 0.5  # of the rows: a text with more different values names the row
MAX_WORDS = 4  # on average: a text with more is prose
MIN_PARSED = 0.95  # of the values, to take a column for numbers or dates that are written badly
DATES = {
    "2024-01-31": r"\d{4}-\d{2}-\d{2}([T ]\d{2}:\d{2}(:\d{2}(\.\d+)?)?(Z|[+-]\d{2}:?\d{2})?)?",
    "31.01.2024": r"\d{1,2}\.\d{1,2}\.\d{4}",
    "01/31/2024": r"\d{1,2}/\d{1,2}/\d{2,4}",
    "2024/01/31": r"\d{4}/\d{1,2}/\d{1,2}",
    "31 Jan 2024": r"\d{1,2}[ -][A-Za-z]{3,9}[ -]\d{2,4}",
    "Jan 31, 2024": r"[A-Za-z]{3,9} \d{1,2},? \d{4}",
}
ISO = next(iter(DATES.values()))
PERSONAL = re.compile(
    r"(^|_|\b)(e?mail|phone|mobile|telephone|surname|(first|last|full|middle|user)_?name|name|street|address|"
    r"birth_?(date|day)|date_of_birth|dob|ssn|passport|iban)(\b|_|$)",
    re.IGNORECASE,
)
PERSONAL_VALUES = {
    "a mail address": r"[^@\s]+@[^@\s]+\.[A-Za-z]{2,}",
    "a phone number": r"\+?\(?\d{2,4}\)?[-. /]\d{2,4}([-. /]?\d{2,4}){1,3}",
    "an IBAN": r"[A-Z]{2}\d{2}( ?[A-Z0-9]{4}){3,7}",
}
ID_NAME = re.compile(r"(^|_|\b)(id|key|uuid|guid|number|nr|no|code)($|_|\b)|[a-z]I[dD]$", re.IGNORECASE)


@dataclass(frozen=True)
class Guess:
    """What a column is taken for, why, and what is doubtful about it (nothing, if it is empty)."""

    name: str
    kind: Kind
    role: Role
    why: str
    doubt: str = ""
    nullable: bool = False
    missing: float = 0.0
    unique: bool = False
    low: float | None = None
    high: float | None = None
    values: tuple[Any, ...] = ()
    pattern: str = ""
    max_length: int | None = None
    example: str = ""

    @property
    def kept(self) -> bool:
        """Tell whether the contract has the column."""
        return self.role != "left out"


def check_shape(table: pd.DataFrame, target: str) -> None:
    """Raise ``MlError`` on one line if nothing can be made of a table as a whole, or of its target."""
    if len(table) < MIN_ROWS:
        raise MlError(f"the table has {len(table)} rows: a model and its tests need {MIN_ROWS} at least")
    if len(table.columns) < 2:
        raise MlError(f"the table has the one column '{table.columns[0]}': there is nothing to learn from")
    if len(table.columns) > MAX_COLUMNS:
        raise MlError(
            f"the table has {len(table.columns):,} columns, and {MAX_COLUMNS:,} are the most that a contract "
            "is written for: choose those that matter in a query or a file"
        )
    names = list(map(str, table.columns))
    if twice := [name for name in names if names.count(name) > 1]:
        raise MlError(f"two columns are called '{twice[0]}': name one otherwise")
    if target not in names:
        raise MlError(f"no column '{target}': the target is one of {', '.join(names[:20])}")
    if table.isna().to_numpy().all():
        raise MlError("the table has no value at all")
    if empty := int(table[target].isna().sum()):
        raise MlError(
            f"the target '{target}' is missing in {empty} of {len(table)} rows: take them out; `predict` "
            "answers for rows without one"
        )
    if table[target].nunique() < 2:
        raise MlError(f"the target '{target}' has the one value {table[target].iloc[0]!r}: nothing to learn")


def task_of(column: pd.Series, folds: int = 5) -> tuple[Literal["classification", "regression"], str]:
    """Return the task and why; a class of too few rows to be learned and tested raises ``MlError``."""
    values = column.value_counts()
    if types.is_numeric_dtype(column) and not types.is_bool_dtype(column) and len(values) > 20:
        return "regression", f"{len(values)} different numbers"
    if types.is_float_dtype(column) and not (column % 1 == 0).all():
        return "regression", f"{len(values)} different numbers with fractions"
    least = 2 * (folds + 1)
    if values.min() < least:
        raise MlError(
            f"the target '{column.name}': class {values.idxmin()!r} has {values.min()} rows, and {least} are "
            "needed to learn and test it: put rare classes together, or take them out"
        )
    return "classification", f"{len(values)} classes, the rarest has {values.min()} rows"


def infer(table: pd.DataFrame, target: str, id_column: str | None = None) -> list[Guess]:
    """Return a guess for each column, in the table's order; a column that is broken raises ``MlError``.

    Guesses are made on ``LEARNED_SHARE`` of the rows, drawn at random, and widened or dropped until the other
    rows hold too: a contract that repeats least and greatest values would refuse tomorrow's data.
    """
    order = np.random.default_rng(0).permutation(len(table))
    cut = int(len(table) * LEARNED_SHARE)
    learned, rest = table.iloc[np.sort(order[:cut])], table.iloc[np.sort(order[cut:])]
    chosen = id_column or _id(table, target)
    found = []
    for name in map(str, table.columns):
        guess = _column(table[name], learned[name], rest[name], is_target=name == target)
        if name == chosen:
            named = id_column or ID_NAME.search(name)
            doubt = "" if named else "it names each row, but is not called an id"
            kind = guess.kind if guess.kind == "int" else "str"
            guess = Guess(name, kind, "id", "each value once", doubt, unique=True, pattern=guess.pattern)
        found.append(guess)
    return found


def _id(table: pd.DataFrame, target: str) -> str | None:
    """Return the column that names each row: unique, whole numbers or texts, called an id or the first."""
    unique = [
        str(name)
        for name in table
        if name != target
        and (types.is_integer_dtype(table[name]) or types.is_string_dtype(table[name]))
        and table[name].notna().all()
        and table[name].is_unique
        and not _personal(table[name])
    ]
    named = [name for name in unique if ID_NAME.search(name)]
    first = [name for name in unique if name == table.columns[0]]
    return next(iter(named + first), None)


def _column(whole: pd.Series, learned: pd.Series, rest: pd.Series, *, is_target: bool) -> Guess:
    name, values = str(whole.name), whole.dropna()
    share = float(whole.isna().mean())
    rare = len(values.unique())
    if rare < 2 and not is_target:
        told = f"the one value {values.iloc[0]!r}" if rare else "no value at all"
        return Guess(name, "str", "left out", told)
    base: dict[str, Any] = {"nullable": share > 0, "missing": share}
    if types.is_bool_dtype(whole):
        return Guess(name, "bool", "target" if is_target else "number", "true or false", **base)
    if types.is_datetime64_any_dtype(whole):
        return Guess(name, "str", "left out", "a time", "give it as ISO 8601 text to split or check by it")
    if types.is_numeric_dtype(whole):
        return _number(whole, learned, rest, is_target=is_target, base=base)
    return _text(whole, learned, rest, is_target=is_target, base=base)


def _number(
    whole: pd.Series, learned: pd.Series, rest: pd.Series, *, is_target: bool, base: dict[str, Any]
) -> Guess:
    name, role = str(whole.name), "target" if is_target else "number"
    if np.isinf(whole.to_numpy(dtype=float, na_value=np.nan)).any():
        raise MlError(f"column '{name}' has infinite values: mend them, or leave them empty")
    kind: Kind = "int" if types.is_integer_dtype(whole) else "float"
    counts = learned.value_counts()
    if kind == "int" and len(counts) <= MAX_NUMBERS and set(rest.dropna()) <= set(counts.index):
        # Years and counts go on tomorrow; classes, months and answers do not.
        closed = counts.index.min() in (0, 1) and counts.min() >= max(
            MIN_TIMES, MIN_SHARE_LISTED * len(learned)
        )
        if is_target or len(counts) == 2 or closed:
            listed = tuple(int(value) for value in sorted(counts.index))
            why = f"{len(listed)} whole numbers, each often"
            return Guess(name, kind, role, why, values=listed, **base)  # type: ignore[arg-type]
    low, high = range_of(learned, rest)
    why = f"{'whole numbers' if kind == 'int' else 'numbers'} from {whole.min():g} to {whole.max():g}"
    return Guess(name, kind, role, why, low=low, high=high, **base)  # type: ignore[arg-type]


def _text(
    whole: pd.Series, learned: pd.Series, rest: pd.Series, *, is_target: bool, base: dict[str, Any]
) -> Guess:
    name, values = str(whole.name), whole.dropna()
    odd = values[~values.map(lambda one: isinstance(one, str))]
    if len(odd) and len(odd) < len(values):
        raise MlError(
            f"column '{name}' mixes types: row {odd.index[0] + 1} has {odd.iloc[0]!r}, others are text"
        )
    text = values.astype(str).str.strip()
    _check_numbers(name, text)
    longest = int(text.str.len().max())
    base |= {"max_length": max(20, 2 * longest)}
    different = text.nunique()
    if is_target:
        return Guess(name, "str", "target", f"{different} classes", values=tuple(sorted(set(values))), **base)
    if date := _date(name, text):
        if date != ISO:
            return Guess(name, "str", "left out", "dates, not as ISO 8601", "2024-01-31 could be used")
        return Guess(name, "str", "time", "ISO 8601 dates", pattern=f"^{_iso(text)}$", **base)
    if told := _personal(whole):
        return Guess(name, "str", "left out", f"personal: each looks like {told}")
    if PERSONAL.search(name) and different > MAX_VALUES:
        return Guess(name, "str", "left out", "personal, by its name", "is it about persons?")
    if different > MAX_SHARE_OF_VALUES * len(text):
        prose = text.str.count(" ").mean() >= MAX_WORDS
        told = (
            "free text, maybe personal"
            if prose
            else f"{different} different texts: names the row, teaches little"
        )
        return Guess(name, "str", "left out", told)
    return _category(name, whole, learned, rest, base)


def _personal(column: pd.Series) -> str:
    """Return what most texts of a column look like, if that is personal."""
    if types.is_numeric_dtype(column):
        return ""
    text = column.dropna().astype(str).str.strip()
    looks = (told for told, pattern in PERSONAL_VALUES.items() if text.str.fullmatch(pattern).mean() > 0.5)
    return next(looks, "")


def _category(
    name: str, whole: pd.Series, learned: pd.Series, rest: pd.Series, base: dict[str, Any]
) -> Guess:
    counts, different = learned.value_counts(), whole.nunique()
    known = set(rest.dropna()) <= set(counts.index)
    often = counts.min() >= max(MIN_TIMES, MIN_SHARE_TEXT * len(learned))
    if len(counts) <= MAX_VALUES and known and often:
        why = f"{len(counts)} categories, each often"
        return Guess(name, "str", "category", why, values=tuple(sorted(counts.index)), **base)
    pattern = pattern_of(learned.dropna(), rest.dropna())
    why = f"{different} categories, some rare: others may come" + (", of one pattern" if pattern else "")
    return Guess(name, "str", "category", why, pattern=pattern, example=str(counts.index[0]), **base)


def _check_numbers(name: str, text: pd.Series) -> None:
    """Raise ``MlError`` for a column of numbers in which some texts stand."""
    numbers = pd.to_numeric(text, errors="coerce").notna()
    if numbers.mean() >= MIN_PARSED and not numbers.all():
        row, first = text.index[~numbers.to_numpy()][0] + 1, text[~numbers].iloc[0]
        raise MlError(
            f"column '{name}' holds numbers, but row {row} has {first!r:.40}: mend it, or name it in `empty` "
            "of the source's format"
        )


def _date(name: str, text: pd.Series) -> str:
    """Return how the dates of a column are written, if it holds dates; two ways or more raise ``MlError``."""
    shares = {pattern: text.str.fullmatch(pattern).mean() for pattern in DATES.values()}
    if sum(shares.values()) < MIN_PARSED:
        return ""
    ways = [told for told, pattern in DATES.items() if shares[pattern] > 0]
    if len(ways) > 1:
        raise MlError(f"column '{name}' has dates written in {len(ways)} ways ({', '.join(ways)}): take one")
    if sum(shares.values()) < 1:
        wrong = text[~text.str.fullmatch("|".join(DATES.values()))]
        raise MlError(f"column '{name}' holds dates, but row {wrong.index[0] + 1} has {wrong.iloc[0]!r:.40}")
    return max(shares, key=lambda pattern: shares[pattern])


def _iso(text: pd.Series) -> str:
    return r"\d{4}-\d{2}-\d{2}" if text.str.len().max() == len("2024-01-31") else ISO


def leave_out(guess: Guess, why: str, doubt: str = "") -> Guess:
    """Return the guess for a column that the contract shall not have."""
    return replace(guess, role="left out", why=why, doubt=doubt)
