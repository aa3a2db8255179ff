"""How much the data stage costs, beside DuckDB that reads, checks, splits and writes the same rows.

Both have the same work: a CSV file of departures; each column held against its type, range or list; the id
unique; rows equal but for the id, and test rows equal to a train row, counted; the test rows chosen by the
sha256 of seed and id in each class; train, test and the fingerprints of rows written as Parquet; the sha256
of what was written.
"""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd

from tests.bench.measuring import record

CARRIERS = ["UA", "B6", "EV", "DL", "AA", "MQ", "US", "9E", "WN", "VX"]
AIRPORTS = [f"{a}{b}{c}" for a in "ABCDE" for b in "ORS" for c in "DFKLMX"]
PART = 500_000
CONTRACT = f'''"""The contract of the table that `python -m tests.bench size` makes."""

import pandera.pandas as pa
from pandera.typing import Series


class Departure(pa.DataFrameModel):
    """A departure."""

    id: Series[int] = pa.Field(unique=True, ge=1)
    day: Series[str] = pa.Field(str_matches=r"^2013-\\d{{2}}-\\d{{2}}$")
    carrier: Series[str] = pa.Field(isin={CARRIERS})
    origin: Series[str] = pa.Field(isin={AIRPORTS})
    distance: Series[int] = pa.Field(ge=1, le=5000)
    wind: Series[float] = pa.Field(ge=0, le=100, nullable=True)
    pressure: Series[float] = pa.Field(ge=900, le=1100)
    late: Series[int] = pa.Field(isin=[0, 1])

    class Config:
        """No column more, none less."""

        strict = True
'''
SETTINGS = """title = "Departures"
task = "classification"
target = "late"
id = "id"
split = { test_share = 0.2 }
training = { metric = "roc_auc", max_rows = 50000 }
channels = { production = 8400 }

[source]
kind = "files"
labelled = "FILE"

[features]
numeric = ["distance", "wind", "pressure"]
categorical = ["carrier", "origin"]

[data_gates]
min_rows = 1000
max_missing = { wind = 0.1 }
max_duplicates = 0.01
max_shared_rows = 0.01

[gates]
floors = { roc_auc = 0.5 }
"""
DUCKDB = """
import hashlib, sys
from pathlib import Path
import duckdb

file, folder, carriers, airports = sys.argv[1], Path(sys.argv[2]), *map(str.split, sys.argv[3:5])
db = duckdb.connect(config={"memory_limit": "1GB", "temp_directory": str(folder / "aside")})
columns = {"id": "BIGINT", "day": "VARCHAR", "carrier": "VARCHAR", "origin": "VARCHAR", "distance": "BIGINT",
           "wind": "DOUBLE", "pressure": "DOUBLE", "late": "BIGINT"}
db.execute('''CREATE TABLE rows AS SELECT *, sha256('42:' || id)[:16] AS place, hash(id) AS key,
    hash(day, carrier, origin, distance, wind, pressure, late) AS content,
    hash(day, carrier, origin, distance, wind, pressure) AS inputs
    FROM read_csv(?, header=true, columns={})'''.format(columns), [file])
wrong = db.execute('''SELECT
    count(*) FILTER (id IS NULL OR id < 1),
    count(*) FILTER (day IS NULL OR NOT regexp_full_match(day, '2013-[0-9]{2}-[0-9]{2}')),
    count(*) FILTER (carrier IS NULL OR NOT list_contains($1, carrier)),
    count(*) FILTER (origin IS NULL OR NOT list_contains($2, origin)),
    count(*) FILTER (distance IS NULL OR distance NOT BETWEEN 1 AND 5000),
    count(*) FILTER (wind NOT BETWEEN 0 AND 100), count(*) FILTER (wind IS NULL) > 0.1 * count(*),
    count(*) FILTER (pressure IS NULL OR pressure NOT BETWEEN 900 AND 1100),
    count(*) FILTER (late IS NULL OR late NOT IN (0, 1)),
    count(*) - count(DISTINCT id), (count(*) - count(DISTINCT content)) > 0.01 * count(*)
    FROM rows''', [carriers, airports]).fetchone()
assert not any(wrong), wrong
for late, count in db.execute("SELECT late, count(*) FROM rows GROUP BY late").fetchall():
    db.execute("CREATE TABLE IF NOT EXISTS ends (late BIGINT, last VARCHAR)")
    db.execute("INSERT INTO ends SELECT $1, place FROM rows WHERE late = $1 ORDER BY place LIMIT 1 OFFSET $2",
               [late, round(count * 0.2) - 1])
parts = {"test": "place <= last", "train": "place > last"}
for name, condition in parts.items():
    chosen = f"SELECT rows.* FROM rows JOIN ends USING (late) WHERE {condition}"
    db.execute(f"CREATE VIEW {name} AS {chosen}")
    plain = f"SELECT id, day, carrier, origin, distance, wind, pressure, late FROM {name}"
    db.execute(f"COPY ({plain}) TO '{folder / name}.parquet'")
marked = " UNION ALL ".join(f"SELECT key, content, '{name}' AS part FROM {name}" for name in parts)
db.execute(f"COPY ({marked}) TO '{folder / 'rows'}.parquet'")
shared = db.execute("SELECT count(*) FROM test WHERE inputs IN (SELECT inputs FROM train)").fetchone()[0]
for name in (*parts, "rows"):
    with open(folder / f"{name}.parquet", "rb") as stream:
        hashlib.file_digest(stream, "sha256")
"""


def make(folder: Path, count: int) -> Path:
    """Write a CSV file of so many departures, the same every time."""
    file = folder / f"departures-{count}.csv"
    if file.exists():
        return file
    folder.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(count)
    with open(file, "w", encoding="utf-8") as stream:
        for start in range(0, count, PART):
            rows = min(PART, count - start)
            wind = random.gamma(4, 3, rows).clip(0, 99).round(2)
            day = pd.Timestamp("2013-01-01") + pd.to_timedelta(random.integers(0, 365, rows), unit="D")
            table = pd.DataFrame(
                {
                    "id": np.arange(start + 1, start + rows + 1),
                    "day": day.strftime("%Y-%m-%d"),
                    "carrier": random.choice(CARRIERS, rows),
                    "origin": random.choice(AIRPORTS, rows),
                    "distance": random.integers(80, 4900, rows),
                    "wind": np.where(random.random(rows) < 0.05, np.nan, wind),
                    "pressure": random.normal(1013, 8, rows).clip(960, 1060).round(1),
                    "late": (random.random(rows) < 0.1 + wind / 60).astype(int),
                }
            )
            table.to_csv(stream, index=False, header=start == 0)
    return file


def against_duckdb(count: int, tables: Path, scratch: Path) -> str:
    """Run both on the same file, each in a process of its own, and return seconds and memory side by side."""
    file = make(tables, count)
    project = scratch / "projects" / f"size-{count}"
    project.mkdir(parents=True)
    (project / "contract.py").write_text(CONTRACT, encoding="utf-8")
    (project / "grid.json").write_text('{"LogisticRegression": {}}', encoding="utf-8")
    (project / "project.toml").write_text(SETTINGS.replace("FILE", str(file)), encoding="utf-8")
    folder = scratch / f"duckdb-{count}"
    folder.mkdir()
    lists = [" ".join(CARRIERS), " ".join(AIRPORTS)]
    ours = ["-m", "ml", "data", "--project", project.name, "--build", str(scratch / "build")]
    places = {"ML_PROJECTS": str(project.parent), "ML_HOME": str(scratch / "home")}
    file.read_bytes()  # neither has to wait for the disk
    theirs_used = measure(["-c", DUCKDB, str(file), str(folder), *lists], {})
    ours_used = measure(ours, places)
    told = [
        f"{name} {one['seconds']:.1f} s, CPU {one['cpu']:.1f} s, {one['bytes'] / 1e6:,.0f} MB resident"
        for name, one in (("data stage", ours_used), ("DuckDB", theirs_used))
    ]
    ratio = ours_used["seconds"] / theirs_used["seconds"]
    record("size", f"data of {count:,} rows, seconds beside DuckDB", ratio)
    return f"{count:>12,} rows ({file.stat().st_size / 1e6:,.0f} MB): {'; '.join(told)}; {ratio:.2f} times"


MEASURED = """
import json, os, resource, subprocess, sys, time
started = time.monotonic()
code = subprocess.run([sys.executable, *json.loads(sys.argv[1])]).returncode
used = resource.getrusage(resource.RUSAGE_CHILDREN)
print(json.dumps({"code": code, "seconds": time.monotonic() - started, "cpu": used.ru_utime + used.ru_stime,
                  "bytes": used.ru_maxrss * 1024}))
"""


def measure(arguments: list[str], environment: dict[str, str]) -> dict[str, float]:
    """Return wall and CPU seconds and the largest resident memory of a Python process."""
    ended = subprocess.run(
        [sys.executable, "-c", MEASURED, json.dumps(arguments)],
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=True,
    )
    used: dict[str, float] = json.loads(ended.stdout.splitlines()[-1])
    if used["code"]:
        raise SystemExit(f"{' '.join(arguments)[:200]}: {ended.stderr}")
    time.sleep(1)
    return used
