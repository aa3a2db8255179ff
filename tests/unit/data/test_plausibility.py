"""What a table tells of itself, without a champion: every fault is found, no clean or sorted table is."""

from collections.abc import Callable, Iterator

import numpy as np
import pandas as pd
import pytest

from ml.data.gates import NO_CHAMPION, judge_data, left_open
from ml.data.plausibility import judge_table, stretch
from ml.data.split import split
from ml.project import Project, find_project
from tests.support import make_place

Change = Callable[[pd.DataFrame], pd.DataFrame]
PLACES = ("temperature", "temperature-coast", "temperature-mountain")
TABLES = {"titanic": "train", **dict.fromkeys(PLACES, "days")}


@pytest.fixture(scope="module", autouse=True)
def _places(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    projects = tmp_path_factory.mktemp("projects")
    for name in (*PLACES[1:], "temperature-noisy"):
        make_place(projects, name)
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setenv("ML_PROJECTS", str(projects))
        yield


def rows_of(project: Project) -> pd.DataFrame:
    return pd.read_csv(project.folder / "data" / f"{TABLES[project.name]}.csv")


def refused(project: Project, table: pd.DataFrame) -> dict[str, str]:
    table = table.reset_index(drop=True)
    findings = judge_data(project, table, split(table, project), None)
    return {one.gate: str(one.violation) for one in findings if one.violation}


@pytest.mark.parametrize("name", [*TABLES, "temperature-noisy"])
def test_clean_tables_pass_without_a_champion_in_whatever_order(name: str) -> None:
    TABLES.setdefault(name, "days")
    project = find_project(name)
    table = rows_of(project)
    assert refused(project, table) == {}
    for column in table:
        for ascending in (True, False):
            kind = "stable" if ascending else "quicksort"
            ordered = table.sort_values(column, ascending=ascending, kind=kind).reset_index(drop=True)
            alarms = [one.violation for one in judge_table(project, ordered) if one.violation]
            assert alarms == [], f"sorted by {column}"


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(8))
def test_resampled_clean_tables_pass(seed: int) -> None:
    project = find_project("titanic")
    assert refused(project, rows_of(project).sample(frac=0.9, random_state=seed)) == {}


def in_last_quarter(table: pd.DataFrame, column: str, value: object) -> pd.DataFrame:
    return table.assign(**{column: table[column].mask(np.arange(len(table)) >= len(table) * 3 // 4, value)})


@pytest.mark.parametrize(
    ("change", "gate"),
    [
        (lambda t: in_last_quarter(t, "Age", 30.0), "stretch: Age"),
        (lambda t: in_last_quarter(t, "Age", np.nan), "stretch: Age"),
        (lambda t: in_last_quarter(t, "Sex", "male"), "stretch: Sex"),
        (lambda t: in_last_quarter(t, "Parch", 0), "stretch: Parch"),
        (lambda t: in_last_quarter(t, "Fare", 0.0), "stretch: Fare"),
        (lambda t: in_last_quarter(t, "Cabin", np.nan), "stretch: Cabin"),
        (lambda t: in_last_quarter(t, "Survived", 0), "stretch: Survived"),
        (lambda t: t.assign(Age=t["Age"].fillna(28)), "one value: Age"),
        (lambda t: t.assign(Age=t["Age"].fillna(0)), "one value: Age"),
        (lambda t: t.assign(Age=t["Age"].fillna(99)), "one value: Age"),
        (lambda t: t.assign(Pclass=4 - t["Pclass"]), "usual: Fare of the first class"),
        (lambda t: t.assign(Parch=t["SibSp"], SibSp=t["Parch"]), "usual: Parch of a Master"),
        (lambda t: t.assign(Name=np.roll(t["Name"], 1)), "usual: Sex of a Mrs or Miss"),
        (lambda t: t.assign(Name=t["Name"].str.replace("e", "Ã©")), "garbled: Name"),
        (lambda t: t.assign(Name=t["Name"].str.replace("e", "\ufffd")), "garbled: Name"),
        (lambda t: t.sample(frac=0.6, random_state=1), "rows: number"),
    ],
)
def test_what_is_wrong_is_found_without_a_champion(change: Change, gate: str) -> None:
    project = find_project("titanic")
    assert gate in refused(project, change(rows_of(project)))


def test_ages_of_men_and_women_swapped_are_found() -> None:
    project = find_project("titanic")
    table = rows_of(project)
    men = (table["Sex"] == "male").to_numpy()
    ages, random = table["Age"].to_numpy().copy(), np.random.default_rng(1)
    ages[men], ages[~men] = random.choice(ages[~men], men.sum()), random.choice(ages[men], (~men).sum())
    assert "usual: Age of a Master" in refused(project, table.assign(Age=ages))


@pytest.mark.parametrize("name", list(TABLES)[1:])
@pytest.mark.parametrize("by", [1, -1])
def test_shifted_days_are_found(name: str, by: int) -> None:
    project = find_project(name)
    table = rows_of(project)
    rolled = table.assign(Temperature=np.roll(table["Temperature"], by))
    assert "lag: YesterdayHigh after Temperature" in refused(project, rolled)
    moved = table.assign(Day=(pd.to_datetime(table["Day"]) + pd.Timedelta(days=by)).dt.strftime("%Y-%m-%d"))
    assert "not 2024-01-01: is the start missing" in refused(project, moved)["timeliness: first date"]


def test_a_personal_text_is_not_told() -> None:
    project = find_project("titanic")
    told = refused(project, rows_of(project).assign(Name=lambda t: t["Name"].str.replace("e", "Ã©")))
    assert "Ã©" not in told["garbled: Name"] and "***" in told["garbled: Name"]


def test_stretches_that_chance_or_order_explains_are_none() -> None:
    random = np.random.default_rng(1)
    mostly_zero = pd.Series(np.where(random.random(2000) < 0.002, 1.0, 0.0))
    grouped = pd.Series(np.repeat(["a", "b", "c", "d"], [1500, 100, 50, 20]))
    assert stretch(mostly_zero) == stretch(grouped) == stretch(pd.Series([1.0] * 9)) == (0, 0)
    stuck = pd.Series(random.normal(size=400)).mask(np.arange(400) >= 300, 0.5)
    assert stretch(stuck) == (300, 100)


def test_what_a_first_build_cannot_know_is_asked_for() -> None:
    project = find_project("temperature")
    table = rows_of(project)
    found = judge_data(project, table, split(table, project), None)
    open_gates = [one.record() for one in found if one.not_run]
    assert [one.gate for one in open_gates] == ["max_row_change", "max_changed_rows", "max_psi", "max_ks"]
    assert {(one.outcome, one.message) for one in open_gates} == {("not run", NO_CHAMPION)}
    line = left_open(project, found)
    assert "max_psi, max_ks were not run" in line and "usual, rows (of the source)" in line
