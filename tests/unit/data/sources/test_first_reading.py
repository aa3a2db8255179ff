"""What a first reading would lose is kept: classes called None, and digits that no float holds."""

from pathlib import Path

import pandas as pd
import pytest

from ml.data.sources.discover import Discovered, discover

LONG = 9007199254740992


def found_in(folder: Path, table: pd.DataFrame, kind: str = "csv", target: str = "damage") -> Discovered:
    file = folder / f"t.{kind}"
    if kind == "csv":
        table.to_csv(file, index=False)
    else:
        table.to_parquet(file)
    return discover(str(file), target=target)


def test_a_word_for_a_gap_is_a_class_of_the_target_and_a_gap_elsewhere(tmp_path: Path) -> None:
    words = ["None", "minor", "major", None] * 10
    found = found_in(tmp_path, pd.DataFrame({"size": 1.5, "other": words, "damage": words}))
    assert found.table["damage"].value_counts().to_dict() == {"None": 10, "minor": 10, "major": 10}
    assert found.table["damage"].isna().sum() == 10 and found.table["other"].isna().sum() == 20
    told = [line for line in found.told if "None" in line]
    assert [line for line in told if "'damage'" in line] == [
        "'None' in 'damage' (10 rows) is a class: if it stands for a gap, take those rows out"
    ]
    assert len(told) == 2


@pytest.mark.parametrize(
    "words",
    [["None", "minor", "major", "minor"] * 5 + ["major"] * 9, ["None", "1.5", "2.5"] * 10],
    ids=["rare", "numbers"],
)
def test_it_is_a_gap_among_numbers_and_where_it_is_too_rare_to_be_a_class(
    tmp_path: Path, words: list[str]
) -> None:
    found = found_in(tmp_path, pd.DataFrame({"size": 1.5, "damage": words}))
    assert found.table["damage"].isna().sum() == words.count("None")


def test_a_gap_of_a_typed_table_is_one(tmp_path: Path) -> None:
    found = found_in(tmp_path, pd.DataFrame({"size": 1.5, "damage": ["a", None, "b"] * 10}), "parquet")
    assert found.table["damage"].isna().sum() == 10


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_whole_numbers_that_no_float_holds_are_texts(tmp_path: Path, kind: str) -> None:
    table = pd.DataFrame(
        {
            "signed": range(LONG, LONG + 30),
            "unsigned": pd.Series(range(2**63, 2**63 + 30), dtype="uint64"),
            "short": range(30),
            "amount": 1e20,
        }
    )
    table["large"] = table["amount"] + 0.5
    discovered = found_in(tmp_path, table, kind, "short")
    found = discovered.table
    assert found["signed"].tolist()[:2] == ["9007199254740992", "9007199254740993"]
    assert found["unsigned"].nunique() == 30 and found["unsigned"].iloc[1] == "9223372036854775809"
    assert found["short"].dtype == int and found["amount"].dtype == found["large"].dtype == float
    assert ("'amount' holds numbers that are kept rounded" in str(discovered.told)) == (kind == "parquet")


def test_long_whole_numbers_keep_their_digits_beside_gaps(tmp_path: Path) -> None:
    codes = [None if number % 3 == 0 else str(LONG + number) for number in range(30)]
    found = found_in(tmp_path, pd.DataFrame({"code": codes, "n": 7}), target="n")
    assert found.table["code"].nunique() == 20 and found.table["code"].isna().sum() == 10
    assert any(line.startswith("'code' is read as text") for line in found.told)
