"""Load a model in a process of its own and print its answers, seconds and memory."""

import json
import resource
import sys
import time
from pathlib import Path

import pandas as pd

from ml.contracts import records
from ml.model import load_bundle


def main(model: str, table: str) -> None:
    """Print one JSON object: ``answers``, ``load_seconds`` and ``memory_bytes`` (the most at once)."""
    start = time.perf_counter()
    bundle = load_bundle(Path(model))
    seconds = time.perf_counter() - start
    rows = pd.read_parquet(table).drop(columns=bundle.project.target)
    answers = records(bundle.predict(rows))
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024  # Linux counts in units of 1024 bytes
    print(json.dumps({"answers": answers, "load_seconds": seconds, "memory_bytes": memory}))


if __name__ == "__main__":
    main(*sys.argv[1:])
