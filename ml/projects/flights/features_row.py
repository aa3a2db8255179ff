"""The functions of features.py for one row, without pandas: the service answers sooner by them.

The quality stage compares both on every row; a gap in a row is None.
"""

import re
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

NEW_YORK = ZoneInfo("America/New_York")
# How an hour is written; one that is written otherwise is a gap
HOUR = r"[12]\d{3}-\d{2}-\d{2}T([01]\d|2[0-3]):00:00Z"


def clock(departure: dict[str, Any]) -> dict[str, Any]:
    """Add ``Minute``, ``Weekday`` and ``Planned``."""
    leaves, arrives = _minutes(departure["sched_dep_time"]), _minutes(departure["sched_arr_time"])
    return departure | {
        "Minute": leaves,
        "Weekday": _weekday(departure["time_hour"]),
        "Planned": (arrives - leaves) % (24 * 60),
    }


def _weekday(hour: str) -> float | None:
    if not re.fullmatch(HOUR, hour, re.ASCII):
        return None
    try:
        return float(datetime.fromisoformat(hour).astimezone(NEW_YORK).weekday())
    except ValueError:
        return None


def _minutes(clock_time: int) -> float:
    return clock_time // 100 * 60.0 + clock_time % 100
