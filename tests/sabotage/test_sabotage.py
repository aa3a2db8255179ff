"""A sample of ``make sabotage``: some faults of each family and a harmless change."""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.sabotage.__main__ import try_fault, try_harmless
from tests.sabotage.faults import FAULTS, Fault
from tests.sabotage.harmless import HARMLESS, RESAMPLED, Harmless
from tests.sabotage.sandbox import STAGES, Sandbox, make_base

pytestmark = pytest.mark.slow

SAMPLE = [
    "columns SibSp and Parch swapped",
    "shuffled in new rows",
    "sex always 0, as in the course",
    "stopped early: a linear model",
    "verdict blessed by hand",
    "version number used twice",
    "library of a candidate missing",
    "first build: two columns whose XOR is the target",
]


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    """Return the sandbox that each test copies; its commands use one core, as in ``Site.settle``."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setenv("LOKY_MAX_CPU_COUNT", "1")
        yield make_base(tmp_path_factory.mktemp("sabotage") / "base", ["titanic"])


@pytest.mark.parametrize("fault", [one for one in FAULTS if one.name in SAMPLE], ids=lambda one: one.name)
def test_a_fault_is_stopped_by_the_stage_whose_job_it_is(base: Sandbox, tmp_path: Path, fault: Fault) -> None:
    outcome = try_fault(base, fault, tmp_path / "copy")
    assert outcome.right, f"stopped at {outcome.stopped or 'no stage'}: {outcome.said}"


@pytest.mark.parametrize(
    "change",
    [one for one in HARMLESS if one.name == "titanic with seed 43"],
    ids=lambda one: one.name,
)
def test_a_harmless_change_passes(base: Sandbox, tmp_path: Path, change: Harmless) -> None:
    outcome = try_harmless(base, change, tmp_path / "copy")
    assert outcome.right, f"stopped at {outcome.stopped}: {outcome.said}"


def test_the_table_is_as_wide_as_it_claims() -> None:
    families = Counter(fault.family for fault in FAULTS)
    assert set(families) == {
        "data",
        "labels",
        "features",
        "training",
        "artifacts",
        "environment",
        "first build",
        "beside a champion",
    }
    assert sum(families.values()) >= 60 and len(HARMLESS) >= 20 and RESAMPLED >= 20
    assert len({one.name for one in [*FAULTS, *HARMLESS]}) == len(FAULTS) + len(HARMLESS)
    assert {fault.stage for fault in FAULTS} == {*STAGES, ""}
    assert sum(fault.stage == "" for fault in FAULTS) <= 2, "known limits are few"
    assert set(SAMPLE) <= {fault.name for fault in FAULTS}
