"""What it costs to tell whether columns moved, beside Evidently's preset and scipy's tests."""

import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
from rich.table import Table
from scipy import stats

from ml.monitoring.columns import look
from ml.monitoring_settings import Monitoring
from ml.results import results
from tests.bench.measuring import in_turns, record
from tests.bench.peers import environment

ROWS, ROUNDS = 1_000_000, 3
NUMBERS, CATEGORIES = 4, 4
EVIDENTLY = """
import sys, time
import pandas as pd
from evidently import Report
from evidently.presets import DataDriftPreset

before, now = (pd.read_parquet(file) for file in sys.argv[1:])
started = time.perf_counter()
Report([DataDriftPreset()]).run(now, before)
print(time.perf_counter() - started)
"""


def measure_drift() -> None:
    """Print one table: seconds of the monitor's look at all columns, and of both peers, in turns."""
    with tempfile.TemporaryDirectory(prefix="ml-bench-") as folder:
        before, now = _rows(1), _rows(2)
        files = [str(Path(folder) / f"{name}.parquet") for name in ("before", "now")]
        for rows, file in zip((before, now), files, strict=True):
            rows.to_parquet(file)
        python = str(environment("evidently") / "python")

        def evidently() -> float:
            done = subprocess.run(
                [python, "-c", EVIDENTLY, *files], check=True, capture_output=True, text=True
            )
            return float(done.stdout.split()[-1])

        times = in_turns(
            [lambda: _seconds(_look, before, now), evidently, lambda: _seconds(_tests, before, now)], ROUNDS
        )
    what = f"Drift of {ROWS:,} rows of {NUMBERS} numbers and {CATEGORIES} categories"
    title = f"{what}, seconds (median of {ROUNDS})"
    table = Table("the monitor's look", "Evidently", "scipy", title=title, title_justify="left")
    table.add_row(*(f"{statistics.median(own):.2f} ({min(own):.2f} to {max(own):.2f})" for own in times))
    results.print(table)
    for name, own in (("Evidently", times[1]), ("scipy", times[2])):
        ratio = statistics.median(times[0]) / statistics.median(own)
        record("drift", f"the monitor's look, beside {name}", ratio)
        results.print(f"beside {name}: {ratio:.3f}")


def _rows(seed: int) -> pd.DataFrame:
    random = np.random.default_rng(seed)
    numbers = {f"number {place}": random.normal(place, 1 + place, ROWS) for place in range(NUMBERS)}
    words = np.array([f"value {place}" for place in range(20)])
    categories = {f"category {place}": random.choice(words, ROWS) for place in range(CATEGORIES)}
    return pd.DataFrame(numbers | categories)


def _seconds(
    work: Callable[[pd.DataFrame, pd.DataFrame], None], before: pd.DataFrame, now: pd.DataFrame
) -> float:
    started = time.perf_counter()
    work(before, now)
    return time.perf_counter() - started


def _look(before: pd.DataFrame, now: pd.DataFrame) -> None:
    """Ask of each column what a look asks: whether it moved by three measures, and whether it is broken."""
    for name in before:
        look(before[name], now[name], Monitoring(), 1e-9)


def _tests(before: pd.DataFrame, now: pd.DataFrame) -> None:
    """Do the two tests that scipy has for it."""
    for name in before:
        if str(name).startswith("number"):
            stats.ks_2samp(before[name], now[name])
        else:
            counts = pd.concat([before[name].value_counts(), now[name].value_counts()], axis=1).fillna(0)
            stats.chi2_contingency(counts.to_numpy())
