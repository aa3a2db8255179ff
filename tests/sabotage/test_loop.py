"""A sample of what `make sabotage` does to the loop: it ends as its table says."""

from pathlib import Path

import pytest

from tests.conftest import Site
from tests.sabotage.loop import LOOP, Sabotage, try_loop

pytestmark = pytest.mark.slow
SAMPLE = {
    "labels of one client poisoned",
    "the clock a day back",
    "the database away",
    "a look killed at each step",
    "two looks at once",
    "rolled back by a person",
}


def test_the_sample_is_of_the_table() -> None:
    assert {one.name for one in LOOP} > SAMPLE


@pytest.mark.parametrize("sabotage", [one for one in LOOP if one.name in SAMPLE], ids=lambda one: one.name)
def test_the_loop_ends_as_it_must(_finished: Site, tmp_path: Path, sabotage: Sabotage) -> None:
    right, seen = try_loop(_finished, sabotage, tmp_path / "site")
    assert right, seen
