"""Rows that nobody sent obey the contract, reach further than the known ones, and are the same each time."""

import pandera.pandas as pa

from ml.data.generated_rows import generated_rows
from ml.data.request import request_model

CONTRACT = pa.DataFrameSchema(
    {
        "id": pa.Column(int, pa.Check.ge(1)),
        "size": pa.Column(float, nullable=True),
        "code": pa.Column(str, pa.Check.str_matches("^[A-Z]{2}$"), metadata={"example": "UA"}),
        "kind": pa.Column(str, pa.Check.isin(["a", "b"])),
        "name": pa.Column(str, nullable=True),
        "yes": pa.Column(bool),
    }
)
KNOWN = [
    {"id": 1, "size": 1.0, "code": "AA", "kind": "a", "name": "Ada", "yes": True},
    {"id": 9, "size": 3.0, "code": "DL", "kind": "a", "name": None, "yes": False},
]


def test_they_obey_the_contract_and_reach_further() -> None:
    rows = generated_rows(CONTRACT, KNOWN, 500, seed=1)
    assert len(rows) == 500
    model = request_model(CONTRACT)
    assert all(model.model_validate(row).model_dump(by_alias=True) == row for row in rows)
    sizes = [row["size"] for row in rows if row["size"] is not None]
    assert min(sizes) < 1.0 and max(sizes) > 3.0 and len(sizes) < 500
    assert {row["kind"] for row in rows} == {"a", "b"}, "what no known row has, and the contract admits"
    assert {row["code"] for row in rows} == {"AA", "DL", "UA"}
    assert {row["yes"] for row in rows} == {True, False}
    assert None in {row["name"] for row in rows} and len({row["name"] for row in rows}) > 20
    assert (
        rows == generated_rows(CONTRACT, KNOWN, 500, seed=1) != generated_rows(CONTRACT, KNOWN, 500, seed=2)
    )


def test_a_contract_that_admits_nothing_that_can_be_made_up_gives_no_row() -> None:
    strict = pa.DataFrameSchema({"code": pa.Column(str, pa.Check.str_matches("^[0-9]{40}$"))})
    assert generated_rows(strict, [], 5, seed=1) == []
