"""The judgement of a candidate on real traffic: what both versions did in the same minutes (R23)."""

import bisect
from collections import defaultdict
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from prometheus_client.parser import text_string_to_metric_families
from scipy import stats

from ml.drift import population_stability
from ml.project import Canary

Counts = dict[tuple[str, tuple[tuple[str, str], ...]], float]

# A candidate that fails at once is not let fail for the rest of its minutes.
ENOUGH_TO_STOP = 10
# Fewer labels than this say nothing of a mean error.
ENOUGH_ERRORS = 30


@dataclass
class Observed:
    """What one version did in the time that is judged; seconds by upper bound, predictions by bin."""

    requests: int = 0
    failed: int = 0
    seconds: dict[float, float] = field(default_factory=dict)
    predictions: dict[str, float] = field(default_factory=dict)
    right: int = 0
    wrong: int = 0
    labels: int = 0
    absolute_error: float = 0.0

    def quantile(self, share: float) -> float | None:
        """Return the upper bound (seconds) below which this share of the answers came."""
        bounds = sorted(self.seconds)
        cumulated = [self.seconds[bound] for bound in bounds]
        if not bounds or not cumulated[-1]:
            return None
        return bounds[bisect.bisect_left(cumulated, share * cumulated[-1])]

    def told(self) -> dict[str, Any]:
        """Return the figures for ``deployment.json``: latencies in seconds."""
        return {
            "requests": self.requests,
            "failed": self.failed,
            "p50_seconds": self.quantile(0.5),
            "p99_seconds": self.quantile(0.99),
            "predictions": dict(sorted(self.predictions.items())),
            "labels": self.labels,
            "right": self.right,
            "absolute_error": self.absolute_error,
        }


def read_counts(texts: list[str]) -> Counts:
    """Return the counters of several services, added up, from what they tell Prometheus."""
    counts: Counts = defaultdict(float)
    for text in texts:
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                counts[sample.name, tuple(sorted(sample.labels.items()))] += sample.value
    return counts


def observe(before: Counts, now: Counts, version: int) -> Observed:
    """Return what a version did between two readings of the counters."""
    seen = Observed()
    for (name, pairs), value in now.items():
        labels = dict(pairs)
        rise = value - before.get((name, pairs), 0.0)
        if labels.get("version") != str(version) or rise <= 0:  # a service that began anew counts from zero
            continue
        if name == "ml_answers_total":
            seen.requests += int(rise) if labels["outcome"] != "refused" else 0
            seen.failed += int(rise) if labels["outcome"] == "failed" else 0
        elif name == "ml_answer_seconds_bucket":
            seen.seconds[float(labels["le"])] = rise
        elif name == "ml_predictions_total":
            seen.predictions[labels["bin"]] = rise
        elif name == "ml_feedback_total":
            seen.labels += int(rise)
            seen.right += int(rise) if labels["outcome"] == "right" else 0
            seen.wrong += int(rise) if labels["outcome"] == "wrong" else 0
        elif name == "ml_feedback_error_sum":
            seen.absolute_error = rise
    return seen


def changed_share(before: Counts, now: Counts, version: int, difference: float) -> float | None:
    """Return the share of rows that a shadow answered further off than ``difference``, if it had any."""
    seen: dict[float, float] = {}
    for (name, pairs), value in now.items():
        labels = dict(pairs)
        if name == "ml_shadow_difference_bucket" and labels["version"] == str(version):
            seen[float(labels["le"])] = value - before.get((name, pairs), 0.0)
    total = seen.get(float("inf"), 0.0)
    if not total:
        return None
    return 1 - seen[min(bound for bound in seen if bound >= difference)] / total


def judge(
    champion: Observed, candidate: Observed, changed: float | None, limits: Canary, *, final: bool
) -> list[str]:
    """Return what speaks against the candidate, in sentences; nothing if it may take over.

    Before the end (``final``) only failures count: more of them than chance explains are enough to stop. The
    errors of both are compared by Fisher's exact test (1935), labels by the same test, at 1 %: a handful of
    requests must neither acquit nor condemn.
    """
    against: list[str] = []
    rate, usual = _rate(candidate.failed, candidate.requests), _rate(champion.failed, champion.requests)
    chance = _worse_by_chance(
        candidate.failed, candidate.requests, champion.failed, max(champion.requests, ENOUGH_TO_STOP)
    )
    enough = final or candidate.requests >= ENOUGH_TO_STOP
    if enough and rate - usual > limits.max_error_rate_increase and chance < 0.01:
        against.append(f"{candidate.failed} of {candidate.requests} requests failed (champion: {usual:.2%})")
    if not final:
        return against
    if candidate.requests < limits.min_requests:
        against.append(
            f"only {candidate.requests} of at least {limits.min_requests} requests came to judge by"
        )
        return against
    for name, share in (("p50", 0.5), ("p99", 0.99)):
        slow, common = candidate.quantile(share), champion.quantile(share)
        if slow and common and slow > common * limits.max_latency_ratio + limits.latency_slack_seconds:
            against.append(f"{name} is {slow:.3f} s (champion: {common:.3f} s)")
    bins = sorted(set(champion.predictions) | set(candidate.predictions))
    old = np.array([champion.predictions.get(bin_, 0.0) for bin_ in bins])
    new = np.array([candidate.predictions.get(bin_, 0.0) for bin_ in bins])
    if old.sum() and new.sum():
        moved = population_stability(old, new)
        if moved.value > limits.max_psi and moved.p_value < 0.01:
            against.append(
                f"its predictions are distributed otherwise (psi {moved.value:.3f} > {limits.max_psi:g})"
            )
    if changed is not None and changed > limits.max_changed:
        against.append(
            f"{changed:.1%} of its answers are further than {limits.difference:g} from the champion's"
            f" (at most {limits.max_changed:.1%})"
        )
    judged, usual_judged = candidate.right + candidate.wrong, champion.right + champion.wrong
    loss = _rate(champion.right, usual_judged) - _rate(candidate.right, judged)
    if judged and usual_judged and loss > limits.max_quality_loss:
        if _worse_by_chance(candidate.wrong, judged, champion.wrong, usual_judged) < 0.01:
            against.append(f"{loss:.1%} less of its labels came true than of the champion's")
    if min(candidate.labels, champion.labels) >= ENOUGH_ERRORS and champion.absolute_error:
        error, common = candidate.absolute_error / candidate.labels, champion.absolute_error / champion.labels
        if error > common * (1 + limits.max_quality_loss):
            against.append(f"its mean absolute error is {error:.4g} (champion: {common:.4g})")
    return against


def _rate(part: int, whole: int) -> float:
    return part / whole if whole else 0.0


def _worse_by_chance(bad: int, all_: int, bad_before: int, all_before: int) -> float:
    table = [[bad, all_ - bad], [bad_before, all_before - bad_before]]
    return float(stats.fisher_exact(table, alternative="greater").pvalue)
