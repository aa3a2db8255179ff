"""Settings that mean nothing are refused."""

import pytest

from ml.data.settings_check import answers_among, check_settings
from ml.project import find_project, project_names
from tests.conftest import Site
from tests.support import ErrorOf


def test_the_built_in_projects_mean_what_they_say() -> None:
    from ml.data.contract import load_contract

    for name in project_names():
        check_settings(find_project(name), load_contract(find_project(name)).columns)


@pytest.mark.parametrize("name", ["prediction", "probability_1", "probability_of rain"])
def test_a_column_that_is_called_as_an_answer_is_refused(site: Site, error_of: ErrorOf, name: str) -> None:
    site.edit("contract.py", "class Config:", f'answer: str = pa.Field(alias="{name}")\n\n    class Config:')
    assert site.ml("data") == 1
    error = error_of()
    assert f"contract.py: column '{name}' is called as an answer of the model is: rename it" in error
    assert f'AS "given_{name}"' in error and not list(answers_among([f"given_{name}"]))


@pytest.mark.parametrize("name", ["Prediction", "predictions", "probability"])
def test_a_column_that_is_called_nearly_so_is_none(name: str) -> None:
    assert not list(answers_among([name, "Age"]))


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("max_missing = { Age", "max_missing = { Agee = 0.1, Age", "max_missing: no column 'Agee'"),
        ("max_one_value = { Age", "max_one_value = { Title = 0.1, Age", "max_one_value: no column 'Title'"),
        ('sensitive = ["Embarked"]', 'sensitive = ["C85"]', "gates.fairness.sensitive: no column 'C85'"),
        ('["Age"]]', '["Age"], ["Title"]]', "gates.slices.by: no column 'Title'"),
        ("bins = { Age", "bins = { Ages = [1], Age", "slices.bins: no column 'Ages' in contract.py: did"),
        ('"Ticket", "Cabin"]', '"Tiket", "Cabin"]', "personal: no column 'Tiket'"),
        ('["Age"]]', '["Age"], ["Cabin"]]', "gates.slices.by: 'Cabin' is in personal"),
        ('"Embarked", "Title"]', '"Embarked", "Cabin"]', "features.categorical: 'Cabin' is in personal"),
        ("accuracy = 0.78", "accuracy = 55", "gates.floors.accuracy = 55 means nothing"),
        ("accuracy = 0.78", "accuracy = 0.0001", "gates.floors.accuracy = 0.0001 means nothing"),
        ("f1 = 0.70", "neg_log_loss = 0.5", "neg_log_loss is never above 0"),
        ("log_loss = 0.55", "log_loss = -0.55", "gates.ceilings.log_loss = -0.55 means nothing"),
        ("calibration_error = 0.15 ", "calibration_error = 15 ", "calibration_error = 15 means nothing"),
        ("max_gap = 0.10 ", "max_gap = 10 ", "gates.max_gap = 10 means nothing: accuracy ends at 1"),
        ("min_gain_over_dummy = 0.10 ", "min_gain_over_dummy = 9 ", "gain_over_dummy = 9 means nothing"),
        ("floor = 0.6\n", "floor = 60\n", "gates.slices.floor = 60 means nothing"),
        ("units = 0.10 ", "units = 10 ", "gates.max_damage.units = 10 means nothing"),
    ],
)
def test_a_setting_that_means_nothing_is_refused(
    site: Site, error_of: ErrorOf, old: str, new: str, told: str
) -> None:
    site.edit("project.toml", old, new)
    assert site.ml("data") == 1
    error = error_of()
    assert told in error and "project.toml" in error
