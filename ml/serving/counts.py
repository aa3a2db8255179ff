"""What is counted of answers: by version, of the same rows by both versions of a trial, of what came true."""

from collections import Counter
from typing import Any

from ml.serving.loaded import LoadedVersion
from ml.serving.prometheus import Metrics
from ml.store.lookup import Answered

SQUARED = ("difference", "champion", "error")  # of which an interval asks for the sum of squares, too


class Counts:
    """Turns answers and labels into metrics; the deploy that tries a candidate reads them."""

    def __init__(self, metrics: Metrics) -> None:
        """Count in these metrics."""
        self.metrics = metrics

    def answered(self, loaded: LoadedVersion, answer: list[dict[str, Any]], seconds: float) -> None:
        """Count rows that a version answered."""
        self.metrics.count(self.metrics.rows, amount=len(answer))
        self.scored(loaded, answer, seconds)

    def scored(self, loaded: LoadedVersion, answer: list[dict[str, Any]], seconds: float) -> None:
        """Count what a version says, whoever is answered."""
        version = str(loaded.version)
        self.metrics.count(self.metrics.answers, version, "ok")
        self.metrics.observe(self.metrics.answer_seconds, version, value=seconds)
        for where, count in Counter(loaded.bins(answer)).items():
            self.metrics.count(self.metrics.predictions, version, where, amount=count)

    def paired(self, candidate: int, before: Any, after: Any) -> None:
        """Count what champion and candidate say of one row."""
        version = str(candidate)
        if isinstance(before, float) and isinstance(after, float):
            self._add_up(version, {"rows": 1.0, "difference": after - before, "champion": before})
        else:
            self.metrics.count(self.metrics.pairs, version, str(before), str(after))

    def _add_up(self, version: str, values: dict[str, float]) -> None:
        for name, value in values.items():
            self.metrics.pair_sums.labels(version, name).inc(value)
            if name in SQUARED:
                self.metrics.pair_sums.labels(version, f"{name} squared").inc(value**2)

    def labelled(self, answered: Answered | None, label: Any) -> None:
        """Count a label for the version that answered, and for the one that it was compared with."""
        if answered is None:
            self.metrics.feedback.labels("unknown", "unknown").inc()
            return
        right = {version: self._came_true(version, told, label) for version, told in answered.said.items()}
        if answered.candidate is None or len(right) < 2:
            return
        candidate = str(answered.candidate)
        (champion,) = (version for version in right if version != answered.candidate)
        ours, theirs = right[answered.candidate], right[champion]
        if isinstance(ours, str) and isinstance(theirs, str):
            self.metrics.paired_labels.labels(candidate, theirs, ours).inc()
        elif isinstance(ours, float) and isinstance(theirs, float):
            self._add_up(candidate, {"errors": 1.0, "error": ours - theirs, "champion error": theirs})

    def _came_true(self, version: int, said: Any, label: Any) -> str | float:
        """Return whether an answer was right, or how far it was off, after counting that."""
        numbers = all(isinstance(one, (int, float)) for one in (said, label))
        if numbers and (isinstance(label, float) or isinstance(said, float)):
            error = float(abs(said - label))
            self.metrics.feedback.labels(str(version), "known").inc()
            self.metrics.feedback_error.labels(str(version)).observe(error)
            return error
        outcome = "right" if said == label else "wrong"
        self.metrics.feedback.labels(str(version), outcome).inc()
        return outcome
