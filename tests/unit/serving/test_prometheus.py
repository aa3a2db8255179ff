"""What requests count is told once it is settled, and nothing of it is lost."""

import asyncio
from typing import Any

import pytest

from ml.serving import prometheus
from ml.serving.prometheus import Metrics


def lines(metrics: Metrics, name: str) -> list[str]:
    return [line for line in metrics.text().decode().splitlines() if line.startswith(name)]


def test_what_was_counted_is_told_when_it_is_settled() -> None:
    metrics = Metrics()
    for version in ("1", "1", "2"):
        metrics.count(metrics.answers, version, "ok")
        metrics.observe(metrics.answer_seconds, version, value=0.25)
    metrics.count(metrics.rows, amount=5)
    assert all(line.endswith(" 0.0") for line in lines(metrics, "ml_answers_total"))
    metrics.settle()
    metrics.settle()
    assert sorted(lines(metrics, "ml_answers_total")) == [
        'ml_answers_total{outcome="ok",version="1"} 2.0',
        'ml_answers_total{outcome="ok",version="2"} 1.0',
    ]
    assert 'ml_answer_seconds_sum{version="1"} 0.5' in lines(metrics, "ml_answer_seconds_sum")
    assert lines(metrics, "ml_predicted_rows_total") == ["ml_predicted_rows_total 5.0"]


def test_a_counter_that_fails_takes_nothing_else_along(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(prometheus, "SETTLE_SECONDS", 0.001)
    metrics = Metrics()

    class Broken:
        def inc(self, _: float) -> None:
            raise OSError(24, "Too many open files")

    async def settle() -> None:
        task = asyncio.create_task(metrics.settle_forever())
        broken: Any = Broken()
        metrics.count(metrics.rows, amount=5)
        metrics.count(broken)
        while not lines(metrics, "ml_predicted_rows_total 5.0"):
            await asyncio.sleep(0.001)
        task.cancel()

    asyncio.run(asyncio.wait_for(settle(), 60))
    assert "serve: cannot count: OSError" in capsys.readouterr().err
