"""The cause behind what a look sees, and the reason for it."""

from dataclasses import dataclass

from ml.console import rounded
from ml.monitoring.checks import Seen
from ml.monitoring.parts import ALL
from ml.monitoring_settings import Cause

# More columns than this share of them do not break at once by themselves: then the world moved.
MAX_BROKEN_SHARE = 1 / 3
MAX_TOLD = 3
UNSURE = 2  # standard errors: from here on nobody says that quality holds


@dataclass(frozen=True)
class Diagnosis:
    """The cause, and what speaks for it, one line each."""

    cause: Cause
    why: tuple[str, ...]


def diagnose(seen: Seen) -> Diagnosis:
    """Return the cause of what a look sees.

    What is broken comes before what it breaks: a service, then a column alone, then the labels; only then
    is lost quality a change of the world. The labels of an odd sender were not counted by then. A source that
    does not deliver, and moved inputs without a loss, are told and no more.
    """
    if seen.trouble_with_service:
        return Diagnosis("service", seen.trouble_with_service)
    if seen.refused or (seen.broken and _alone(seen)):
        told = [f"{one.column}{_of(one.part)}: {one.why}" for one in seen.broken]
        return Diagnosis("broken feed", (*seen.refused, *told))
    if seen.trouble_with_labels:
        return Diagnosis("labels", (seen.trouble_with_labels.why,))
    costs, odd = _what_costs_more(seen), [one.why for one in seen.odd_senders]
    changed = sorted({*seen.moved, *(one.column for one in seen.broken)})
    inputs = f"inputs moved: {', '.join(changed[:MAX_TOLD])}{' …' if len(changed) > MAX_TOLD else ''}"
    if costs:
        return Diagnosis(
            "drift and concept" if changed else "concept", (*costs, *([inputs] if changed else []), *odd)
        )
    if odd:
        return Diagnosis("labels", tuple(odd))
    if seen.trouble_with_source:
        return Diagnosis("source", (*seen.trouble_with_source, *([inputs] if changed else [])))
    if changed:
        return Diagnosis("drift", (inputs, _quality_holds(seen)))
    return Diagnosis("nothing", ())


def _what_costs_more(seen: Seen) -> list[str]:
    """Return by what quality is lost: rows that cost more, answers that come true otherwise than stated."""
    told = [
        f"a row{_of(one.part)} costs {rounded(one.now.value, 3)} "
        f"where it cost {rounded(one.before.value, 3)} ({one.now.rows} labels)"
        for one in seen.quality
        if one.lost
    ]
    if (found := seen.calibration) and found.off:
        most = max(found.bins, key=lambda one: abs(one.true - one.stated) * one.labels)
        told.append(
            f"answers put right would save {rounded(found.saved.value, 3)} a row "
            f"({found.saved.rows} labels): where {most.stated:.3g} was stated, {most.true:.3g} came true"
        )
    return told[:MAX_TOLD]


def not_sure(seen: Seen, margin: float) -> list[str]:
    """Return that rows cost more by a share, if they seem to, and too few tell to say so for sure."""
    return [
        f"quality: a row costs {rounded(one.now.value, 3)} where it cost {rounded(one.before.value, 3)}, "
        f"not sure yet with {one.now.rows} labels: days differ by as much"
        for one in seen.quality
        if one.part == ALL and not one.lost and one.now.value > one.before.value * (1 + margin)
        if one.now.value - one.before.value > UNSURE * one.now.error
    ]


def _alone(seen: Seen) -> bool:
    """Tell whether what is broken is so by itself: few columns are."""
    names = {one.column for one in seen.columns}
    return len(seen.broken) <= max(1, int(MAX_BROKEN_SHARE * len(names)))


def _quality_holds(seen: Seen) -> str:
    whole = next((one for one in seen.quality if one.part == ALL), None)
    if whole:
        told = f"a row costs {rounded(whole.now.value, 3)}, before {rounded(whole.before.value, 3)}"
        more = whole.now.value > whole.before.value + UNSURE * whole.now.error
        return f"{told}: not surely more, with {whole.now.rows} labels" if more else f"quality holds: {told}"
    if seen.estimated is None:
        return "whether quality holds is not known: no labels came"
    cost, low, high = (rounded(one, 3) for one in (seen.estimated.loss.value, *seen.estimated.interval))
    told = f"a row is estimated to cost {cost} ({low} to {high})"
    return (
        f"{told}, more than before; no label tells yet" if seen.estimated_lost else f"quality holds: {told}"
    )


def _of(part: str) -> str:
    return f" in {part}" if part else ""
