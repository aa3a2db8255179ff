"""Numbers as the page for people tells them, readable on any scale."""

import math
from dataclasses import dataclass
from decimal import Decimal

PLAIN = (1e-4, 1e9)  # numbers between them are told without a power of ten
THOUSANDS = 1e4  # from here on they are set apart: 1912 may be a year


@dataclass(frozen=True)
class PartScale:
    """How parts are drawn and told: all with the decimals that the largest needs for three figures.

    ``top`` is the largest number of all: very small and very large ones share its power of ten.
    """

    largest: float
    percent: bool
    top: float

    def text(self, value: float, sign: str = "+") -> str:
        """Return a part with its sign, or another number of the same scale without."""
        if self.percent:
            return f"{100 * value:{sign}.1f}".replace("-", "−")
        first = _magnitude(self.largest)
        common = 0 if PLAIN[0] <= self.largest and self.top < PLAIN[1] else _magnitude(self.top)
        decimals = max(0, 2 - first + common)
        shifted = Decimal(value).scaleb(-common)
        told = f"{shifted:{sign}{',' if abs(shifted) >= THOUSANDS else ''}.{decimals}f}"
        return (told + (f"e{common}" if common else "")).replace("-", "−")


def figure(value: float) -> str:
    """Return a number for people: six figures, thousands apart, a power of ten only if it is far from one."""
    size = abs(value)
    if size >= PLAIN[1] or size < PLAIN[0]:
        mantissa, _, power = f"{value:.6g}".partition("e")
        return (mantissa + (f"e{int(power)}" if power else "")).replace("-", "−")
    told = f"{value:,.0f}" if size >= 1e5 else f"{value:{',' if size >= THOUSANDS else ''}.6g}"
    return told.replace("-", "−")


def _magnitude(value: float) -> int:
    return math.floor(math.log10(value))
