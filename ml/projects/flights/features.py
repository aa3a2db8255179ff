"""Features made of the schedule: what hour, what day of the week, how long the flight is to take."""

import re

import pandas as pd

# How an hour is written; one that is written otherwise is a gap
HOUR = r"[12]\d{3}-\d{2}-\d{2}T([01]\d|2[0-3]):00:00Z"


def clock(departures: pd.DataFrame) -> pd.DataFrame:
    """Add ``Minute`` of the day, ``Weekday`` (0 is Monday) and ``Planned``, minutes by two local clocks."""
    texts = departures["time_hour"]
    written = texts.where(texts.str.fullmatch(HOUR, flags=re.ASCII, na=False))
    hour = pd.to_datetime(written, format="ISO8601", utc=True, errors="coerce")
    day = hour.dt.tz_convert("America/New_York")
    leaves, arrives = _minutes(departures["sched_dep_time"]), _minutes(departures["sched_arr_time"])
    return departures.assign(
        Minute=leaves, Weekday=day.dt.day_of_week.astype(float), Planned=(arrives - leaves) % (24 * 60)
    )


def _minutes(clock_time: pd.Series) -> pd.Series:
    """Return minutes since midnight of a time like 1455."""
    return clock_time // 100 * 60.0 + clock_time % 100
