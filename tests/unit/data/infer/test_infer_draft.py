"""What columns are for, and the Python that is written of it."""

import runpy
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ml import locations
from ml.data.infer.draft import Draft
from ml.data.infer.guess import guess
from ml.data.infer.python_text import (
    attribute_names,
    class_name,
    contract_text,
    features_row_text,
    features_text,
    made_features,
)
from ml.data.infer.roles import words_of
from ml.data.rows import records
from ml.errors import MlError, UsageError

ROWS = 300
Calendar = Callable[[Any], Any]


def visits() -> pd.DataFrame:
    random = np.random.default_rng(5)
    begin = pd.Timestamp("2024-01-01") + pd.to_timedelta(np.arange(ROWS), unit="D")
    return pd.DataFrame(
        {
            "VisitID": [f"V{number:05d}" for number in random.permutation(ROWS)],
            "patient": random.integers(1, 61, ROWS),
            "patient_name": [f"Ann{number} Smith" for number in range(ROWS)],
            "dose_min": (low := random.integers(1, 50, ROWS)),
            "dose_max": low + random.integers(0, 9, ROWS),
            "class": random.choice(["a", "b", "c"], ROWS),
            "begin": begin.strftime("%d.%m.%Y"),
            "end": (begin + pd.Timedelta(days=3)).strftime("%d.%m.%Y"),
            "remark": [f"it was rather a fine day number {number}" for number in range(ROWS)],
            "well": random.choice([0, 1], ROWS),
        }
    )


def roles(draft: Draft) -> dict[str, str]:
    return {one.name: one.role for one in draft.columns}


def test_ids_groups_people_and_free_text_are_no_features() -> None:
    found = roles(guess(visits(), "well"))
    assert (found["VisitID"], found["patient"], found["well"]) == ("id", "group", "target")
    assert found["patient_name"] == found["remark"] == "left out"
    assert {found[name] for name in ("dose_min", "dose_max", "class", "begin", "end")} == {"feature"}


def test_pairs_that_begin_and_end_something_are_found_and_the_target_is_none_of_them() -> None:
    draft = guess(visits(), "well")
    assert draft.ordered == (("begin", "end"), ("dose_min", "dose_max"))


def test_what_a_person_says_goes_before_what_is_guessed() -> None:
    draft = guess(visits(), "well", {"patient": "feature", "class": "left out"})
    assert roles(draft)["patient"] == "feature" and roles(draft)["class"] == "left out"
    with pytest.raises(MlError, match="'patient' cannot name each row: its value in row"):
        guess(visits(), "well", {"patient": "id"})
    with pytest.raises(UsageError, match="no column 'nobody'"):
        guess(visits(), "well", {"nobody": "id"})


DAYS = pd.date_range("2024-01-01 06:13", periods=ROWS, freq="9h")
AMOUNTS = [f"{number}.{number + 100},{number % 90 + 10}" for number in range(1, ROWS + 1)]


@pytest.mark.parametrize(
    ("texts", "told"),
    [
        (DAYS.strftime("%Y-%m-%d %-H:%M"), "dates"),
        (DAYS.strftime("%Y/%m/%d %H:%M"), "dates"),
        (DAYS.strftime("%-d.%-m.%Y %-H:%M"), "dates"),
        (DAYS.strftime("%Y-%-m-%-d"), "dates"),
        (DAYS.strftime("%d.%m.%y"), "dates"),
        (DAYS.strftime("%m/%d/%Y %I:%M %p"), "dates"),
        (DAYS.strftime("%b %d, %Y %H:%M:%S"), "dates"),
        (DAYS.strftime("%m-%d-%Y"), "dates"),
        (AMOUNTS, "numbers"),
        ([one.partition(".")[2] for one in AMOUNTS], "numbers"),
        ([f"{number / 10}%" for number in range(ROWS)], "numbers written with a sign"),
        ([f"-${number:,}.00" for number in range(1000, 1000 + ROWS)], "numbers written with a sign"),
        ([f"{number},50 €" for number in range(ROWS)], "numbers written with a sign"),
        ([f"EUR {number},50" for number in range(ROWS)], "numbers written with a sign"),
    ],
)
def test_dates_and_numbers_written_otherwise_are_left_out_and_someone_is_to_look_at_them(
    texts: list[str], told: str
) -> None:
    table = visits().assign(meant=texts)
    draft = guess(table, "well")
    meant = draft.columns[-1]
    assert (meant.role, meant.doubtful, meant.rules) == ("left out", True, {})
    assert f"looks like {told}" in meant.why and "have the source write" in meant.why
    assert any("'meant': left out: looks like" in line for line in draft.doubtful)
    used = guess(table, "well", {"meant": "feature"}).columns[-1]
    assert list(used.rules) == ["str_length"], "no regular expression that next month would break"
    with pytest.raises(MlError, match=f"the target 'meant' looks like {told}"):
        guess(table, "meant")


@pytest.mark.parametrize(
    "texts",
    [
        [f"1.{number % 9}.{number % 12}" for number in range(ROWS)],
        [f"{number % 3},{number % 2}" for number in range(ROWS)],
        [f"12-{number % 7}-900" for number in range(ROWS)],
    ],
)
def test_versions_answers_and_part_numbers_are_categories(texts: list[str]) -> None:
    draft = guess(visits().assign(code=texts), "well")
    [code] = [one for one in draft.columns if one.name == "code"]
    assert (code.kind, code.role) == ("category", "feature")


def test_digits_of_one_length_name_rows_and_no_phones() -> None:
    table = visits().drop(columns="VisitID")
    order = [f"{number:010d}" for number in range(ROWS)]
    assert roles(guess(table.assign(order_id=order), "well"))["order_id"] == "id"
    phones = [f"0{number:0{6 + number % 3}d}" for number in range(3000, 3000 + ROWS)]
    for name, texts in [("telephone", order), ("call", phones), ("call", [f"+49 {one}" for one in order])]:
        draft = guess(table.assign(**{name: texts}), "well")
        [found] = [one for one in draft.columns if one.name == name]
        assert found.why.startswith("personal: phone numbers"), name


@pytest.mark.parametrize(
    ("value", "told"),
    [
        (["a", "b"], "lists or objects"),
        ({"a": 1}, "lists or objects"),
        (np.array([1.5]), "lists or objects"),
        (b"\x00", "bytes"),
    ],
)
def test_lists_objects_and_bytes_are_left_out_and_the_reason_is_told(value: object, told: str) -> None:
    table = visits()
    table.insert(1, "tags", pd.Series([None, *[value] * (ROWS - 1)], dtype=object))
    draft = guess(table, "well", {"tags": "left out"})
    assert [one.name for one in draft.columns] == list(table)
    tags = draft.columns[1]
    assert (tags.kind, tags.role, tags.why, tags.doubtful) == ("objects", "left out", f"holds {told}", False)
    assert [one for one in draft.columns if one != tags] == list(guess(visits(), "well").columns)
    for target, said in (("tags", {}), ("well", {"tags": "id"})):
        with pytest.raises(MlError, match=f"'tags' holds {told}, which no model learns: have the source"):
            guess(table, target, said)  # type: ignore[arg-type]


def test_digits_with_leading_zeros_are_codes() -> None:
    table = visits().assign(postcode=10115)
    draft = guess(
        table.assign(postcode=np.tile([1067, 10115, 80331], 100)), "well", codes=frozenset({"postcode"})
    )
    [postcode] = [one for one in draft.columns if one.name == "postcode"]
    assert postcode.kind == "code" and postcode.python_type == "str" and "postcode" in draft.categorical


@pytest.mark.parametrize(("customers", "told"), [(50, 1), (ROWS // 2, 0)])
def test_whose_rows_a_split_by_time_divides_is_told(customers: int, told: int) -> None:
    order = np.sort(np.arange(ROWS) % customers) if customers > 50 else np.arange(ROWS) % customers
    table = visits().drop(columns="patient").assign(customer=order, at=DAYS.strftime("%Y-%m-%d %H:%M"))
    draft = guess(table, "well")
    assert (roles(draft)["customer"], roles(draft)["at"]) == ("feature", "time")
    lines = [line for line in draft.doubtful if "on both sides of the split by time" in line]
    assert len(lines) == told
    assert all("50 of 50 stand" in line and 'kind = "group", by = "customer"' in line for line in lines)


def test_digits_too_long_for_a_number_are_texts_and_the_reason_is_told() -> None:
    digits = [str(2**53 + number % 7) for number in range(ROWS)]
    [code] = [one for one in guess(visits().assign(code=digits), "well").columns if one.name == "code"]
    assert (code.role, code.python_type) == ("feature", "str")
    assert code.why == "whole numbers longer than a number keeps exactly, so texts: 7 values"


@pytest.mark.parametrize("form", ["%Y-%m-%d", "%Y-%m-%d %H:%M:%S"])
def test_a_time_series_is_split_by_its_time_which_names_no_rows(form: str) -> None:
    table = visits().drop(columns=["VisitID", "patient"])
    days = pd.date_range("2022-01-01", periods=ROWS, freq="D")
    draft = guess(table.assign(ts=days.strftime(form)), "well")
    assert roles(draft)["ts"] == "time" and "id" not in roles(draft).values()
    assert [one.guess for one in draft.guesses if one.about == "split"] == ["by time, ts"]


def test_words_of_a_name() -> None:
    assert words_of("customerID") == ["customer", "id"]
    assert words_of("Last_Name 2") == ["last", "name", "2"]


def test_names_that_python_does_not_take_have_others() -> None:
    found = attribute_names(["class", "str", "имя", "🙂", "2nd", "a b", "a-b", "validate"])
    assert found["class"] == "class_" and found["str"] == "str_" and found["имя"] == "имя"
    assert found["🙂"] == "column_4" and found["2nd"] == "column_2nd"
    assert found["a b"] == "a_b" and found["a-b"] == "a_b_7" and found["validate"] == "validate_"
    assert class_name("wa-churn_2") == "WaChurn2" and class_name("2024") == "Table2024"


def test_what_is_written_is_formatted_and_clean(tmp_path: Path) -> None:
    long = [f"a rather long category number {number}" for number in range(9)]
    table = visits().assign(kind=np.resize(long, ROWS), **{'say "x"': np.resize(['"', "\\"], ROWS)})
    table["moment"] = DAYS.strftime("%Y-%m-%dT%H:%M:%S+01:00")
    draft = guess(table, "well")
    made = made_features(draft)
    (tmp_path / "contract.py").write_text(contract_text(draft, "visits"), encoding="utf-8")
    (tmp_path / "features.py").write_text(features_text(draft, made), encoding="utf-8")
    (tmp_path / "features_row.py").write_text(features_row_text(draft, made), encoding="utf-8")
    for tool in (
        ["ruff", "format", "--check", "--config", str(locations.ROOT / "pyproject.toml")],
        ["flake8", "--config", str(locations.ROOT / ".flake8")],
        ["pydocstyle", f"--config={locations.ROOT / 'pyproject.toml'}"],
    ):
        done = subprocess.run(
            [sys.executable, "-m", *tool, str(tmp_path)], capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("form", "texts"),
    [
        ("%Y-%m-%d", ["2024-02-29", "2023-02-29", "0001-01-01", "9999-12-31", "2024-13-01", "2024-6-1"]),
        ("%d.%m.%Y", ["1.2.2024", "31.12.1999", "32.1.2024", "01.01.1699", "1.1.2199"]),
        ("%m/%d/%Y", ["2/1/2024", "12/31/1999", "13/1/2024"]),
        ("%d-%b-%Y", ["1-Feb-2024", "1-feb-2024", "1-Mai-2024", "1 Feb 2024"]),
        ("%B %d, %Y", ["February 1, 2024", "Feb 1, 2024"]),
        (
            "ISO8601",
            [
                "2024-02-29T23:59:59.123456789-05:00",
                "2024-02-29 24:00",
                "2024-12-31T23:30:00-01:00",
                "2300-01-01T00:00Z",
                "2024-01-01T12:00+0530",
                "2024-01-01 00:00:60",
                "2025/03/05 05:00",
                "2025-03-05 5:00",
                "2025-03",
                "2025-W10-3",
                "2024",
                "2024-6-1",
                " 2025-03-05T05:00",
                "2025-03-05T05:00 ",
                "2025-03-05T05:00:00\n",
                "2025-03-05\t05:00",
                "2025-03-05T05:00:00,5",
                "2025-03-05T05:00+05:99",
                "2025-03-05T05:00:00." + "1" * 19,
                "２０２５-03-05",
                "",
            ],
        ),
    ],
)
def test_a_row_alone_gets_what_it_gets_in_a_table(tmp_path: Path, form: str, texts: list[str]) -> None:
    rows = pd.DataFrame({"when": [*texts, "now", "today", None, "no date"]})
    by_table, by_row = calendars(tmp_path, form)
    expected = records(by_table(rows))
    assert [by_row(row) for row in records(rows)] == expected
    assert sum(one["when_month"] is not None for one in expected) not in (0, len(rows))
    gaps = [one["when_month"] is None for one in expected]
    assert all(gaps[len(texts) :]), "what depends on the clock is no date"
    assert records(by_table(rows.tail(4))) == expected[-4:], "nor does what else is in the column matter"


PARTS = (
    ["", " "],
    ["2025", "0000", "1699", "25", "9999"],
    ["-", "/", ""],
    ["03", "02", "3", "13", "W10"],
    ["-", "/", ""],
    ["05", "30", "5", "00", ""],
    ["", "T", " ", "t", "\t", "  "],
    ["", "05", "5", "24"],
    ["", ":"],
    ["00", "60", "7", ""],
    ["", ":00", ":60", ":00.5", ":00,5", ":00.1234567", ":00.12345678901"],
    ["", "", "Z", "z", "+01:00", "-0530", "+5", "+05:99", "-23:59", "+24:00"],
    ["", "", "\n", " "],
)
PLAIN = ("", "2025", "-", "03", "-", "05", "T", "05", ":", "00", ":00", "Z", "")
# Most parts are plain ones, so that texts are not far from a date
ISO_LIKE = st.tuples(
    *(
        st.integers(0, 9).flatmap(
            lambda dice, plain=plain, odd=odd: st.sampled_from(odd if dice > 7 else [plain])
        )
        for plain, odd in zip(PLAIN, PARTS, strict=True)
    )
).map("".join)
ISO_TEXTS = st.datetimes(timezones=st.one_of(st.none(), st.timezones())).map(datetime.isoformat)


@pytest.mark.slow
@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.one_of(ISO_LIKE, ISO_TEXTS, st.text(max_size=12)), min_size=1, max_size=20))
def test_a_row_alone_gets_what_it_gets_in_a_table_however_its_date_is_written(texts: list[str]) -> None:
    by_table, by_row = kept_calendars()
    rows = pd.DataFrame({"when": pd.Series(texts, dtype="str")})
    assert [by_row(row) for row in records(rows)] == records(by_table(rows))


@cache
def kept_calendars() -> tuple[Calendar, Calendar]:
    with tempfile.TemporaryDirectory() as folder:
        return calendars(Path(folder), "ISO8601")


def calendars(folder: Path, form: str) -> tuple[Calendar, Calendar]:
    """Return the functions of a table and of a row that are written for a column of dates."""
    draft = guess(visits(), "well")
    [begin] = [one for one in draft.columns if one.name == "begin"]
    column = replace(begin, name="when", date_format=form)
    draft = replace(draft, columns=(column,))
    made = {f"when_{part}": (column, part) for part in ("month", "day_of_week", "hour")}
    for file, text_of in (("by_table.py", features_text), ("by_row.py", features_row_text)):
        (folder / file).write_text(text_of(draft, made), encoding="utf-8")
    by_table, by_row = (runpy.run_path(str(folder / file)) for file in ("by_table.py", "by_row.py"))
    return by_table["calendar"], by_row["calendar"]
