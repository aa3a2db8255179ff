"""The judgement of a candidate: what chance explains is let pass, the rest is told."""

from typing import Any

import numpy as np
import pytest

from ml.delivery.judgement import Observed, Pairs, judge, observe, pair_up, read_counts
from ml.settings import Canary

LIMITS = Canary(min_requests=100)
TEXT = """# TYPE ml_answers counter
ml_answers_total{version="1",outcome="ok"} %d
ml_answers_total{version="2",outcome="ok"} %d
ml_answers_total{version="2",outcome="failed"} %d
ml_answers_total{version="2",outcome="refused"} 7
# TYPE ml_pairs counter
ml_pairs_total{version="2",champion="0",candidate="0"} %d
ml_pairs_total{version="2",champion="0",candidate="1"} %d
# TYPE ml_paired_labels counter
ml_paired_labels_total{version="2",champion="right",candidate="wrong"} %d
# TYPE ml_pair_sums gauge
ml_pair_sums{version="2",of="rows"} %d
"""


def seen(requests: int = 200, failed: int = 0, seconds: float = 0.02, low: float = 0.7) -> Observed:
    return Observed(
        requests,
        failed,
        {seconds: requests * 0.995, float("inf"): requests},
        {"0.1": requests * low, "0.9": requests * (1 - low)},
    )


def classes(same: int = 200, up: int = 0, down: int = 0, **more: Any) -> Pairs:
    counts = {("0", "0"): same * 0.6, ("1", "1"): same * 0.4, ("0", "1"): up, ("1", "0"): down}
    return Pairs({pair: count for pair, count in counts.items() if count}, **more)


def numbers(champion: np.ndarray, candidate: np.ndarray, truth: np.ndarray | None = None) -> Pairs:
    difference = candidate - champion
    sums = {
        "rows": len(champion),
        "difference": difference.sum(),
        "difference squared": (difference**2).sum(),
        "champion": champion.sum(),
        "champion squared": (champion**2).sum(),
    }
    if truth is not None:
        usual = np.abs(champion - truth)
        worse = np.abs(candidate - truth) - usual
        sums |= {"errors": len(truth), "error": worse.sum(), "error squared": (worse**2).sum()}
        sums |= {"champion error": usual.sum()}
    return Pairs(sums={name: float(value) for name, value in sums.items()})


def test_a_candidate_like_the_champion_may_take_over() -> None:
    judgement = judge(seen(), seen(), classes(), LIMITS, final=True)
    assert (judgement.against, judgement.warnings, judgement.inconclusive) == ([], [], "")
    few = judge(seen(2000), seen(100, failed=1), classes(100), LIMITS, final=True)
    assert few.against == [], "one failure may be chance"


def test_another_calibration_is_told_and_stops_nothing() -> None:
    """Two kinds of models that answer the same spread their probabilities otherwise."""
    judgement = judge(seen(low=0.7), seen(low=0.2), classes(190, 6, 4), LIMITS, final=True)
    assert judgement.against == []
    assert len(judgement.warnings) == 1 and "distributed otherwise (psi" in judgement.warnings[0]


RANDOM = np.random.default_rng(1)
TRUTH = RANDOM.normal(10, 5, 300)
CHAMPION = TRUTH + RANDOM.normal(0, 1, 300)
LOST = {("right", "wrong"): 20, ("wrong", "right"): 2, ("right", "right"): 78}


@pytest.mark.parametrize(
    ("candidate", "pairs", "told"),
    [
        (seen(failed=20), classes(), "20 of 200 requests failed"),
        (seen(seconds=0.2), classes(), "p50 is 0.200 s (champion: 0.020 s)"),
        (seen(), classes(100, 90, 10), "the share of 0 moves by -0.400 on the same 200 rows"),
        (seen(), classes(120, 40, 40), "40.0% of the rows get another class (at most 20.0%)"),
        (seen(), classes(labels=LOST), "on the same rows 18.0% less came true"),
        (seen(), numbers(CHAMPION, CHAMPION + 3), "the mean answer moves by +0."),
        (seen(), numbers(CHAMPION, np.full(300, CHAMPION.mean())), "100.0% of the variance of the answers"),
        (seen(), numbers(CHAMPION, CHAMPION + RANDOM.normal(0, 1, 300), TRUTH), "its mean absolute error is"),
    ],
)
def test_what_speaks_against_a_candidate_is_told(candidate: Observed, pairs: Pairs, told: str) -> None:
    against = judge(seen(), candidate, pairs, LIMITS, final=True).against
    assert told in against[0], against


@pytest.mark.parametrize(
    "pairs",
    [
        classes(170, 16, 14),
        classes(72, 16, 12),
        classes(labels={("right", "wrong"): 9, ("wrong", "right"): 3, ("right", "right"): 88}),
        numbers(CHAMPION, CHAMPION + RANDOM.normal(0.1, 0.5, 300), TRUTH),
        numbers(np.ones(300), np.ones(300)),
    ],
)
def test_what_may_be_chance_does_not(pairs: Pairs) -> None:
    assert judge(seen(), seen(), pairs, LIMITS, final=True).against == []


def test_a_constant_champion_and_another_constant_are_apart() -> None:
    against = judge(seen(), seen(), numbers(np.ones(300), np.full(300, 2.0)), LIMITS, final=True).against
    assert len(against) == 2 and "the mean answer moves by +1.000" in against[0]


@pytest.mark.parametrize(
    ("candidate", "pairs", "told"),
    [
        (seen(99), classes(), "only 99 of at least 100 requests came"),
        (seen(), classes(30), "only 30 of at least 100 rows were answered by both versions"),
        (seen(0), Pairs(), "only 0 of at least 100 requests came"),
    ],
)
def test_too_little_to_judge_by_is_no_verdict(candidate: Observed, pairs: Pairs, told: str) -> None:
    judgement = judge(seen(), candidate, pairs, LIMITS, final=True)
    assert judgement.against == [] and told in judgement.inconclusive


def test_only_failures_end_a_trial_early() -> None:
    assert judge(seen(), seen(20, seconds=5.0), classes(20, 80), LIMITS, final=False).against == []
    assert judge(seen(), seen(20, failed=20), Pairs(), LIMITS, final=False).against
    assert judge(seen(), seen(1, failed=1), Pairs(), LIMITS, final=False).against == [], "may be chance"


def test_counters_of_several_services_are_added_and_compared_with_the_start() -> None:
    before = read_counts([TEXT % (10, 0, 0, 0, 0, 0, 5)])
    now = read_counts([TEXT % (10, 5, 1, 3, 2, 6, 9), TEXT % (20, 5, 0, 1, 0, 0, 1)])
    assert observe(before, now, 1).requests == 20
    assert (observe(before, now, 2).requests, observe(before, now, 2).failed) == (11, 1)
    pairs = pair_up(before, now, 2)
    assert pairs.classes == {("0", "0"): 4, ("0", "1"): 2} and pairs.changed() == pytest.approx(1 / 3)
    assert pairs.labels == {("right", "wrong"): 6} and pairs.sums == {"rows": 5}
    assert pair_up(before, now, 3) == Pairs() and Pairs().changed() is None
    assert observe(now, before, 1).requests == 0, "a service that began anew takes nothing away"
    assert pair_up(now, before, 2) == Pairs()
