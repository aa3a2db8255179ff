"""Features made from a day's row, inside the fitted pipeline."""

import re

import numpy as np
import pandas as pd

DAY = r"[12]\d{3}-\d{2}-\d{2}"  # how a day is written; one that is written otherwise is a gap


def season(days: pd.DataFrame) -> pd.DataFrame:
    """Add ``SeasonSine`` and ``SeasonCosine``: the day of the year as a place on a circle."""
    written = days["Day"].where(days["Day"].str.fullmatch(DAY, flags=re.ASCII, na=False))
    day = pd.to_datetime(written, format="%Y-%m-%d", errors="coerce")
    angle = 2 * np.pi * day.dt.day_of_year / 365.25
    return days.assign(SeasonSine=np.sin(angle), SeasonCosine=np.cos(angle))
