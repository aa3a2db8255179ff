"""Features made of the schedule: what hour, what day of the week, how long the flight is to take."""

import pandas as pd


def clock(departures: pd.DataFrame) -> pd.DataFrame:
    """Add ``Minute`` of the day, ``Weekday`` (0 is Monday) and ``Planned``, minutes by two local clocks."""
    hour = pd.to_datetime(departures["time_hour"], format="ISO8601", utc=True)
    day = hour.dt.tz_convert("America/New_York")
    leaves, arrives = _minutes(departures["sched_dep_time"]), _minutes(departures["sched_arr_time"])
    return departures.assign(
        Minute=leaves, Weekday=day.dt.dayofweek.astype(float), Planned=(arrives - leaves) % (24 * 60)
    )


def _minutes(clock_time: pd.Series) -> pd.Series:
    """Return minutes since midnight of a time like 1455."""
    return clock_time // 100 * 60.0 + clock_time % 100
