"""The text of a project's ``contract.py``, written as a colleague would."""

import keyword
import re
from typing import Any

from ml.data.infer import Guess

INDENT = " " * 4
MAX_LINE = 110


def contract_text(title: str, guesses: list[Guess], pairs: list[tuple[str, str]]) -> str:
    """Return the module: one model with a field for each column that is kept, and a check for each pair.

    ``pairs`` are columns of which the first is never greater than the second.
    """
    kept = [guess for guess in guesses if guess.kept]
    names = field_names(kept)
    head = ['"""What every table of this project must satisfy: training data and requests alike."""', ""]
    head += ["import pandas as pd"] if pairs else []
    head += ["import pandera.pandas as pa", "", "", "class Rows(pa.DataFrameModel):"]
    head += [f'{INDENT}"""One row of {_plain(title)}."""', ""]
    body = [line for guess in kept for line in _field(guess, names[guess.name])]
    tail = ["", f"{INDENT}class Config:", f'{INDENT * 2}"""No column less; columns more are left out."""', ""]
    tail += [f'{INDENT * 2}strict = "filter"']
    for number, (first, second) in enumerate(pairs, 1):
        told = _quoted(f"{first} <= {second}")
        tail += ["", f"{INDENT}@pa.dataframe_check(name={told})"]
        tail += [f"{INDENT}def in_order_{number}(cls, rows: pd.DataFrame) -> pd.Series:"]
        tail += [
            f'{INDENT * 2}"""Tell of each row whether the two columns are in order, if both are known."""'
        ]
        tail += [f"{INDENT * 2}first, second = rows[{_quoted(first)}], rows[{_quoted(second)}]"]
        tail += [f"{INDENT * 2}return (first <= second) | first.isna() | second.isna()"]
    return "\n".join([*head, *body, *tail]) + "\n"


def field_names(guesses: list[Guess]) -> dict[str, str]:
    """Return the attribute of each column: its own name, if Python takes it."""
    found: dict[str, str] = {}
    for number, guess in enumerate(guesses, 1):
        usable = re.fullmatch(r"[A-Za-z][A-Za-z0-9_]*", guess.name) and not keyword.iskeyword(guess.name)
        reserved = guess.name in ("Config", "prediction") or guess.name.startswith(("to_", "model_"))
        taken = guess.name in (
            "validate",
            "example",
            "empty",
            "strategy",
            "pandas",
            "int",
            "float",
            "str",
            "bool",
        )
        found[guess.name] = guess.name if usable and not reserved and not taken else f"column_{number}"
    return found


def _field(guess: Guess, attribute: str) -> list[str]:
    options: list[str] = []
    if attribute != guess.name:
        options.append(f"alias={_quoted(guess.name)}")
    if guess.unique:
        options.append("unique=True")
    if guess.nullable:
        options.append("nullable=True")
    if guess.values:
        options.append(f"isin=[{', '.join(_literal(value) for value in guess.values)}]")
    options += [f"ge={_number(guess, guess.low)}"] if guess.low is not None else []
    options += [f"le={_number(guess, guess.high)}"] if guess.high is not None else []
    if guess.pattern:
        options.append(f'str_matches=r"{guess.pattern}"')
    if guess.max_length and not guess.values:
        options.append(f'str_length={{"max_value": {guess.max_length}}}')
    if guess.example and not guess.values:
        options.append(f'metadata={{"example": {_quoted(guess.example)}}}')
    comment = f"{INDENT}# {guess.doubt}" if guess.doubt else ""
    lines = [comment[:MAX_LINE]] if comment else []
    line = f"{INDENT}{attribute}: {guess.kind}" + (f" = pa.Field({', '.join(options)})" if options else "")
    if len(line) <= MAX_LINE:
        return [*lines, line]
    inner = f"{INDENT * 2}{', '.join(options)}"
    if len(inner) <= MAX_LINE:
        return [*lines, f"{INDENT}{attribute}: {guess.kind} = pa.Field(", inner, f"{INDENT})"]
    return [
        *lines,
        f"{INDENT}{attribute}: {guess.kind} = pa.Field(",
        *(line for option in options for line in _wrapped(option)),
        f"{INDENT})",
    ]


def _wrapped(option: str) -> list[str]:
    line = f"{INDENT * 2}{option},"
    if len(line) <= MAX_LINE or not option.startswith("isin=["):
        return [line + ("  # noqa: E501" if len(line) > MAX_LINE else "")]
    values = re.findall(r'"(?:[^"\\]|\\.)*"|[^, ]+', option[len("isin=[") : -1])
    return [f"{INDENT * 2}isin=[", *(f"{INDENT * 3}{value}," for value in values), f"{INDENT * 2}],"]


def _number(guess: Guess, value: float) -> str:
    return str(int(value)) if guess.kind == "int" or value == int(value) else repr(value)


def _literal(value: Any) -> str:
    return _quoted(value) if isinstance(value, str) else repr(value)


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") + '"'


def _plain(text: str) -> str:
    return re.sub(r"[^\w .,-]", " ", text).strip()
