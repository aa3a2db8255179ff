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


def test_a_version_that_workers_loaded_each_is_soon_shared_and_asked_for_once(
    workers: Generation, clock: list[float]
) -> None:
    sharing = Sharing(2)

    def seconds_until_lost(most: int = 20) -> int | None:
        for second in range(most):
            clock[0] += 1
            if sharing.is_lost(workers):
                return second
        return None

    assert seconds_until_lost() is None, "who tells nothing serves nothing"
    tell(workers, None)
    assert seconds_until_lost() is None, "no version needs no memory"
    tell(workers, 1)
    assert seconds_until_lost() == 5
    assert seconds_until_lost() is None, "new workers that did not start are not tried for ever"
    tell(workers, 1, candidate=2)
    assert seconds_until_lost() is None, "a trial is not disturbed"
    tell(workers, 2)
    assert seconds_until_lost(3) is None
    tell(workers, 1)
    assert seconds_until_lost() is None, "a version that was left at once was never shared"
    tell(workers, 2)
    assert seconds_until_lost() == 5


def test_a_worker_alone_shares_with_nobody(workers: Generation, clock: list[float]) -> None:
    sharing = Sharing(1)
    tell(workers, None)
    assert not sharing.is_lost(workers)
    tell(workers, 1)
    clock[0] += 100
    assert not sharing.is_lost(workers)
