"""When new workers take the place of others, though nobody asked for it."""

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ml.serving import keeper
from ml.serving.keeper import Generation, Sharing
from ml.serving.workers import loaded_file


@pytest.fixture
def workers(tmp_path: Path) -> Iterator[Generation]:
    """Workers that tell in a file what they serve; a process that does nothing stands for them."""
    with subprocess.Popen(["sleep", "600"], process_group=0) as leader:
        yield Generation(leader, 0.0, 1, tmp_path, tmp_path)
        os.killpg(leader.pid, 9)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[float]]:
    now = [1000.0]
    monkeypatch.setattr(keeper.time, "monotonic", lambda: now[0])
    yield now


def tell(workers: Generation, version: int | None, candidate: int | None = None) -> None:
    told: dict[str, Any] = {"version": version, "candidate": candidate}
    (workers.status / f"{workers.leader.pid}.json").write_text(json.dumps(told))


def seconds_until_lost(
    sharing: Sharing, workers: Generation, clock: list[float], most: int = 20
) -> int | None:
    for second in range(most):
        clock[0] += 1
        if sharing.is_lost(workers):
            return second
    return None


def test_a_version_that_workers_loaded_each_is_soon_shared_and_asked_for_once(
    workers: Generation, clock: list[float]
) -> None:
    sharing = Sharing(2)
    given = sharing, workers, clock
    loaded_file(workers.status, workers.leader.pid).write_text('{"versions": []}')
    assert seconds_until_lost(*given) is None, "who tells nothing serves nothing"
    tell(workers, None)
    assert seconds_until_lost(*given) is None, "no version needs no memory"
    tell(workers, 1)
    assert seconds_until_lost(*given) == 5
    assert seconds_until_lost(*given) is None, "new workers that did not start are not tried for ever"
    tell(workers, 1, candidate=2)
    assert seconds_until_lost(*given) is None, "a trial is not disturbed"
    tell(workers, 2)
    assert seconds_until_lost(*given, 3) is None
    tell(workers, 3)
    assert seconds_until_lost(*given, 3) is None, "a version that was left at once is not looked at"
    tell(workers, 2)
    assert seconds_until_lost(*given) == 5


def test_what_was_loaded_for_all_workers_is_shared_already(workers: Generation, clock: list[float]) -> None:
    sharing = Sharing(2)
    loaded_file(workers.status, workers.leader.pid).write_text('{"versions": [1, 2]}')
    for version in (2, 1, 2):
        tell(workers, version)
        assert seconds_until_lost(sharing, workers, clock) is None
    tell(workers, 3)
    assert seconds_until_lost(sharing, workers, clock) == 5


def test_nobody_is_replaced_where_nothing_is_told_of_what_was_loaded(
    workers: Generation, clock: list[float]
) -> None:
    tell(workers, 1)
    assert seconds_until_lost(Sharing(2), workers, clock) is None


def test_a_worker_alone_shares_with_nobody(workers: Generation, clock: list[float]) -> None:
    loaded_file(workers.status, workers.leader.pid).write_text('{"versions": []}')
    tell(workers, 1)
    assert seconds_until_lost(Sharing(1), workers, clock) is None
