"""Labels by id out of the project's source, and a source that does not deliver."""

import json
import time
from typing import Any

import pandas as pd
import pytest
from sqlalchemy import Engine

from ml import locations
from ml.errors import MlError
from ml.monitoring.source import take_labels, trouble_with_source
from ml.project import find_project
from ml.store.answers import put_label, withdraw_label
from ml.store.database import open_store
from ml.store.lookup import labels_that_hold
from ml.store.tables import predictions
from tests.conftest import Site
from tests.production import DAY, answered, keep
from tests.support import ErrorOf

KNOWN, OTHER, STRANGE = 1, 2, 99_999


@pytest.fixture
def engine(site: Site) -> Engine:
    """Return the store: answers to two passengers of the source, one of them twice, and to a stranger."""
    url = locations.store("small", "production")
    assert url
    made = open_store(url)
    known = enumerate((KNOWN, OTHER, KNOWN, STRANGE))
    keep(predictions, [told(number, passenger, time.time()) for number, passenger in known])
    return made


def told(number: int, passenger: int, at: float, **more: object) -> dict[str, Any]:
    return answered(number, at, {}, {"PassengerId": passenger, "prediction": 1}) | more


def held(engine: Engine) -> dict[int, object]:
    """Return the label that holds, by the number of the request."""
    with engine.connect() as connection:
        found = connection.execute(labels_that_hold("small", "production").select()).all()
    return {int(one.request, 16): json.loads(one.label) for one in found}


def survived(site: Site, passenger: int, value: int) -> None:
    """Let the source say of a passenger what became of them."""
    file = site.project / "data" / "train.csv"
    table = pd.read_csv(file)
    table.loc[table["PassengerId"] == passenger, "Survived"] = value
    table.to_csv(file, index=False)


def test_rows_that_the_source_knows_by_id_get_its_label_once(site: Site, engine: Engine) -> None:
    project = find_project("small")
    assert take_labels(engine, project, "production", time.time()) == 3
    assert held(engine) == {0: 0, 1: 1, 2: 0}
    assert take_labels(engine, project, "production", time.time()) == 0
    survived(site, KNOWN, 1)
    assert take_labels(engine, project, "production", time.time()) == 2
    assert held(engine) == {0: 1, 1: 1, 2: 1}


def test_what_a_client_told_or_withdrew_stands(site: Site, engine: Engine) -> None:
    with engine.begin() as connection:
        put_label(connection, ("small", "production"), f"{0:032x}", 0, 1, None, "a client")
        put_label(connection, ("small", "production"), f"{1:032x}", 0, 0, None, "a client")
        withdraw_label(connection, ("small", "production"), f"{1:032x}", 0, "a client")
    assert take_labels(engine, find_project("small"), "production", time.time()) == 1
    assert held(engine) == {0: 1, 2: 0}


def test_old_answers_and_those_of_a_deploy_are_not_asked_for(site: Site, engine: Engine) -> None:
    old = told(8, KNOWN, time.time() - 40 * DAY)
    keep(predictions, [old, told(9, KNOWN, time.time(), replay=True)])
    take_labels(engine, find_project("small"), "production", time.time())
    assert {8, 9}.isdisjoint(held(engine))


def test_the_command_asks_the_source_where_no_file_is_named(
    site: Site, engine: Engine, capsys: pytest.CaptureFixture[str]
) -> None:
    assert site.ml("labels") == 0
    assert capsys.readouterr().out == "3 labels taken\n"


def test_a_source_without_labels_is_named(site: Site, engine: Engine, error_of: ErrorOf) -> None:
    settings = site.project / "project.toml"
    text = settings.read_text().replace(
        '[source]\nkind = "csv"\nlabelled = "data/train.csv"\nunlabelled = "data/test.csv"\n',
        '[source]\nkind = "feedback"\nlabelled = "production"\n',
    )
    settings.write_text(text)
    assert site.ml("labels") == 1
    assert "source.kind is feedback, which holds the labels of the store and no others" in error_of()


def test_a_personal_id_is_told_before_the_source_is_asked(site: Site, engine: Engine) -> None:
    project = find_project("small").model_copy(update={"personal": ["PassengerId"]})
    with pytest.raises(MlError, match="'PassengerId' is personal"):
        take_labels(engine, project, "production", time.time())


def test_a_table_that_is_gone_or_too_old_is_trouble(site: Site) -> None:
    assert trouble_with_source(find_project("small")) == []
    (site.project / "data" / "test.csv").unlink()
    trouble = trouble_with_source(find_project("small"))
    assert len(trouble) == 1 and "test.csv" in trouble[0]
    site.edit(
        "project.toml", 'labelled = "data/train.csv"\n', 'labelled = "data/train.csv"\nmax_age_days = 1e-9\n'
    )
    assert len(trouble_with_source(find_project("small"))) == 2


def test_a_published_data_set_is_not_asked() -> None:
    assert trouble_with_source(find_project("titanic")) == []
