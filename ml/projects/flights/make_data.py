"""Make ``data/flights.sqlite`` from the Parquet files of departures and weather, as published.

Usage: ``python ml/projects/flights/make_data.py FOLDER``, where ``flights.parquet`` and ``weather.parquet``
lie: a fifth of the public tables of nycflights13 (departures from New York in 2013; CC0), and its weather.
"""

import sqlite3
import sys
from pathlib import Path

import pandas as pd

FLIGHTS = [
    "flight_id", "time_hour", "sched_dep_time", "sched_arr_time", "carrier", "origin", "dest", "distance",
    "arr_delay",
]  # fmt: skip
WEATHER = ["origin", "time_hour", "temp", "humid", "wind_speed", "precip", "pressure", "visib"]


def make(folder: Path, file: Path) -> None:
    """Write the two tables, each with an index for the join."""
    file.unlink(missing_ok=True)
    with sqlite3.connect(file) as connection:
        for name, columns in (("flights", FLIGHTS), ("weather", WEATHER)):
            table = pd.read_parquet(folder / f"{name}.parquet")[columns]
            table.sort_values(columns[:2]).round(2).to_sql(name, connection, index=False)
        connection.execute("CREATE UNIQUE INDEX by_place_and_hour ON weather (origin, time_hour)")
    connection.execute("VACUUM")
    connection.close()


if __name__ == "__main__":
    make(Path(sys.argv[1]), Path(__file__).parent / "data" / "flights.sqlite")
