"""Make the table of the temperature project, and those of three other places: one has bad sensors.

Run ``python -m ml.projects.temperature.make_data``; the same tables come out each time.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

TABLE = Path(__file__).resolve().parent / "data" / "days.csv"
DAYS = 730
FIRST_DAY = "2024-01-01"


@dataclass(frozen=True)
class Place:
    """A climate, in °C: mean of the year, swing of the seasons, and how wrong the thermometer is."""

    mean: float
    swing: float
    error: float
    seed: int


PLACES = {
    "temperature": Place(mean=10, swing=12, error=1.0, seed=1),
    "temperature-coast": Place(mean=14, swing=7, error=0.7, seed=2),
    "temperature-mountain": Place(mean=4, swing=10, error=1.2, seed=3),
    "temperature-noisy": Place(mean=10, swing=12, error=9.0, seed=4),
}


def days(place: Place) -> pd.DataFrame:
    """Return ``DAYS`` rows, one a day, with the columns of the contract."""
    random = np.random.default_rng(place.seed)
    dates = pd.date_range(FIRST_DAY, periods=DAYS)
    season = place.mean - place.swing * np.cos(2 * np.pi * (dates.day_of_year.to_numpy() - 15) / 365.25)
    weather = np.zeros(DAYS)
    for day in range(1, DAYS):
        weather[day] = 0.75 * weather[day - 1] + random.normal(0, 2)
    clouds = random.integers(0, 9, DAYS)
    wind = random.gamma(2, 2, DAYS)
    truth = season + weather - 0.3 * (clouds - 4) - 0.2 * (wind - 4)
    before = np.r_[truth[0], truth[:-1]]
    return pd.DataFrame(
        {
            "Day": dates.strftime("%Y-%m-%d"),
            "YesterdayLow": (before - random.gamma(4, 1, DAYS)).round(1),
            "YesterdayHigh": (before + random.gamma(4, 1, DAYS)).round(1),
            "Pressure": random.normal(1013, 8, DAYS).round(1),
            "Clouds": clouds,
            "Wind": wind.round(1),
            "Temperature": (truth + random.normal(0, place.error, DAYS)).clip(-60, 60).round(1),
        }
    )


if __name__ == "__main__":
    days(PLACES["temperature"]).to_csv(TABLE, index=False)
