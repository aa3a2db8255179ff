"""Python as a colleague would write it: ``contract.py`` and ``features.py`` of a draft, formatted."""

import builtins
import json
import keyword
import re
import textwrap
import unicodedata
from collections.abc import Iterator
from typing import Any

import pandera.pandas as pa

from ml.data.infer.draft import Column, Draft, Role
from ml.data.infer.kinds import date_shape

WIDTH = 110
HEADINGS: tuple[tuple[Role, str], ...] = (
    ("id", "names each row"),
    ("target", "what is predicted"),
    ("time", "when it was: the split goes by it"),
    ("group", "whose rows belong together: the split goes by it"),
    ("feature", "what it is predicted from"),
    ("personal", "tells of people: no message, report or model shows it; a request may leave it out"),
)


def contract_text(draft: Draft, name: str) -> str:
    """Return ``contract.py``: one ``pandera.DataFrameModel`` with the rules of every column that is kept."""
    attributes = attribute_names([one.name for one in draft.kept])
    lines = ['"""What every table of this project must satisfy: training data and requests alike."""', ""]
    lines += ["import numpy as np", "import pandas as pd"] if draft.ordered else []
    lines += ["import pandera.pandas as pa", "", "", f"class {class_name(name)}(pa.DataFrameModel):"]
    lines += ['    """One row of the table.', ""]
    lines += ["    Ranges have slack: they were guessed on some rows and proved on the others.", '    """']
    for role, heading in HEADINGS:
        if columns := draft.of(role):
            lines += ["", f"    # {heading}"]
            lines += [line for one in columns for line in _field(one, attributes[one.name])]
    lines += ["", *_left_out(draft), "    class Config:"]
    lines += ['        """No column less; columns more are left out."""', "", '        strict = "filter"']
    for number, pair in enumerate(draft.ordered, 1):
        lines += ["", *_ordered(draft, pair, f"{attributes[pair[0]]}_before_{attributes[pair[1]]}"[:60])]
    return "\n".join(lines) + "\n"


def class_name(name: str) -> str:
    """Return a project's name as that of a class."""
    found = "".join(part[:1].upper() + part[1:] for part in re.split(r"[^A-Za-z0-9]+", name))
    return found if found[:1].isalpha() and not hasattr(builtins, found) else f"Table{found}"


def attribute_names(names: list[str]) -> dict[str, str]:
    """Return for each column a name that Python takes: its own where that is one."""
    taken: set[str] = set()
    found = {}
    for number, name in enumerate(names, 1):
        plain = unicodedata.normalize("NFKC", name)
        able = re.sub(r"\W+", "_", plain).strip("_")
        able = f"column_{number}" if not able else f"column_{able}" if able[0].isdigit() else able
        if keyword.iskeyword(able) or hasattr(pa.DataFrameModel, able) or hasattr(builtins, able):
            able += "_"
        if able in taken or able in ("pa", "pd", "Config"):
            able = f"{able}_{number}"
        taken.add(able)
        found[name] = able
    return found


def _field(column: Column, attribute: str) -> Iterator[str]:
    arguments: dict[str, Any] = {}
    if attribute != column.name:
        arguments["alias"] = column.name
    if column.unique:
        arguments["unique"] = True
    if column.nullable:
        arguments["nullable"] = True
    arguments |= column.rules
    if column.example is not None and not column.nullable:
        arguments["metadata"] = {"example": column.example}
    for note in column.notes:
        yield from textwrap.wrap(note, WIDTH, initial_indent="    # ", subsequent_indent="    # ")
    yield from call(f"{attribute}: {column.python_type} = pa.Field", arguments, 4)


def call(start: str, arguments: dict[str, Any], indent: int) -> list[str]:
    """Return a call as the formatter writes it: on one line, on three, or an argument a line."""
    pad = " " * indent
    inner = ", ".join(f"{name}={literal(value)}" for name, value in arguments.items())
    if len(one := f"{pad}{start}({inner})") <= WIDTH:
        return [one]
    if len(three := f"{pad}    {inner}") <= WIDTH:
        return [f"{pad}{start}(", three, f"{pad})"]
    lines = [f"{pad}{start}("]
    for name, value in arguments.items():
        if len(plain := f"{pad}    {name}={literal(value)},") <= WIDTH or not isinstance(value, (list, dict)):
            lines.append(_excused(plain))
            continue
        ends = "[]" if isinstance(value, list) else "{}"
        if isinstance(value, dict):
            items = [f"{literal(key)}: {literal(one)}" for key, one in value.items()]
        else:
            items = [literal(one) for one in value]
        lines += [
            f"{pad}    {name}={ends[0]}",
            *(f"{pad}        {one}," for one in items),
            f"{pad}    {ends[1]},",
        ]
    return [*lines, f"{pad})"]


def _excused(line: str) -> str:
    """Return a line that nothing can break, excused if it is too long."""
    return line if len(line) <= WIDTH else f"{line}  # noqa: E501"


def literal(value: Any) -> str:
    """Return a value as Python writes it, texts in double quotes, regular expressions raw."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{literal(key)}: {literal(one)}" for key, one in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(literal, value)) + "]"
    if not isinstance(value, str):
        return repr(value)
    if value.startswith("^") and value.endswith("$") and '"' not in value and "\n" not in value:
        return f'r"{value}"'
    if '"' in value and "'" not in value and value.isprintable() and "\\" not in value:
        return f"'{value}'"
    return json.dumps(value, ensure_ascii=not value.isprintable())


def _left_out(draft: Draft) -> list[str]:
    columns = draft.of("left out")
    lines = ["    # left out:"] if columns else []
    lines += [f"    #   {one.name}: {one.why}"[:WIDTH].rstrip() for one in columns]
    return [*lines, ""] if columns else []


def _ordered(draft: Draft, pair: tuple[str, str], name: str) -> list[str]:
    low, high = pair
    title = f"{low} <= {high}"
    lines = call("@pa.dataframe_check", {"name": title}, 4)
    lines += [f"    def {name}(cls, rows: pd.DataFrame) -> pd.Series:"]
    lines += ['        """Tell of each row whether the one is not above the other, where both are there."""']
    columns = {one.name: one for one in draft.columns}
    for variable, column in (("low", low), ("high", high)):
        value = f"rows[{literal(column)}]"
        if form := columns[column].date_format:
            options = {"format": form, "utc": True, "errors": "coerce"}
            inner = ", ".join(f"{key}={literal(one)}" for key, one in options.items())
            value = f"pd.to_datetime({value}, {inner})"
        lines += [f"        {variable} = {value}"]
    # Not ~: of one row, as a request has it, the comparison is Python's own truth.
    return [*lines, "        return np.logical_not(low > high)"]


# Whose moments pandas and Python tell alike, whatever else is in the column.
YEARS = (1700, 2199)


def made_features(draft: Draft) -> dict[str, tuple[Column, str]]:
    """Return the features that are made of dates: the column, and the part by its name in pandas."""
    attributes = attribute_names([one.name for one in draft.kept])
    parts = {"month": "month", "weekday": "day_of_week"}
    found = {}
    for column in draft.dates:
        with_hour = parts | ({"hour": "hour"} if column.date_format == "ISO8601" else {})
        for part, attribute in with_hour.items():
            found[f"{attributes[column.name]}_{part}"] = (column, attribute)
    return found


def features_text(draft: Draft, made: dict[str, tuple[Column, str]]) -> str:
    """Return ``features.py``: what is made of the dates of a row."""
    first, last = YEARS
    lines = [
        '"""Features made of the dates of a row, inside the fitted pipeline."""',
        "",
        "import re",
        "",
        "import pandas as pd",
        *_written(draft, made),
    ]
    lines += ["", "", "def calendar(rows: pd.DataFrame) -> pd.DataFrame:"]
    lines += [
        '    """Add the month, the weekday (0 is Monday) and the hour of the dates, where they tell."""'
    ]
    lines += ["    made = {}"]
    for column, parts in _parts_of(draft, made):
        lines += [f"    when = _moments(rows[{literal(column.name)}], {literal(column.date_format)})"]
        lines += [f"    made[{literal(name)}] = when.dt.{part}" for name, part in parts.items()]
    lines += ["    return rows.assign(**made)", "", ""]
    lines += ["def _moments(texts: pd.Series, form: str) -> pd.Series:"]
    lines += ["    dates = texts.where(texts.str.fullmatch(WRITTEN[form], flags=re.ASCII, na=False))"]
    lines += ['    when = pd.to_datetime(dates, format=form, utc=True, errors="coerce")']
    lines += [f"    return when.where(when.dt.year.between({first}, {last}))  # other years are mistakes"]
    return "\n".join(lines) + "\n"


def features_row_text(draft: Draft, made: dict[str, tuple[Column, str]]) -> str:
    """Return ``features_row.py``: the same of one row, without pandas."""
    first, last = YEARS
    parts_of_python = {"month": "month", "day_of_week": "weekday()", "hour": "hour"}
    lines = [
        '"""The functions of features.py for one row, without pandas: the service answers sooner by them.',
        "",
        "The quality stage compares both on every row; a gap in a row is None.",
        '"""',
        "",
        "import re",
        "from datetime import UTC, datetime",
        "from typing import Any",
        *_written(draft, made),
    ]
    lines += ["", "", "def calendar(row: dict[str, Any]) -> dict[str, Any]:"]
    lines += ['    """Add what its namesake adds."""', "    made: dict[str, Any] = {}"]
    for column, parts in _parts_of(draft, made):
        lines += [f"    when = _moment(row[{literal(column.name)}], {literal(column.date_format)})"]
        lines += [
            f"    made[{literal(name)}] = when and when.{parts_of_python[part]}"
            for name, part in parts.items()
        ]
    lines += ["    return row | made", "", ""]
    lines += ["def _moment(text: str | None, form: str) -> datetime | None:"]
    lines += [
        "    if text is None or not re.fullmatch(WRITTEN[form], text, re.ASCII):",
        "        return None",
    ]
    lines += ["    try:"]
    lines += [
        '        when = datetime.fromisoformat(text) if form == "ISO8601" else datetime.strptime(text, form)'
    ]
    lines += ["        when = when.replace(tzinfo=UTC) if when.tzinfo is None else when.astimezone(UTC)"]
    lines += ["    except (ValueError, OverflowError):", "        return None"]
    return "\n".join([*lines, f"    return when if {first} <= when.year <= {last} else None"]) + "\n"


def _written(draft: Draft, made: dict[str, tuple[Column, str]]) -> Iterator[str]:
    """Yield how dates are written: pandas and Python read more than that, and not alike ("now")."""
    yield from ("", "# How a date is written; one that is written otherwise is a gap", "WRITTEN = {")
    for form in dict.fromkeys(column.date_format for column, _ in _parts_of(draft, made)):
        if form:
            yield _excused(f'    {literal(form)}: r"{date_shape(form)}",')
    yield "}"


def _parts_of(draft: Draft, made: dict[str, tuple[Column, str]]) -> Iterator[tuple[Column, dict[str, str]]]:
    """Yield each date of which something is made, and the parts of it by the name of their feature."""
    for column in draft.dates:
        if parts := {name: part for name, (one, part) in made.items() if one is column}:
            yield column, parts
