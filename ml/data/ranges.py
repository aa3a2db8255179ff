"""The range that a contract gives to a column of numbers: wide enough for tomorrow, too narrow for errors."""

import numpy as np
import pandas as pd
from pandas.api import types

LONG_TAIL = 2.0  # times as far from the middle as nine tenths of the values


def range_of(learned: pd.Series, rest: pd.Series) -> tuple[float, float]:
    """Return a range with slack of the spread of most values; natural ends (0, 1, 100) stay.

    Of a distribution with a long tail the next value may be several times as far out as any before.
    """
    values = learned.dropna()
    least, greatest = float(values.min()), float(values.max())
    spread = float(values.quantile(0.99) - values.quantile(0.01)) or greatest - least or 1.0
    reach = [_reach(values, end, share, spread) for end, share in ((least, 0.1), (greatest, 0.9))]
    slack = 1.0
    while True:
        low, high = least - slack * reach[0], greatest + slack * reach[1]
        low = 0.0 if least >= 0 > low or least == 0 else _rounded(low, down=True)
        if 0 <= least and greatest <= 1 and greatest > 0.5 and types.is_float_dtype(learned):
            high = 1.0
        elif 0 <= least and 50 < greatest <= 100:
            high = 100.0
        else:
            high = _rounded(high, down=False)
        if rest.dropna().between(low, high).all():
            return low, high
        slack *= 2
        if slack > 1e6:
            return float(min(low, rest.min())), float(max(high, rest.max()))
        if high in (1.0, 100.0):
            greatest = float(max(greatest, rest.max()))


def _reach(values: pd.Series, end: float, share: float, spread: float) -> float:
    """Return how far beyond its end a column may go tomorrow."""
    middle = float(values.median())
    usual = abs(float(values.quantile(share)) - middle) or 1e-9 * spread
    return 3 * abs(end - middle) if abs(end - middle) > LONG_TAIL * usual else spread


def _rounded(value: float, *, down: bool) -> float:
    """Return two significant digits of a number, away from the data."""
    if value == 0:
        return 0.0
    unit = 10.0 ** (np.floor(np.log10(abs(value))) - 1)
    return float(f"{(np.floor if down else np.ceil)(value / unit) * unit:.6g}")
