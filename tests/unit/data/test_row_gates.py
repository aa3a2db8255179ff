"""The gates that count row by row: batches add up to what the whole table says."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from ml.data.row_gates import RowGates, garbled, garbled_rows
from ml.project import find_project
from ml.settings import DataGates, Key, Timeliness


@pytest.mark.parametrize("text", ["Müller", "naïve", "Zoë", "日本", "São Paulo", "plain", None, 3, "œuvre"])
def test_right_texts_are_not_garbled(text: object) -> None:
    assert not garbled(text)


@pytest.mark.parametrize("text", ["MÃ¼ller", "SÃ£o Paulo", "\ufffd", "donâ€™t", "Ã–sterreich"])
def test_wrong_texts_are(text: str) -> None:
    assert garbled(text)


def test_a_column_of_texts_and_others_is_looked_at() -> None:
    mixed = pd.Series(["plain", 3, None, "MÃ¼ller", "Zoë"], dtype=object)
    assert garbled_rows(mixed).tolist() == [False, False, False, True, False]
    assert not garbled_rows(pd.Series([None, None], dtype=object)).any()


def test_batches_add_up_to_the_table() -> None:
    titanic = find_project("titanic")
    table = pd.read_csv(titanic.folder / "data" / "train.csv")
    table.loc[[7, 500], "Name"] = "MÃ¼ller"
    table["Embarked"] = table["Embarked"].where(table.index % 90 > 0, "X")
    gates = DataGates(max_missing={"Age": 0.1, "Cabin": 0.5}, max_unseen=0.0)
    project = titanic.model_copy(update={"data_gates": gates, "personal": []})
    known = {"Embarked": {"shares": {"S": 0.7, "C": 0.2, "Q": 0.1}}}
    whole, pieces = RowGates(project, known), RowGates(project, known)
    whole.see(table)
    for batch in np.array_split(np.arange(len(table)), 7):
        pieces.see(table.iloc[batch])
    assert whole.findings() == pieces.findings()
    told = {one.gate: str(one.violation) for one in pieces.findings() if one.violation}
    assert told["garbled: Name"].endswith("2 values, the first in row 8: 'MÃ¼ller', row 501: 'MÃ¼ller'")
    assert set(told) == {"garbled: Name", "missing: Age", "missing: Cabin", "unseen: Embarked"}


def test_two_keys_of_one_column_are_two_gates(tmp_path: Path) -> None:
    for name, values in (("ours", "S\nC\nQ"), ("theirs", "S")):
        (tmp_path / f"{name}.csv").write_text(f"port\n{values}\n", encoding="utf-8")
    keys = [
        Key(column="Embarked", file=str(tmp_path / f"{name}.csv"), key="port") for name in ("ours", "theirs")
    ]
    project = find_project("titanic").model_copy(update={"data_gates": DataGates(keys=keys)})
    gates = RowGates(project, {})
    for start in (0, 2):
        gates.see(pd.DataFrame({"Embarked": ["S", "C"]}, index=[start, start + 1]))
    first, second = (one for one in gates.findings() if one.kind == "join key")
    assert not first.violation
    assert "theirs.csv" in str(second.violation) and (second.value, second.threshold) == (0.5, 0.0)


def test_the_first_and_the_last_date_may_stand_in_any_batch() -> None:
    rule = Timeliness(column="day", max_age_days=3, first="2020-01-05")
    project = find_project("titanic").model_copy(update={"data_gates": DataGates(timeliness=rule)})
    today = pd.Timestamp.now("UTC")
    days = [
        today.isoformat(),
        "2020-01-07",
        "2020-01-05",
        (today + pd.Timedelta(days=9)).isoformat(),
        "2021-01-01",
    ]
    gates = RowGates(project, {})
    for number, day in enumerate(days):
        gates.see(pd.DataFrame({"day": [day]}, index=[number]))
    found = {one.about: one for one in gates.findings() if one.kind == "timeliness"}
    assert not found["first date"].violation and not found["age of the newest row in days"].violation
    assert "row 4" in str(found["rows of the future"].violation)
