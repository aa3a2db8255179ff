"""Rows that nobody sent: made from a contract, to ask a model what no row of the data asks."""

import random
import string
from collections.abc import Sequence
from typing import Any

import pandera.pandas as pa
from pydantic import ValidationError

from ml.data.request import example_values, request_model

MISSING_SHARE, STRANGE_SHARE = 0.15, 0.1
WIDER = 0.5  # of the range of known values, on both sides
TRIES = 20  # for each row; a contract may refuse most of what is made up


def generated_rows(
    contract: pa.DataFrameSchema, known: Sequence[dict[str, Any]], count: int, seed: int
) -> list[dict[str, Any]]:
    """Return at most ``count`` rows that a contract without the target admits, each value drawn by itself.

    Values come from the ``known`` rows and the contract's examples, from the ranges around them, and, for
    texts, from nowhere; what may be missing is missing now and then. Equal arguments give equal rows.
    """
    draw, model = random.Random(seed), request_model(contract)
    values = {
        name: _values(column, [row.get(name) for row in known]) for name, column in contract.columns.items()
    }
    found: list[dict[str, Any]] = []
    for _ in range(count * TRIES):
        row = {name: _one(draw, values[name], column.nullable) for name, column in contract.columns.items()}
        try:
            found.append(model.model_validate(row).model_dump(by_alias=True))
        except ValidationError:
            continue
        if len(found) == count:
            break
    return found


def _values(column: Any, seen: Sequence[Any]) -> list[Any]:
    found = dict.fromkeys(value for value in (*seen, *example_values(column)) if value is not None)
    return list(found)


def _one(draw: random.Random, values: list[Any], may_miss: bool) -> Any:
    if not values or (may_miss and draw.random() < MISSING_SHARE):
        return None
    value, strange = draw.choice(values), draw.random() < STRANGE_SHARE
    if isinstance(value, bool):
        return value
    if isinstance(value, str):
        return "".join(draw.choices(string.printable, k=draw.randint(0, 30))) if strange else value
    numbers = [one for one in values if not isinstance(one, str)]
    low, high = min(numbers), max(numbers)
    wider = WIDER * (high - low)
    if isinstance(value, int) and strange:
        return draw.randint(int(low - wider), int(high + wider))
    return draw.uniform(low - wider, high + wider) if isinstance(value, float) and not strange else value
