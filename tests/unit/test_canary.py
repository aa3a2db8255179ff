"""The judgement of a candidate: what chance explains is let pass, the rest is told."""

import pytest

from ml.canary import Observed, changed_share, judge, observe, read_counts
from ml.project import Canary

LIMITS = Canary(min_requests=100)
TEXT = """# TYPE ml_answers counter
ml_answers_total{version="1",outcome="ok"} %d
ml_answers_total{version="2",outcome="ok"} %d
ml_answers_total{version="2",outcome="failed"} %d
ml_answers_total{version="2",outcome="refused"} 7
# TYPE ml_shadow_difference histogram
ml_shadow_difference_bucket{version="2",le="0.1"} %d
ml_shadow_difference_bucket{version="2",le="0.2"} %d
ml_shadow_difference_bucket{version="2",le="+Inf"} %d
"""


def seen(
    requests: int = 200, failed: int = 0, seconds: float = 0.02, low: float = 0.7, **more: int
) -> Observed:
    return Observed(
        requests,
        failed,
        {seconds: requests * 0.995, float("inf"): requests},
        {"0.1": requests * low, "0.9": requests * (1 - low)},
        **more,
    )


def test_a_candidate_like_the_champion_may_take_over() -> None:
    assert judge(seen(), seen(), 0.0, LIMITS, final=True) == []
    assert judge(seen(2000), seen(100, failed=1), None, LIMITS, final=True) == [], "one failure may be chance"


@pytest.mark.parametrize(
    ("candidate", "changed", "told"),
    [
        (seen(99), None, "only 99 of at least 100 requests"),
        (seen(failed=20), None, "20 of 200 requests failed"),
        (seen(seconds=0.2), None, "p50 is 0.200 s (champion: 0.020 s)"),
        (seen(low=0.2), None, "distributed otherwise"),
        (seen(), 0.3, "30.0% of its answers are further than 0.2"),
        (seen(right=60, wrong=40), None, "of its labels came true"),
        (seen(labels=50, absolute_error=100), None, "mean absolute error is 2"),
    ],
)
def test_what_speaks_against_a_candidate_is_told(
    candidate: Observed, changed: float | None, told: str
) -> None:
    champion = seen(right=95, wrong=5, labels=100, absolute_error=100)
    against = judge(champion, candidate, changed, LIMITS, final=True)
    assert len(against) == (2 if told.startswith("p50") else 1) and told in against[0]


def test_only_failures_end_a_trial_early() -> None:
    assert judge(seen(), seen(20, seconds=5.0, low=0.0), 1.0, LIMITS, final=False) == []
    assert judge(seen(), seen(20, failed=20), None, LIMITS, final=False)
    assert judge(seen(), seen(1, failed=1), None, LIMITS, final=False) == [], "one alone may be chance"


def test_counters_of_several_services_are_added_and_compared_with_the_start() -> None:
    before = read_counts([TEXT % (10, 0, 0, 0, 0, 0)])
    now = read_counts([TEXT % (10, 5, 1, 3, 5, 6), TEXT % (20, 5, 0, 0, 0, 0)])
    assert observe(before, now, 1).requests == 20
    assert (observe(before, now, 2).requests, observe(before, now, 2).failed) == (11, 1)
    assert changed_share(before, now, 2, 0.1) == pytest.approx(0.5)
    assert changed_share(before, now, 2, 0.15) == pytest.approx(1 / 6)
    assert changed_share(before, now, 3, 0.1) is None
    assert observe(now, before, 1).requests == 0, "a service that began anew takes nothing away"
