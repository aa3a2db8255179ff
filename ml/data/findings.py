"""What a gate of the data stage finds."""

from dataclasses import dataclass
from typing import Any

from ml.data.contract import Violation


@dataclass(frozen=True)
class Finding:
    """What one gate measured, and the violation if that is too much or too little; or why it was not run."""

    gate: str
    value: float | None
    threshold: float | None
    violation: Violation | None = None
    not_run: str = ""

    def record(self) -> dict[str, Any]:
        """Return the finding in the form of the gates of a verdict."""
        return {
            "gate": self.gate,
            "outcome": "refused" if self.violation else "not run" if self.not_run else "passed",
            "value": self.value,
            "threshold": self.threshold,
            "message": str(self.violation or self.not_run),
        }


def too_many(
    gate: str, value: float, threshold: float, column: str, told: str, rows: int, shown: Any = ()
) -> Finding:
    """Return a finding that is a violation if the value is above the threshold."""
    broken = Violation(column, f"{told} ({value:.4g} is more than {threshold:g})", rows, tuple(shown))
    return Finding(gate, value, threshold, broken if value > threshold else None)


def too_few(
    gate: str, value: float, threshold: float, column: str, told: str, rows: int, shown: Any = ()
) -> Finding:
    """Return a finding that is a violation if the value is below the threshold."""
    broken = Violation(column, f"{told} ({value:.4g} is less than {threshold:g})", rows, tuple(shown))
    return Finding(gate, value, threshold, broken if value < threshold else None)
