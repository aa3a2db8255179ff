"""What a column is for: the name of a row, a person, a group, a time, a feature, or nothing."""

import re
import unicodedata

import pandas as pd

from ml.data.infer.draft import Role
from ml.data.infer.kinds import ISO, Found

MIN_SHARE = 0.9
MIN_GROUPS = 30
MIN_OTHER_ROWS = 5  # with another value than the most frequent: less is a constant
ID_WORDS = {
    "id",
    "uuid",
    "guid",
    "key",
    "number",
    "no",
    "nr",
    "num",
    "index",
    "rownames",
    "row",
    "rowid",
    "code",
}
KEYS = {"id", "uuid", "guid", "key"}
PERSON_WORDS = {"surname", "firstname", "lastname", "fullname", "username", "forename", "nickname", "name"}
OWNERS = {
    "first",
    "last",
    "full",
    "middle",
    "given",
    "family",
    "user",
    "customer",
    "client",
    "patient",
    "person",
}
OWNERS |= {"passenger", "employee", "contact", "maiden", "sur", "account", "household", "member", "student"}
TOLD_BY_NAME = {
    "email",
    "mail",
    "phone",
    "telephone",
    "mobile",
    "fax",
    "iban",
    "ssn",
    "passport",
    "street",
    "address",
}
BIRTH_WORDS = {"birth", "birthday", "birthdate", "dob", "born"}
MAIL = r"[^@\s]+@[^@\s]+\.[A-Za-z]{2,}"
PHONE = r"(\+|00|\(?0)[\d ()/.-]{6,20}"
PERSON = r"[^\W\d_][^\W\d]+(,? [A-Z][\w.'-]*)+"


def words_of(name: str) -> list[str]:
    """Return the words of a column's name in lower case: ``customerID`` has ``customer`` and ``id``."""
    plain = unicodedata.normalize("NFKC", name)
    spaced = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", " ", plain)
    return [word.lower() for word in re.findall(r"[^\W_]+", spaced)]


def role_of(column: pd.Series, found: Found, rows: int) -> tuple[Role, str, bool]:
    """Return what a column is for if it is looked at alone, why, and whether that is doubtful.

    Which column names the rows, and which divides them, is decided on all of them.
    """
    values = column.dropna()
    different = values.nunique()
    if not different:
        return "left out", "has no value at all", False
    others = rows - int(column.value_counts(dropna=False).iloc[0])
    if others < MIN_OTHER_ROWS:
        return "left out", f"constant, but for {others} rows" if others else "constant", others > 0
    if found.unread:
        return "left out", found.why, True
    if person := _personal(column, values, found):
        return "left out", f"personal: {person[0]}", person[1]
    if found.kind in ("text", "code") and found.date_format is None:
        if different > 0.5 * len(values):
            return "left out", f"{found.why or 'texts'}: nearly every row has another", found.kind == "text"
    if found.kind == "whole number" and different == rows and _is_sequence(values):
        return "left out", "numbers the rows", False
    if found.kind == "date" and BIRTH_WORDS & set(words_of(str(column.name))):
        return "left out", "personal: a date of birth", True
    return "feature", found.why, False


def _personal(column: pd.Series, values: pd.Series, found: Found) -> tuple[str, bool] | None:
    if found.kind not in ("category", "code", "text"):
        return None
    texts = values.astype(str).head(5000)
    words = set(words_of(str(column.name)))
    if texts.str.fullmatch(MAIL).mean() >= MIN_SHARE:
        return "mail addresses", False
    phones = texts.str.fullmatch(PHONE).mean() >= MIN_SHARE and values.nunique() > 0.3 * len(values)
    if phones and (words & TOLD_BY_NAME or not _are_numbers_of_rows(texts)):
        return "phone numbers", not words & TOLD_BY_NAME
    if words & TOLD_BY_NAME and values.nunique() > MIN_GROUPS:
        return f"its name says {sorted(words & TOLD_BY_NAME)[0]}", True
    named = words & PERSON_WORDS and (len(words) == 1 or words & OWNERS)
    if named and values.nunique() > MIN_GROUPS:
        return "names of people, as its own name says", texts.str.fullmatch(PERSON).mean() < 0.5
    if found.kind == "text":
        return found.why + ": it may tell of people", True
    if values.nunique() > 0.5 * len(values) and texts.str.fullmatch(PERSON).mean() >= MIN_SHARE:
        return "they look like names of people", True
    return None


def _are_numbers_of_rows(texts: pd.Series) -> bool:
    """Tell whether digits name rows, as 0000004711: all of one length, nearly all different."""
    alike = bool(texts.str.fullmatch(r"\d+").all()) and texts.str.len().nunique() == 1
    return alike and texts.nunique() >= MIN_SHARE * len(texts)


def _is_sequence(values: pd.Series) -> bool:
    ordered = values.sort_values()
    return bool(ordered.iloc[-1] - ordered.iloc[0] < 1.2 * len(ordered))


def find_id(table: pd.DataFrame, kinds: dict[str, Found], taken: set[str]) -> tuple[str, str, bool] | None:
    """Return the column that names each row, why, and whether that is doubtful; none if there is none."""
    able = [
        name
        for name in map(str, table)
        if name not in taken
        and kinds[name].kind in ("whole number", "code", "category", "date")
        and table[name].notna().all()
        and table[name].is_unique
    ]
    for name in able:
        if ID_WORDS & set(words_of(name)) or name.lower().endswith("id"):
            return name, "no value comes twice, and its name says so", False
    for name in able:
        if kinds[name].kind == "whole number" and _is_sequence(table[name]):
            return name, "numbers the rows", False
    for name in able:
        # Dates that never come twice are a time series: they divide its rows better than they name them.
        if kinds[name].kind in ("code", "category"):
            return name, "no value comes twice", True
    return None


def find_time(table: pd.DataFrame, kinds: dict[str, Found], taken: set[str]) -> tuple[str, str] | None:
    """Return the column by which rows are divided into earlier and later ones, if there is one, and why."""
    for name in map(str, table):
        if name in taken or kinds[name].kind != "date" or BIRTH_WORDS & set(words_of(name)):
            continue
        if kinds[name].date_format in ISO and table[name].notna().all() and table[name].nunique() >= 20:
            return name, "dates in every row: a model is tried on later rows than it learned from"
    return None


def find_group(table: pd.DataFrame, kinds: dict[str, Found], taken: set[str]) -> tuple[str, str] | None:
    """Return the column whose rows belong together (a customer's), if there is one, and why."""
    for name in map(str, table):
        if name in taken or kinds[name].kind not in ("whole number", "code", "category"):
            continue
        words = words_of(name)
        if not words or not (words[-1] in KEYS or (len(words) == 1 and words[0] in OWNERS)):
            continue
        different = table[name].nunique()
        if table[name].notna().all() and MIN_GROUPS <= different <= 0.7 * len(table):
            rows = len(table) / different
            return name, f"{different} of them with {rows:.1f} rows each stay on one side of the split"
    return None
