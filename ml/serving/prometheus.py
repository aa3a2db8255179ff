"""What the service counts: told to Prometheus, and to the deploy that judges a candidate by it."""

import asyncio
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector

from ml.console import say

SETTLE_SECONDS = 0.1
# Half a millisecond to half a minute, each bound a third above the one before: p50 and p99 to within a third.
SECONDS = tuple(0.0005 * 1.33**step for step in range(39))
ROWS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096)


class Metrics:
    """The counters of one process.

    What each request counts is handed on ten times a second, by ``settle``: one after the other that takes a
    third of the time. Where ``PROMETHEUS_MULTIPROC_DIR`` is set, as for workers of one service, ``text`` adds
    up those of all.
    """

    def __init__(self) -> None:
        """Make them in a registry of their own: several applications can live in one process."""
        self.registry = CollectorRegistry()
        self._with_labels: dict[tuple[Any, ...], Any] = {}
        self._counted: dict[Any, float] = {}
        self._observed: list[tuple[Any, float]] = []
        self._count_requests()
        self._count_answers()
        self._count_comparisons()
        self._count_the_rest()

    def _count_requests(self) -> None:
        self.requests = self._counter("ml_requests", "Requests answered", "method", "path", "status")
        self.seconds = self._histogram("ml_request_seconds", "Time to answer a request", SECONDS, "path")
        self.shed = self._counter("ml_shed", "Requests and shadows not scored: the queue was full", "what")

    def _count_answers(self) -> None:
        told = "Requests for predictions by version and outcome"
        self.answers = self._counter("ml_answers", told, "version", "outcome")
        told = "Time to predict, by version"
        self.answer_seconds = self._histogram("ml_answer_seconds", told, SECONDS, "version")
        self.rows = self._counter("ml_predicted_rows", "Rows predicted")
        told = "Rows by version and tenth of the last class's probability, or of the golden predictions"
        self.predictions = self._counter("ml_predictions", told, "version", "bin")
        told = "Labels by version; unknown: of no request we know"
        self.feedback = self._counter("ml_feedback", told, "version", "outcome")
        told = "Absolute error of a regression, by labels"
        self.feedback_error = self._histogram("ml_feedback_error", told, Histogram.DEFAULT_BUCKETS, "version")

    def _count_comparisons(self) -> None:
        labels = ("version", "champion", "candidate")
        told = "Rows that champion and candidate both answered, by the class that each gave"
        self.pairs = self._counter("ml_pairs", told, *labels)
        told = "Labels of rows that both answered, by whether each was right or wrong"
        self.paired_labels = self._counter("ml_paired_labels", told, *labels)
        told = "Sums over rows to which both gave a number"
        self.pair_sums = self._gauge("ml_pair_sums", told, "sum", "version", "of")

    def _count_the_rest(self) -> None:
        self.batch_rows = self._histogram("ml_batch_rows", "Rows scored together", ROWS)
        self.logged = self._counter("ml_logged_rows", "Rows written to the prediction log")
        self.lost = self._counter("ml_lost_rows", "Rows the prediction log lost")
        self.swaps = self._counter("ml_swaps", "Changes of the version that answers")
        self.queue = self._gauge("ml_queue_rows", "Rows that wait to be scored", "liveall")
        self.version = self._gauge("ml_model_version", "Version that answers, 0: none", "liveall")
        self.memory = self._gauge("ml_resident_bytes", "Memory of the process", "liveall")
        self.cpu = self._gauge("ml_cpu_seconds", "Processor time of the process", "liveall")

    def _counter(self, name: str, told: str, *labels: str) -> Counter:
        return Counter(name, told, labels, registry=self.registry)

    def _histogram(self, name: str, told: str, bounds: Sequence[float], *labels: str) -> Histogram:
        return Histogram(name, told, labels, buckets=bounds, registry=self.registry)

    def _gauge(self, name: str, told: str, mode: Literal["liveall", "sum"], *labels: str) -> Gauge:
        return Gauge(name, told, labels, multiprocess_mode=mode, registry=self.registry)

    def _of(self, metric: Any, *labels: str) -> Any:
        """Return what counts for some labels of a metric: its own ``labels`` takes longer than counting."""
        key = (metric, *labels)
        found = self._with_labels.get(key)
        if found is None:
            found = self._with_labels[key] = metric.labels(*labels)
        return found

    def count(self, metric: Any, *labels: str, amount: float = 1.0) -> None:
        """Count with a counter, as soon as all is settled."""
        counter = self._of(metric, *labels) if labels else metric
        self._counted[counter] = self._counted.get(counter, 0.0) + amount

    def observe(self, metric: Any, *labels: str, value: float) -> None:
        """Let a histogram see a value, as soon as all is settled."""
        self._observed.append((self._of(metric, *labels), value))

    def settle(self) -> None:
        """Hand on what was counted and seen; only by the thread that counts."""
        while self._counted:
            counter, amount = self._counted.popitem()
            counter.inc(amount)
        while self._observed:
            histogram, value = self._observed.pop()
            histogram.observe(value)

    async def settle_forever(self) -> None:
        """Settle again and again, until cancelled."""
        while True:
            await asyncio.sleep(SETTLE_SECONDS)
            try:
                self.settle()
            except Exception as error:  # the rest is settled the next time
                say(f"serve: cannot count: {type(error).__name__}: {error}")

    def measure_process(self) -> None:
        """Note what this process takes."""
        pages = int(Path("/proc/self/statm").read_text(encoding="utf-8").split()[1])
        self.memory.set(pages * os.sysconf("SC_PAGE_SIZE"))
        self.cpu.set(time.process_time())

    def text(self) -> bytes:
        """Return everything in the text format of Prometheus."""
        if "PROMETHEUS_MULTIPROC_DIR" not in os.environ:
            return generate_latest(self.registry)
        together = CollectorRegistry()
        MultiProcessCollector(together)  # type: ignore[no-untyped-call]
        return generate_latest(together)
