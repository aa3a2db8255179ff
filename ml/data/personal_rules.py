"""What becomes of personal columns before anything sees them: dropped, hashed, the year or a bucket only.

Everything behind the source, contract and requests included, knows what the rules leave. A value that went
through its rule stays as it is when it goes through it again, so a client may send either.
"""

import hashlib
import hmac
import math
import re
import secrets
from collections.abc import Callable, Mapping
from typing import Any

import pandas as pd
import pandera.pandas as pa
from pandas.api import types

from ml import locations
from ml.console import say
from ml.errors import MlError
from ml.files import make_secret
from ml.project import Project

HASH = re.compile("[0-9a-f]{32}")
YEAR = re.compile(r"(\d{4})(?:-\d{2}|$)")
YEARS = (1000, 9999)


def obey(rows: pd.DataFrame, project: Project) -> pd.DataFrame:
    """Return rows as the rules of ``personal`` leave them; what a rule cannot read stays for the contract."""
    return _apply(rows, project.personal_rules)


def _apply(rows: pd.DataFrame, rules: Mapping[str, str | float]) -> pd.DataFrame:
    changed = rows.drop(columns=[name for name, rule in rules.items() if rule == "drop"], errors="ignore")
    for name, rule in rules.items():
        if name in changed and changed[name].notna().any():
            values, leave = changed[name], rule_of(rule)
            made = {value: leave(value) for value in values.dropna().unique().tolist()}
            found = values.astype(object).map(made).infer_objects()
            if rule == "hash":
                changed[name] = found.astype("str")
            elif types.is_numeric_dtype(found):
                changed[name] = found
    return changed


def obey_in_request(row: dict[str, Any], project: Project) -> dict[str, Any]:
    """Return a row of a request as the rules leave it; of what is hashed only the id is of use to it."""
    found = {}
    for name, value in row.items():
        rule = project.personal_rules.get(name)
        if rule is None or (rule != "drop" and value is None):
            found[name] = value
        elif rule == "hash" and name == project.id:
            found[name] = str(value)
        elif rule not in ("drop", "hash"):
            found[name] = rule_of(rule)(value)
    return found


def obey_in_table(rows: pd.DataFrame, project: Project) -> pd.DataFrame:
    """Return a table of rows to predict for as the rules leave it, see ``obey_in_request``."""
    rules = project.personal_rules
    changed = _apply(rows, {name: rule for name, rule in rules.items() if rule != "hash"})
    for name in (name for name, rule in rules.items() if rule == "hash"):
        if name != project.id:
            changed[name] = pd.Series(None, index=rows.index, dtype="str")
        elif name in changed:
            changed[name] = changed[name].astype("str")
    return changed


def rule_of(rule: str | float) -> Callable[[Any], Any]:
    """Return what makes of a value what the rule leaves of it."""
    if rule == "hash":
        key = _key()
        return lambda value: _hashed(str(value), key)
    if rule == "year":
        return _year
    assert not isinstance(rule, str)
    return lambda value: _bucket(value, rule)


def _hashed(text: str, key: bytes) -> str:
    if HASH.fullmatch(text):
        return text
    return hmac.new(key, text.encode(), hashlib.sha256).hexdigest()[:32]


def _year(value: Any) -> Any:
    if hasattr(value, "year"):
        return value.year
    found = YEAR.match(str(value))
    return int(found.group(1)) if found else value


def _bucket(value: Any, width: float) -> Any:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return value
    return type(value)(math.floor(value / width) * width)


def _key() -> bytes:
    """Return the key of the hashes, made where there is none; ``MlError`` if a named one is missing."""
    file = locations.personal_key()
    if not locations.is_named("ML_PERSONAL_KEY"):
        if make_secret(file, lambda: secrets.token_hex(32).encode()):
            say(
                f"made the key of hashed personal columns: {file} (by another the same value is another text)"
            )
    elif not file.exists():
        raise MlError(f"{file} is missing: ML_PERSONAL_KEY names it as the key of hashed personal columns")
    return file.read_bytes().strip()


def obeyed_contract(contract: pa.DataFrameSchema, project: Project) -> pa.DataFrameSchema:
    """Return the contract of what the rules leave; a rule that does not fit its column raises ``MlError``."""
    for name, rule in project.personal_rules.items():
        if name not in contract.columns:
            raise MlError(f"{project.folder / 'project.toml'}: personal: no column '{name}' in contract.py")
        if rule == "drop":
            contract = contract.remove_columns([name])
        else:
            contract = contract.update_columns({name: _changed(name, contract.columns[name], rule, project)})
    return contract


def _changed(name: str, column: Any, rule: str | float, project: Project) -> dict[str, Any]:
    kind = column.dtype.type if column.dtype is not None else object
    if rule == "hash":
        return {"dtype": str, "checks": [], "metadata": {"example": "0" * 32, "hashed": True}}
    whole = float if column.nullable else int
    if rule == "year":
        about = {"example": 1980}
        return {
            "dtype": whole,
            "checks": [pa.Check.ge(YEARS[0]), pa.Check.le(YEARS[1])],
            "metadata": about,
            "unique": False,
        }
    if not types.is_numeric_dtype(kind) or types.is_bool_dtype(kind):
        told = f"personal: {name} = {rule:g} is the width of buckets, and the column holds no numbers"
        raise MlError(f"{project.folder / 'project.toml'}: {told}")
    limits = {one.name: one.statistics or {} for one in column.checks}
    low = limits.get("greater_than_or_equal_to", limits.get("greater_than", {})).get("min_value")
    high = limits.get("less_than_or_equal_to", limits.get("less_than", {})).get("max_value")
    checks = [] if low is None else [pa.Check.ge(_bucket(low, float(rule)))]
    return {"checks": checks + ([] if high is None else [pa.Check.le(high)]), "unique": False}
