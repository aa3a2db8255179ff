"""The pipeline takes raw rows and keeps what it learnt from the training rows."""

import pickle
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import FunctionTransformer

from ml.data.contract import load_contract
from ml.data.personal import made_up
from ml.errors import MlError
from ml.project import find_project
from ml.registry import signing
from ml.training.bundle import largest_difference, load_bundle, pickled
from ml.training.pipeline import build_pipeline, feature_functions, feature_table
from ml.training.row_features import rows_made_otherwise
from tests.conftest import Site


@pytest.fixture
def passengers() -> pd.DataFrame:
    return pd.read_csv(find_project("titanic").folder / "data" / "train.csv")


def test_titles_come_from_names(passengers: pd.DataFrame) -> None:
    table = feature_table(find_project("titanic"), passengers)
    titles = dict(zip(passengers["Name"], table["Title"], strict=True))
    assert titles["Braund, Mr. Owen Harris"] == "Mr"
    assert titles["Sagesser, Mlle. Emma"] == "Miss"
    assert titles["Rothes, the Countess. of (Lucy Noel Martha Dyer-Edwards)"] == "Rare"
    assert set(table["Title"]) == {"Mr", "Mrs", "Miss", "Master", "Rare"}


def test_missing_ages_are_filled_from_the_training_rows(passengers: pd.DataFrame) -> None:
    project = find_project("titanic")
    train, later = passengers.head(600), passengers.tail(200).assign(Age=80.0)
    pipeline = build_pipeline(project, LogisticRegression(max_iter=1000)).fit(train, train["Survived"])
    pipeline.predict(later)
    filled = dict(
        zip(
            project.features.numeric,
            pipeline["columns"].named_transformers_["numeric"][0].statistics_,
            strict=True,
        )
    )
    assert filled["Age"] == pytest.approx(train["Age"].mean())


def test_a_feature_that_nobody_makes_is_named(site: Site, passengers: pd.DataFrame) -> None:
    site.edit("project.toml", '"Embarked", "Title"]', '"Embarked", "Titel"]')
    with pytest.raises(MlError, match="no column 'Titel' in the data"):
        feature_table(find_project("small"), passengers)


def test_a_function_that_is_not_there_is_named(site: Site) -> None:
    site.edit("project.toml", '"title", "family_size"', '"titel"')
    with pytest.raises(MlError, match=r"features.py: has no function 'titel'"):
        feature_functions(find_project("small"))


def test_a_function_that_fails_is_named(site: Site, passengers: pd.DataFrame) -> None:
    site.edit("features.py", 'passengers["SibSp"]', 'passengers["Sibling"]')
    with pytest.raises(MlError, match=r"features.py: family_size fails on the data: KeyError"):
        feature_table(find_project("small"), passengers)


@pytest.mark.parametrize(
    ("returns", "told"),
    [
        ("None", "returns nothing"),
        ("passengers.dropna()", "returns [0-9]+ of 891 rows"),
        ("passengers.drop_duplicates('Ticket')", "returns [0-9]+ of 891 rows"),
        ("passengers.head(10)", "returns 10 of 891 rows"),
        ("pd.concat([passengers, passengers])", "returns 1782 of 891 rows"),
        ("passengers['SibSp']", "returns a Series"),
        ("passengers.to_numpy()", "returns a ndarray"),
        ("passengers.sort_values('Age')", "returns the rows in another order"),
        ("passengers.sort_values('Age').drop(columns='PassengerId')", "returns the rows in another order"),
        ("passengers.sort_values('Age').reset_index(drop=True)", "returns the rows in another order"),
        ("[passengers, passengers.drop(index=0, inplace=True)][0]", "returns 890 of 891 rows"),
        ("exit(0)", "fails on the data: SystemExit: 0"),
    ],
)
def test_a_function_that_returns_other_rows_is_named(
    site: Site, passengers: pd.DataFrame, returns: str, told: str
) -> None:
    site.edit("features.py", "import pandas as pd", "from sys import exit\n\nimport pandas as pd")
    site.edit(
        "features.py", "return passengers.assign(FamilySize=", f"return {returns}\n    dict(FamilySize="
    )
    with pytest.raises(MlError, match=f"features.py: family_size {told}") as caught:
        feature_table(find_project("small"), passengers)
    way_out = ": it must return the table with the same rows in the same order"
    assert str(caught.value).endswith(way_out) or "SystemExit" in told
    with pytest.raises(MlError, match=f"family_size {told}"):
        rows_made_otherwise(find_project("small"), passengers)


def test_a_function_may_number_the_rows_anew(site: Site, passengers: pd.DataFrame) -> None:
    site.edit(
        "features.py", "return passengers.assign(F", "return passengers.reset_index(drop=True).assign(F"
    )
    rows = passengers.set_axis(range(5, 5 + len(passengers)))
    assert len(feature_table(find_project("small"), rows)) == len(rows)


def test_a_loaded_model_repeats_its_golden_predictions_to_the_last_bit(built: Site) -> None:
    bundle = load_bundle(built.build / "model")
    assert len(bundle.golden["rows"]) == 20
    assert bundle.replay_golden() == 0


def test_equal_pipelines_are_equal_bytes_wherever_their_parts_come_from() -> None:
    arrays = {
        "none": np.zeros(0),
        "none again": np.zeros(0, "int8"),
        "a byte": np.ones(1, bool),
        "another": np.ones(1, bool),
        "by columns": np.asfortranarray(np.arange(6.0).reshape(2, 3)),
        "records": np.array([(1, 2.0)], dtype=[("left", "i8"), ("right", "f8")]),
        "texts": np.array(["a", "b"], dtype=object),
    }
    own = FunctionTransformer(kw_args=arrays)
    foreign = FunctionTransformer(kw_args=pickle.loads(pickle.dumps(arrays)))
    foreign.__dict__ = {"".join(list(name)): value for name, value in foreign.__dict__.items()}
    content = pickled(Pipeline([("one", own)]))
    assert content == pickled(Pipeline([("one", foreign)]))
    found = pickle.loads(content)["one"].kw_args
    for name, array in arrays.items():
        assert found[name].dtype == array.dtype and np.array_equal(found[name], array), name


def test_a_model_keeps_the_code_it_was_trained_with(built: Site) -> None:
    built.edit("features.py", 'COMMON = ["Mr", ', 'COMMON = ["None", ')
    assert load_bundle(built.build / "model").replay_golden() == 0


@pytest.mark.parametrize("name", ["features.py", "contract.py", "project.toml"])
def test_what_runs_is_what_was_verified(built: Site, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """A file that is exchanged after its signature was checked is refused, or never looked at."""
    folder, pwned = built.build / "model", built.root / "pwned"
    verify = signing.verify

    def then_exchange(record: Path, keys: signing.Keys) -> dict[str, Any]:
        trusted = verify(record, keys)
        (folder / "project" / name).write_text(f"open({str(pwned)!r}, 'w')\n")
        return trusted

    monkeypatch.setattr(signing, "verify", then_exchange)
    with pytest.raises(MlError, match="is not what was signed"):
        load_bundle(folder)
    assert not pwned.exists()


def test_a_loaded_model_looks_at_the_disk_no_more(built: Site) -> None:
    bundle = load_bundle(built.build / "model")
    for file in (built.build / "model" / "project").iterdir():
        file.write_text("raise SystemExit\n")
    assert feature_functions(bundle.project) and load_contract(bundle.project).columns
    assert bundle.replay_golden() == 0


def test_golden_rows_hold_no_value_of_a_person(built: Site, passengers: pd.DataFrame) -> None:
    golden = pd.DataFrame(load_bundle(built.build / "model").golden["rows"])
    for column in ("Name", "Ticket", "Cabin"):
        assert set(golden[column].dropna()) & set(passengers[column]) == set()
    assert golden["Name"].nunique() == 5, "the contract's examples take turns"


def test_a_personal_column_of_which_nothing_may_be_shown_is_named(
    site: Site, passengers: pd.DataFrame
) -> None:
    site.edit("contract.py", 'metadata={"example": "A/5 00000"}', "metadata={}")
    site.edit("contract.py", '"max_value": 50}, metadata={}', '"min_value": 6}')
    project = find_project("small")
    with pytest.raises(MlError, match="column 'Ticket' is personal.*metadata=..example"):
        made_up(passengers.head(3), project, load_contract(project))


@pytest.mark.parametrize("size", [1e9, 1.0, 1e-9])
def test_numbers_differ_by_a_share_of_the_largest(size: float) -> None:
    one = pd.DataFrame({"house": [1, 2], "prediction": [-4 * size, 2 * size]})
    other = one.assign(prediction=[-4 * size, 3 * size])
    project: Any = SimpleNamespace(task="regression")
    assert largest_difference(one, other, project) == pytest.approx(0.25)
    assert largest_difference(one * 0, one * 0, project) == 0


def test_golden_predictions_that_differ_are_noticed(built: Site) -> None:
    bundle = load_bundle(built.build / "model")
    bundle.golden["predictions"][3]["probability_1"] += 1e-6
    assert bundle.replay_golden() == pytest.approx(1e-6)
    bundle.golden["predictions"][3]["prediction"] ^= 1
    assert bundle.replay_golden() == float("inf")
