"""The gates on a page: those that want something done first, then all of them by kind."""

from collections.abc import Callable, Iterable
from itertools import chain

from ml.quality.advice import ADVICE, advice
from ml.quality.drawing import number
from ml.quality.markup import Markup, element, folded, table
from ml.records import Gate

BAR_WIDTH = 120  # pixels
OUTCOMES = ("refused", "warning", "passed", "not run")
HEADER = ("gate", "outcome", "value", "", "threshold", "95 % interval", "in words")


def troubles(gates: list[Gate], picture_of: Callable[[str], str]) -> Markup:
    """Return what was refused and what is warned of, kind by kind: messages, advice, picture of the kind."""
    parts = []
    for outcome, heading in (("refused", "Refused"), ("warning", "Worth a look")):
        found = [gate for gate in gates if gate.outcome == outcome]
        for kind, mine in _by_kind(found).items():
            told = (
                element("li", element("b", gate.about if gate.kind else gate.gate), f": {gate.message}")
                for gate in mine
            )
            title = f"{heading}: {kind or 'a test that broke'}" if outcome == "refused" else heading
            parts.append(
                element(
                    "section",
                    element("h2", title),
                    element(
                        "div",
                        element("ul", *told),
                        element("p", element("b", "What to do: "), advice(kind)),
                    ),
                    Markup(picture_of(kind)),
                    class_=f"trouble {outcome}",
                )
            )
    return Markup("\n".join(parts))


def all_gates(gates: list[Gate]) -> Markup:
    """Return the gates, folded by kind; a kind of which one refused or warned is open and comes first."""
    kinds = _by_kind([gate for gate in gates if gate.outcome != "not run"])
    order = sorted(kinds, key=lambda kind: min(OUTCOMES.index(gate.outcome) for gate in kinds[kind]))
    parts = [
        folded(
            element("span", f"{kind or 'broken'}: {counted(kinds[kind])}"),
            table(HEADER, map(_row, _ordered(kinds[kind])), class_="gates"),
            opened=any(gate.outcome != "passed" for gate in kinds[kind]),
        )
        for kind in order
    ]
    left_out = [(gate.gate, gate.message) for gate in gates if gate.outcome == "not run"]
    if left_out:
        parts.append(folded(f"{len(left_out)} not run", table(("gate", "why"), left_out)))
    return Markup("\n".join(parts))


def counted(gates: Iterable[Gate]) -> str:
    """Return how many gates had which outcome, in words."""
    outcomes = [gate.outcome for gate in gates]
    return ", ".join(f"{outcomes.count(one)} {one}" for one in OUTCOMES if one in outcomes)


def _by_kind(gates: list[Gate]) -> dict[str, list[Gate]]:
    """Return the gates by kind, in the order of the table above; kinds that it lacks come last."""
    kinds = dict.fromkeys(gate.kind or "" for gate in gates)
    order = sorted(kinds, key=lambda kind: [*ADVICE, kind].index(kind))
    return {kind: [gate for gate in gates if (gate.kind or "") == kind] for kind in order}


def _ordered(gates: list[Gate]) -> Iterable[Gate]:
    return chain.from_iterable([one for one in gates if one.outcome == outcome] for outcome in OUTCOMES)


def _row(gate: Gate) -> list[str]:
    interval = " to ".join(number(end) for end in gate.interval or [])
    outcome = element("span", gate.outcome, class_=gate.outcome)
    about = gate.about or gate.gate
    return [about, outcome, number(gate.value), _bar(gate), number(gate.threshold), interval, gate.message]


def _bar(gate: Gate) -> Markup:
    """Return the value as a bar with a line at the threshold; attributes only, as Jenkins forbids styles."""
    value, threshold = gate.value, gate.threshold
    if value is None or threshold is None:
        return Markup()
    low, high = min(0.0, value, threshold), max(value, threshold, 0.0)
    scale = BAR_WIDTH / (high - low) if high > low else 0.0
    zero, end, line = ((one - low) * scale for one in (0.0, value, threshold))
    return Markup(
        f'<svg class="{gate.outcome.replace(" ", "-")}" width="{BAR_WIDTH + 4}" height="14" '
        f'aria-hidden="true"><rect class="value" x="{min(zero, end) + 1:.1f}" y="3" '
        f'width="{max(abs(end - zero), 1):.1f}" height="8"/>'
        f'<rect x="{line:.1f}" y="0" width="2" height="14" fill="currentColor"/></svg>'
    )
