"""The functions of features.py for one row, without pandas: the service answers sooner by them.

The quality stage compares both on every row; a gap in a row is None.
"""

import re
from datetime import date
from typing import Any

import numpy as np

DAY = r"[12]\d{3}-\d{2}-\d{2}"  # how a day is written; one that is written otherwise is a gap


def season(day: dict[str, Any]) -> dict[str, Any]:
    """Add ``SeasonSine`` and ``SeasonCosine``."""
    found = _day_of_year(day["Day"])
    if found is None:
        return day | {"SeasonSine": None, "SeasonCosine": None}
    angle = 2 * np.pi * found / 365.25
    return day | {"SeasonSine": float(np.sin(angle)), "SeasonCosine": float(np.cos(angle))}


def _day_of_year(text: str) -> int | None:
    if not re.fullmatch(DAY, text, re.ASCII):
        return None
    try:
        return date.fromisoformat(text).timetuple().tm_yday
    except ValueError:
        return None
