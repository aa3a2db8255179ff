"""What a look at a machine finds: one line each."""

from dataclasses import dataclass
from typing import Literal

Outcome = Literal["ok", "warning", "refused"]
OK: Outcome = "ok"
WARNING: Outcome = "warning"
REFUSED: Outcome = "refused"


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at; ``refused`` says that no build can go well."""

    outcome: Outcome
    topic: str
    told: str
