"""The functions of features.py for one row, without pandas: the service answers sooner by them.

The quality stage compares both on every row; a gap in a row is None.
"""

from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

NEW_YORK = ZoneInfo("America/New_York")


def clock(departure: dict[str, Any]) -> dict[str, Any]:
    """Add ``Minute``, ``Weekday`` and ``Planned``."""
    day = datetime.fromisoformat(departure["time_hour"]).astimezone(NEW_YORK)
    leaves, arrives = _minutes(departure["sched_dep_time"]), _minutes(departure["sched_arr_time"])
    return departure | {
        "Minute": leaves,
        "Weekday": float(day.weekday()),
        "Planned": (arrives - leaves) % (24 * 60),
    }


def _minutes(clock_time: int) -> float:
    return clock_time // 100 * 60.0 + clock_time % 100
