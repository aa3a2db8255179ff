"""No value of a personal column is told: not in a message, a report, a log or a model."""

import json
import re

import pandas as pd
import pytest

from ml.errors import MlError
from ml.personal import nothing_told, redacted
from ml.project import find_project
from tests.conftest import Site

ROWS = pd.DataFrame({"Name": ["Ann Lee", "Bo", None], "Number": [12345, 12, 3], "Age": [99999, 2, 3]})


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("KeyError: 'Ann Lee'", "KeyError: '***'"),
        ("ANN LEE", "***"),
        ("Ann Leeds", "Ann Leeds"),
        ("a body", "a body"),
        ("id 12345 of 12", "id *** of 12"),
        ("score 0.12345 and 123456", "score 0.12345 and 123456"),
        ("age 99999", "age 99999"),
    ],
)
def test_values_are_hidden_and_figures_are_not(text: str, kept: str) -> None:
    assert redacted(text, ROWS, ["Name", "Number", "no such column"]) == kept


def test_an_error_keeps_its_kind_and_loses_the_value(site: Site) -> None:
    with pytest.raises(MlError, match=r"fails: '\*\*\*'") as caught:
        with nothing_told(ROWS, find_project("small")):
            raise MlError("fails: 'Ann Lee'")
    assert caught.value.__cause__ is None


def test_a_feature_that_fails_tells_no_name(site: Site, capsys: pytest.CaptureFixture[str]) -> None:
    quoting = 'dict()[passengers["Name"].iloc[0]]\n    found = passengers["Name"]'
    site.edit("features.py", 'found = passengers["Name"]', quoting)
    assert site.ml("data") == 0 and site.ml("train") == 1
    said = capsys.readouterr().err
    assert "title fails on the data: KeyError: '***'" in said


@pytest.mark.slow
def test_no_artifact_of_a_build_tells_a_name(built: Site, capsys: pytest.CaptureFixture[str]) -> None:
    """The columns of fairness, misspelt, once printed the table; so did a feature that quotes a row."""
    built.edit(
        "features.py",
        "    return passengers.assign(FamilySize=",
        '    if (passengers["Sex"].str.upper() == passengers["Sex"]).any():\n'
        '        raise ValueError(f"what is {passengers.iloc[0].to_dict()}?")\n'
        "    return passengers.assign(FamilySize=",
    )
    assert built.ml("train") == 0
    assert built.ml("quality") == 3, "the damage 'text' makes the feature fail"
    said = capsys.readouterr().err
    people = pd.concat(pd.read_parquet(file) for file in (built.build / "data").glob("t*.parquet"))
    secret = [*people["Name"], *people["Cabin"].dropna().unique(), *people["Ticket"]]
    secret = [value for value in secret if len(value) > 3 and not value.isdecimal()]
    public = [built.build / "data" / "manifest.json"]
    for part in ("model", "quality"):
        public += [file for file in (built.build / part).rglob("*") if file.is_file()]
    texts = {"console": said} | {str(file): file.read_bytes().decode(errors="replace") for file in public}
    told = re.compile(rf"(?<!\w)({'|'.join(map(re.escape, secret))})(?!\w)")
    found = {name for name, text in texts.items() if told.search(text)}
    assert found == set()
    verdict = json.loads((built.build / "quality" / "verdict.json").read_text())
    (refused,) = (gate for gate in verdict["gates"] if gate["outcome"] == "refused")
    assert "***" in refused["message"], "and the refusal still says what happened"
