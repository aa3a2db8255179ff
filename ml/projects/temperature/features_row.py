"""The functions of features.py for one row, without pandas: the service answers sooner by them.

The quality stage compares both on every row; a gap in a row is None.
"""

from datetime import date
from typing import Any

import numpy as np


def season(day: dict[str, Any]) -> dict[str, Any]:
    """Add ``SeasonSine`` and ``SeasonCosine``."""
    angle = 2 * np.pi * date.fromisoformat(day["Day"]).timetuple().tm_yday / 365.25
    return day | {"SeasonSine": float(np.sin(angle)), "SeasonCosine": float(np.cos(angle))}
