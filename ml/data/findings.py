"""What a gate of the data stage finds."""

from dataclasses import dataclass, replace
from typing import Any

from ml.data.contract import MAX_EXAMPLES, Violation
from ml.records import Gate


@dataclass(frozen=True)
class Finding:
    """What one gate measured, and the violation if that is too much or too little; or why it was not run."""

    kind: str
    about: str
    value: float | None
    threshold: float | None
    violation: Violation | None = None
    not_run: str = ""

    @property
    def gate(self) -> str:
        """The name of the gate: its kind, and what it is about if there are several."""
        return f"{self.kind}: {self.about}" if self.about else self.kind

    def record(self) -> Gate:
        """Return the finding as the verdict of a model tells its gates."""
        return Gate(
            gate=self.gate,
            kind=self.kind,
            outcome="refused" if self.violation else "not run" if self.not_run else "passed",
            value=self.value,
            threshold=self.threshold,
            message=str(self.violation or self.not_run),
        )


def too_many(
    kind: str, about: str, value: float, threshold: float, column: str, told: str, rows: int, shown: Any = ()
) -> Finding:
    """Return a finding that is a violation if the value is above the threshold."""
    broken = Violation(column, f"{told} ({value:.4g} is more than {threshold:g})", rows, tuple(shown))
    return Finding(kind, about, value, threshold, broken if value > threshold else None)


def too_few(
    kind: str, about: str, value: float, threshold: float, column: str, told: str, rows: int, shown: Any = ()
) -> Finding:
    """Return a finding that is a violation if the value is below the threshold."""
    broken = Violation(column, f"{told} ({value:.4g} is less than {threshold:g})", rows, tuple(shown))
    return Finding(kind, about, value, threshold, broken if value < threshold else None)


@dataclass(frozen=True)
class Count:
    """In how many of the rows something is wrong, and which share of them is allowed; batches add up."""

    kind: str
    about: str
    most: float
    column: str
    told: str
    wrong: int
    rows: int
    shown: tuple[str, ...]

    def __add__(self, other: "Count") -> "Count":
        """Return what both batches of rows hold together."""
        shown = (self.shown + other.shown)[:MAX_EXAMPLES]
        return replace(self, wrong=self.wrong + other.wrong, rows=self.rows + other.rows, shown=shown)

    def finding(self) -> Finding:
        """Return it as what the gate found."""
        share = self.wrong / self.rows
        return too_many(
            self.kind, self.about, share, self.most, self.column, self.told, self.wrong, self.shown
        )
