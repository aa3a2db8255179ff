"""Features made from a day's row, inside the fitted pipeline."""

import numpy as np
import pandas as pd


def season(days: pd.DataFrame) -> pd.DataFrame:
    """Add ``SeasonSine`` and ``SeasonCosine``: the day of the year as a place on a circle."""
    angle = 2 * np.pi * pd.to_datetime(days["Day"], format="%Y-%m-%d").dt.day_of_year / 365.25
    return days.assign(SeasonSine=np.sin(angle), SeasonCosine=np.cos(angle))
