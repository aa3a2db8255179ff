"""What the service counts: told to Prometheus, and to the deploy that judges a candidate by it."""

import os
import time
from pathlib import Path

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector

# Half a millisecond to half a minute, each bound a third above the one before: p50 and p99 to within a third.
SECONDS = tuple(0.0005 * 1.33**step for step in range(39))
ROWS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096)


class Metrics:
    """The counters of one process.

    Where ``PROMETHEUS_MULTIPROC_DIR`` is set, as for workers of one service, ``text`` adds up those of all.
    """

    def __init__(self) -> None:
        """Make them in a registry of their own: several applications can live in one process."""
        self.registry = own = CollectorRegistry()
        self.requests = Counter(
            "ml_requests", "Requests answered", ["method", "path", "status"], registry=own
        )
        self.seconds = Histogram(
            "ml_request_seconds", "Time to answer a request", ["path"], buckets=SECONDS, registry=own
        )
        self.answers = Counter(
            "ml_answers",
            "Requests for predictions by version and outcome",
            ["version", "outcome"],
            registry=own,
        )
        self.answer_seconds = Histogram(
            "ml_answer_seconds", "Time to predict, by version", ["version"], buckets=SECONDS, registry=own
        )
        self.rows = Counter("ml_predicted_rows", "Rows predicted", registry=own)
        self.predictions = Counter(
            "ml_predictions",
            "Rows by version and tenth of the last class's probability, or of the golden predictions",
            ["version", "bin"],
            registry=own,
        )
        self.pairs = Counter(
            "ml_pairs",
            "Rows that champion and candidate both answered, by the class that each gave",
            ["version", "champion", "candidate"],
            registry=own,
        )
        self.paired_labels = Counter(
            "ml_paired_labels",
            "Labels of rows that both answered, by whether each was right or wrong",
            ["version", "champion", "candidate"],
            registry=own,
        )
        self.pair_sums = Gauge(
            "ml_pair_sums",
            "Sums over rows to which both gave a number",
            ["version", "of"],
            multiprocess_mode="sum",
            registry=own,
        )
        self.feedback = Counter(
            "ml_feedback",
            "Labels by version; unknown: of no request we know",
            ["version", "outcome"],
            registry=own,
        )
        self.feedback_error = Histogram(
            "ml_feedback_error", "Absolute error of a regression, by labels", ["version"], registry=own
        )
        self.batch_rows = Histogram("ml_batch_rows", "Rows scored together", buckets=ROWS, registry=own)
        self.shed = Counter(
            "ml_shed", "Requests and shadows not scored: the queue was full", ["what"], registry=own
        )
        self.logged = Counter("ml_logged_rows", "Rows written to the prediction log", registry=own)
        self.lost = Counter("ml_lost_rows", "Rows the prediction log lost", registry=own)
        self.swaps = Counter("ml_swaps", "Changes of the version that answers", registry=own)
        self.queue = Gauge(
            "ml_queue_rows", "Rows that wait to be scored", multiprocess_mode="liveall", registry=own
        )
        self.version = Gauge(
            "ml_model_version", "Version that answers, 0: none", multiprocess_mode="liveall", registry=own
        )
        self.memory = Gauge(
            "ml_resident_bytes", "Memory of the process", multiprocess_mode="liveall", registry=own
        )
        self.cpu = Gauge(
            "ml_cpu_seconds", "Processor time of the process", multiprocess_mode="liveall", registry=own
        )

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
