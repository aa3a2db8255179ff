"""Features that know the answer, or more than their row: each is refused, and the reason told."""

import json
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from ml.files import read_json
from tests.conftest import Site, make_site
from tests.support import ErrorOf

pytestmark = pytest.mark.slow
LAST_LINE = "    return passengers.assign(FamilySize="


def feature(site: Site, line: str, head: str = "") -> None:
    site.edit("features.py", LAST_LINE, f"    {line}\n{LAST_LINE}")
    site.edit("features.py", "SPELLINGS = {", f"{head}\nSPELLINGS = {{")


def refused(site: Site) -> dict[str, str]:
    gates = read_json(site.build / "quality" / "verdict.json")["gates"]
    return {gate["gate"]: gate["message"] for gate in gates if gate["outcome"] == "refused"}


def test_a_row_number_on_sorted_rows_is_refused(site: Site, error_of: ErrorOf) -> None:
    file = site.project / "data" / "train.csv"
    pd.read_csv(file).sort_values("Survived").to_csv(file, index=False)
    site.edit("project.toml", 'numeric = ["Pclass",', 'numeric = ["Number", "Pclass",')
    number = "pd.Series(range(len(passengers)), passengers.index) / len(passengers)"
    feature(site, f"passengers = passengers.assign(Number={number})")
    assert site.ml("data") == 0
    assert site.ml("train") == 3
    assert "feature 'Number' alone gives the target away" in error_of()
    site.edit("project.toml", "max_feature_score = 0.82 ", "max_feature_score = 1.0 ")
    assert [site.ml(stage) for stage in ("data", "train", "quality")] == [0, 0, 3]
    assert "too good to be true: accuracy" in refused(site)
    assert "the largest is" in refused(site)["batch: largest difference"]


def test_a_label_that_is_looked_up_by_id_is_refused(site: Site, error_of: ErrorOf) -> None:
    table = pd.read_csv(site.project / "data" / "train.csv")
    known = json.dumps({int(one): int(label) for one, label in zip(table["PassengerId"], table["Survived"])})
    site.edit("project.toml", 'numeric = ["Pclass",', 'numeric = ["Known", "Pclass",')
    look_up = 'passengers["PassengerId"].astype(str).map(KNOWN).fillna(0)'
    feature(
        site,
        f"passengers = passengers.assign(Known={look_up})",
        f"KNOWN = {known}  # noqa: E501".replace("'", '"'),
    )
    assert [site.ml("data"), site.ml("train")] == [0, 3]
    assert "feature 'Known' alone gives the target away" in error_of()


def test_two_columns_whose_xor_is_the_target_are_refused(site: Site) -> None:
    file = site.project / "data" / "train.csv"
    table = pd.read_csv(file)
    coin = table["PassengerId"].map(lambda one: one * 2654435761 % 2**32 // 2**16 % 2)
    table.assign(SibSp=coin, Parch=coin ^ table["Survived"]).to_csv(file, index=False)
    site.edit("features.py", 'passengers["SibSp"] + passengers["Parch"] + 1', 'passengers["Fare"] + 1')
    site.edit("project.toml", ', "FamilySize"]', "]")
    site.edit("project.toml", "min_share = 0.85", "min_share = 0.01")
    site.grid({"GradientBoostingClassifier": {"n_estimators": [100]}})
    assert [site.ml(stage) for stage in ("data", "train", "quality")] == [0, 0, 3]
    assert "too good to be true: accuracy" in refused(site)


GATES = """[gates]
max_gap = 0.10
[gates.floors]
accuracy = 0.6

"""


@pytest.fixture(scope="module")
def _few(tmp_path_factory: pytest.TempPathFactory) -> Site:
    site = make_site(tmp_path_factory.mktemp("few"))
    file = site.project / "project.toml"
    text = file.read_text(encoding="utf-8")
    file.write_text(text[: text.index("[gates] ")] + GATES + text[text.index("[canary]") :], encoding="utf-8")
    (site.project / "expectations.py").unlink()
    site.edit("project.toml", "test_share = 0.3", "test_share = 0.1")
    site.grid({"LogisticRegression": {"C": [1.0], "max_iter": [1000]}})
    with pytest.MonkeyPatch.context() as monkeypatch:
        site.settle(monkeypatch)
        assert site.ml("data") == 0
    return site


@pytest.fixture
def few(
    _few: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, judged_by: Callable[[str], None]
) -> Site:
    """Return a site with data, whose model is judged on few rows by the gates of what it answers where."""
    judged_by("test_runtime.py")
    return _few.copy(tmp_path / "site", monkeypatch)


@pytest.mark.parametrize(
    ("line", "head", "gate", "told"),
    [
        (
            'passengers.loc[passengers.index[10:], "Fare"] = passengers["Fare"].mean()',
            "",
            "batch: largest difference",
            "the largest is",
        ),
        (
            'passengers["Fare"] += __import__("time").localtime().tm_mon * 9',
            "",
            "isolation: largest difference at another time",
            "",
        ),
        (
            'passengers = passengers.assign(Fare=passengers["Fare"] + datetime.now().year % 7 * 9)',
            "from datetime import datetime",
            "isolation: largest difference at another time",
            "",
        ),
        (
            'passengers = passengers.assign(Fare=passengers["Fare"] + pd.Timestamp.now().day * 3)',
            "",
            "pickle: largest difference in a fresh process elsewhere",
            "a clock years ahead",
        ),
        (
            'passengers = passengers.assign(Fare=passengers["Fare"] + len(open("FILE").read()) % 2)',
            "",
            "isolation: files, addresses and programs asked for",
            "reads the file FILE when it predicts",
        ),
        (
            "",
            'LENGTH = len(open("FILE").read())',
            "isolation: files, addresses and programs asked for",
            "reads the file FILE when it is loaded",
        ),
        (
            'import socket; socket.socket().connect_ex(("127.0.0.1", 9))',
            "",
            "isolation: files, addresses and programs asked for",
            "asks the network for ('127.0.0.1', 9) when it predicts",
        ),
        (
            '__import__("subprocess").run(["true"], check=True)',
            "",
            "isolation: files, addresses and programs asked for",
            "starts the program true when it predicts",
        ),
        (
            'passengers["Fare"] += len(os.environ["SHELL_X"])',
            "import os; os.environ.setdefault('SHELL_X', str(os.environ.get('CI', 'x')))",
            "pickle: largest difference in a fresh process elsewhere",
            "environment",
        ),
    ],
)
def test_what_is_not_in_the_row_is_noticed(few: Site, line: str, head: str, gate: str, told: str) -> None:
    file = str(few.project / "data" / "train.csv")
    line, head, told = (text.replace("FILE", file) for text in (line, head, told))
    feature(few, f"passengers = passengers.copy()\n    {line}".rstrip(), head)
    assert [few.ml("train"), few.ml("quality")] == [0, 3]
    assert told in refused(few)[gate]
