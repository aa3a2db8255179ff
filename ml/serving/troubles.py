"""What a service could not answer as it was asked: refused, by column and rule; failed; turned away; lost."""

from dataclasses import dataclass

from ml.data.request import BrokenRows
from ml.serving.bodies import refused

REFUSED, FAILED, BUSY, LOST = "refused", "failed", "busy", "lost"


@dataclass(frozen=True)
class Trouble:
    """One kind of trouble; of a refused request the column, and the rule it breaks."""

    kind: str
    column: str = ""
    rule: str = ""


def troubles_of(error: Exception) -> list[Trouble]:
    """Return what an error that a request ended with is noted as: each column and rule once."""
    if isinstance(error, BrokenRows):
        found = (
            Trouble(REFUSED, _column(one["place"])[:200], one["problem"][:300]) for one in error.problems
        )
        return list(dict.fromkeys(found))
    status = refused(error).status
    if status == 503:
        return [Trouble(BUSY)]
    return [Trouble(FAILED if status >= 500 else REFUSED, rule=f"status {status}")]


def _column(place: list[str]) -> str:
    """Return the column of a place: what is neither the number of a row nor of a line."""
    found = next((part for part in place if not part.isdigit() and not part.startswith("line ")), "")
    return found.replace("\0", "")  # which PostgreSQL keeps in no text
