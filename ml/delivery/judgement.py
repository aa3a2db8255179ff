"""The judgement of a candidate on real traffic: what both versions did in the same minutes."""

import bisect
import math
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from prometheus_client.parser import text_string_to_metric_families
from scipy import stats

from ml.data.drift import population_stability
from ml.settings import Canary

Counts = dict[tuple[str, tuple[tuple[str, str], ...]], float]

# A candidate that fails at once is not let fail for the rest of its minutes.
MIN_REQUESTS_TO_STOP = 10
# Fewer labels than this say nothing of a mean error.
MIN_ERRORS = 30
# Standard errors on one side of an interval that holds the truth in 99.5 % of all cases (normal).
SURE = 2.576


@dataclass
class Observed:
    """What one version did in the time that is judged; seconds by upper bound, predictions by bin."""

    requests: int = 0
    failed: int = 0
    seconds: dict[float, float] = field(default_factory=dict)
    predictions: dict[str, float] = field(default_factory=dict)
    right: int = 0
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
        elif name == "ml_feedback_error_sum":
            seen.absolute_error = rise
    return seen


@dataclass
class Pairs:
    """What champion and candidate said of the same rows, and how often each was right where labels came.

    ``classes`` counts rows by the class of the champion and that of the candidate, ``labels`` by whether each
    was right. ``sums`` is for numbers: of the differences candidate minus champion and of the champion's
    answers, of their squares, of what the candidate's absolute error is larger by, and how many there were.
    """

    classes: dict[tuple[str, str], float] = field(default_factory=dict)
    labels: dict[tuple[str, str], float] = field(default_factory=dict)
    sums: dict[str, float] = field(default_factory=dict)

    @property
    def rows(self) -> int:
        """How many rows both answered."""
        return int(sum(self.classes.values()) or self.sums.get("rows", 0))

    def told(self) -> dict[str, Any]:
        """Return the figures for ``deployment.json``."""
        return {
            "rows": self.rows,
            "changed": self.changed(),
            "classes": {" -> ".join(pair): count for pair, count in sorted(self.classes.items())},
            "labels": {" -> ".join(pair): count for pair, count in sorted(self.labels.items())},
            **({"sums": self.sums} if self.sums else {}),
        }

    def changed(self) -> float | None:
        """Return the share of rows that get another class; of numbers, the share of variance that is new.

        The latter is the mean squared difference over the variance of the champion's answers.
        """
        if not self.rows:
            return None
        if self.classes:
            return sum(count for (one, other), count in self.classes.items() if one != other) / self.rows
        variance = _deviation(self.sums["champion"], self.sums["champion squared"], self.rows) ** 2
        difference = self.sums["difference squared"] / self.rows
        return difference / variance if variance > 0 else float(difference > 0)

    def moved(self) -> Iterator[tuple[str, float, float]]:
        """Yield name, change and standard error of each share of a class, or of the mean answer.

        The change of the mean is in standard deviations of the champion's answers. The error of a paired
        difference of shares: Agresti, Categorical Data Analysis (2013), section 11.1.
        """
        if not self.rows:
            return
        for name in sorted({label for pair in self.classes for label in pair}):
            more = sum(n for (one, other), n in self.classes.items() if other == name != one)
            less = sum(n for (one, other), n in self.classes.items() if one == name != other)
            change = (more - less) / self.rows
            yield (
                f"the share of {name}",
                change,
                math.sqrt(max(more + less - (more - less) ** 2 / self.rows, 0.0)) / self.rows,
            )
        if self.sums.get("rows"):
            deviation = _deviation(self.sums["champion"], self.sums["champion squared"], self.rows)
            spread = _deviation(self.sums["difference"], self.sums["difference squared"], self.rows)
            change = self.sums["difference"] / self.rows
            scale = deviation or abs(change) or 1.0
            yield "the mean answer", change / scale, spread / math.sqrt(self.rows) / scale


def pair_up(before: Counts, now: Counts, candidate: int) -> Pairs:
    """Return what was counted of the pairs of a candidate between two readings of the counters."""
    seen = Pairs()
    for (name, found), value in now.items():
        labels, rise = dict(found), value - before.get((name, found), 0.0)
        if labels.get("version") != str(candidate) or not rise:
            continue
        if name == "ml_pair_sums":
            seen.sums[labels["of"]] = rise
        elif name in ("ml_pairs_total", "ml_paired_labels_total") and rise > 0:
            table = seen.classes if name == "ml_pairs_total" else seen.labels
            table[labels["champion"], labels["candidate"]] = rise
    if seen.sums.get("rows", 0) < 0:  # a service that began anew counts from zero
        seen.sums = {}
    return seen


@dataclass(frozen=True)
class Judgement:
    """What speaks against a candidate, what deserves a look, and why it could not be judged, if so."""

    against: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    inconclusive: str = ""


def judge(champion: Observed, candidate: Observed, pairs: Pairs, limits: Canary, *, final: bool) -> Judgement:
    """Return the judgement of what both did; before the end (``final``) only failures count.

    Both are compared on the same rows. Two kinds of models, each as good as the other, state their
    probabilities differently: that alone (the stability index of the distributions) is a warning. What is
    refused is another share of a class, or other classes for too many rows, or less that came true, each only
    if it is more than the limit for sure (99.5 %): a handful of requests must neither acquit nor condemn.
    Failures are compared by Fisher's exact test (1935), labels by McNemar's (1947), at 1 %.
    """
    against = list(_failures(champion, candidate, limits, final))
    if against or not final:
        return Judgement(against)
    if min(candidate.requests, pairs.rows) < limits.min_requests:
        found = f"only {candidate.requests} of at least {limits.min_requests} requests came to judge by"
        if candidate.requests >= limits.min_requests:
            found = f"only {pairs.rows} of at least {limits.min_requests} rows were answered by both versions"
        return Judgement(inconclusive=found)
    against += [*_slower(champion, candidate, limits), *_answers(pairs, limits), *_labels(pairs, limits)]
    return Judgement(against, list(_distribution(champion, candidate, limits)))


def _failures(champion: Observed, candidate: Observed, limits: Canary, final: bool) -> Iterator[str]:
    rate, usual = _rate(candidate.failed, candidate.requests), _rate(champion.failed, champion.requests)
    chance = _worse_by_chance(
        candidate.failed, candidate.requests, champion.failed, max(champion.requests, MIN_REQUESTS_TO_STOP)
    )
    enough = final or candidate.requests >= MIN_REQUESTS_TO_STOP
    if enough and rate - usual > limits.max_error_rate_increase and chance < 0.01:
        yield f"{candidate.failed} of {candidate.requests} requests failed (champion: {usual:.2%})"


def _slower(champion: Observed, candidate: Observed, limits: Canary) -> Iterator[str]:
    for name, share in (("p50", 0.5), ("p99", 0.99)):
        slow, common = candidate.quantile(share), champion.quantile(share)
        if slow and common and slow > common * limits.max_latency_ratio + limits.latency_slack_seconds:
            yield f"{name} is {slow:.3f} s (champion: {common:.3f} s)"


def _answers(pairs: Pairs, limits: Canary) -> Iterator[str]:
    for name, change, error in pairs.moved():
        if abs(change) - SURE * error > limits.max_share_change:
            unit = "" if pairs.classes else " standard deviations"
            yield (
                f"{name} moves by {change:+.3f}{unit} on the same {pairs.rows} rows "
                f"(at most {limits.max_share_change:g})"
            )
    changed = pairs.changed()
    if changed is None:
        return
    error = math.sqrt(changed * max(1 - changed, 0.0) / pairs.rows) if pairs.classes else 0.0
    if changed - SURE * error > limits.max_changed:
        what = "of the rows get another class" if pairs.classes else "of the variance of the answers is new"
        yield f"{changed:.1%} {what} (at most {limits.max_changed:.1%})"


def _labels(pairs: Pairs, limits: Canary) -> Iterator[str]:
    lost, won = pairs.labels.get(("right", "wrong"), 0), pairs.labels.get(("wrong", "right"), 0)
    count = sum(pairs.labels.values())
    if lost + won and (lost - won) / count > limits.max_quality_loss:
        if stats.binomtest(int(won), int(lost + won), alternative="less").pvalue < 0.01:
            yield f"on the same rows {(lost - won) / count:.1%} less came true than of the champion's"
    count = pairs.sums.get("errors", 0)
    if count >= MIN_ERRORS:
        worse = pairs.sums.get("error", 0.0) / count
        spread = _deviation(pairs.sums.get("error", 0.0), pairs.sums.get("error squared", 0.0), count)
        usual = pairs.sums.get("champion error", 0.0) / count
        if worse - SURE * spread / math.sqrt(count) > limits.max_quality_loss * usual:
            yield f"its mean absolute error is {usual + worse:.4g} (champion: {usual:.4g}, on the same rows)"


def _distribution(champion: Observed, candidate: Observed, limits: Canary) -> Iterator[str]:
    bins = sorted(set(champion.predictions) | set(candidate.predictions))
    old = np.array([champion.predictions.get(bin_, 0.0) for bin_ in bins])
    new = np.array([candidate.predictions.get(bin_, 0.0) for bin_ in bins])
    if old.sum() and new.sum():
        moved = population_stability(old, new)
        if moved.value > limits.max_psi and moved.p_value < 0.01:
            yield (
                f"its probabilities, or numbers, are distributed otherwise (psi {moved.value:.3f}): "
                "another kind of model, or another calibration"
            )


def _deviation(total: float, squares: float, count: float) -> float:
    return math.sqrt(max(squares / count - (total / count) ** 2, 0.0))


def _rate(part: int, whole: int) -> float:
    return part / whole if whole else 0.0


def _worse_by_chance(bad: int, all_: int, bad_before: int, all_before: int) -> float:
    table = np.array([[bad, all_ - bad], [bad_before, all_before - bad_before]])
    return float(stats.fisher_exact(table, alternative="greater").pvalue)
