"""The figures of a bench as a file that Jenkins can keep and plot: ratios to the peers, one a line."""

import csv
from pathlib import Path

from ml import locations

FILE = locations.ROOT / "build" / "bench.csv"


def begin() -> Path:
    """Begin the file anew."""
    FILE.parent.mkdir(exist_ok=True)
    FILE.write_text("part,figure,ratio\n", encoding="utf-8")
    return FILE


def record(part: str, figure: str, ratio: float) -> None:
    """Add a ratio to the file."""
    with open(FILE, "a", encoding="utf-8", newline="") as stream:
        csv.writer(stream).writerow([part, figure, f"{ratio:.4g}"])
