"""What anyone expects of a model of the day's temperature."""

import pandas as pd

from ml.expectations import Directional, Known

SUMMER = {
    "Day": "2025-07-15",
    "YesterdayLow": 17.0,
    "YesterdayHigh": 26.0,
    "Pressure": 1015.0,
    "Clouds": 2,
    "Wind": 3.0,
}


def a_warmer_yesterday(days: pd.DataFrame) -> pd.DataFrame:
    """Raise yesterday's temperatures by five degrees."""
    return days.assign(YesterdayLow=days["YesterdayLow"] + 5, YesterdayHigh=days["YesterdayHigh"] + 5)


EXPECTATIONS = [
    Directional("a warmer yesterday makes no colder day", a_warmer_yesterday, "not lower", tolerance=0.5),
    Known("a summer day is warm", [SUMMER], answer=21.5, tolerance=6),
]
