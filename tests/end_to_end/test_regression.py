"""Days of three places with good thermometers pass the suite, and it finds the place with a bad one."""

import json

import pandas as pd
import pytest

from ml.cli import main
from ml.project import find_project
from ml.projects.temperature.make_data import PLACES, days
from tests.conftest import Site
from tests.support import make_place


@pytest.mark.slow
@pytest.mark.parametrize("name", PLACES)
def test_clean_measurements_are_blessed_and_noisy_ones_refused(site: Site, name: str) -> None:
    noisy = name == "temperature-noisy"
    build = site.root / "build"
    if name != "temperature":
        make_place(site.root / "projects", name)
    codes = [
        main([stage, "--project", name, "--build", str(build)]) for stage in ("data", "train", "quality")
    ]
    assert codes == [0, 0, 3 if noisy else 0]
    verdict = json.loads((build / name / "quality" / "verdict.json").read_text())
    outcomes = {gate["gate"]: gate["outcome"] for gate in verdict["gates"]}
    errors = {"floor: r2", "ceiling: mean_absolute_error", "ceiling: root_mean_squared_error"}
    assert {outcomes[gate] for gate in errors} == {"refused" if noisy else "passed"}
    report = build / name / "quality" / "report"
    assert {"predictions.svg", "slices.svg", "robustness.svg", "index.html"} <= {
        file.name for file in report.iterdir()
    }


def test_the_table_is_what_its_maker_makes() -> None:
    committed = pd.read_csv(find_project("temperature").folder / "data" / "days.csv")
    pd.testing.assert_frame_equal(committed, days(PLACES["temperature"]))
