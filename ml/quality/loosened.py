"""What a change lets through that was stopped before: the gates now beside those that the champion passed."""

import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ml.project import Project
from ml.records import Gate

GROUPS = ("data_gates", "gates", "canary")
# Settings of which less is looser; of all other numbers in these groups more is looser.
LESS_IS_LOOSER = ("min_", "floor")
MORE_IS_LOOSER = ("max_", "ceilings.", "champion_tolerance", "latency_slack_seconds", "slices.min_rows")


def loosened_settings(project: Project, champion: Path, judged_by: dict[str, Any] | None) -> list[str]:
    """Return in words each gate that is looser than for a registered version.

    ``judged_by`` are the gates of the model that it passed, if they were kept: they may have been set after
    it was trained, with the ``project.toml`` that lies in its folder ``champion``.
    """
    before, now = (
        tomllib.loads(file.read_text(encoding="utf-8-sig"))
        for file in (champion / "model" / "project" / "project.toml", project.folder / "project.toml")
    )
    if judged_by is not None:
        before["gates"], now["gates"] = judged_by, project.gates.model_dump(mode="json")
    return [
        told
        for group in GROUPS
        for told in _looser(dict(_flat(before.get(group, {}))), dict(_flat(now.get(group, {}))))
    ]


def loosened_expectations(before: list[Gate], now: list[Gate]) -> list[str]:
    """Return in words each expectation that was deleted or allows more, by the gates of two verdicts."""
    ours = {one.about: one.threshold for one in now if one.kind == "expectation"}
    told = []
    for gate in before:
        if gate.kind != "expectation" or gate.outcome == "not run":
            continue
        if gate.about not in ours:
            told.append(f"expectation '{gate.about}' deleted")
        elif (allows := ours[gate.about]) and gate.threshold is not None and allows > gate.threshold:
            told.append(f"expectation '{gate.about}' may be broken by {gate.threshold:g} -> {allows:g}")
    return told


def loosened_line(told: list[str]) -> str:
    """Return what was loosened in one line; nothing if nothing was."""
    return f"gates were loosened: {'; '.join(told)}" if told else ""


def _flat(settings: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in settings.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{key}.")
        elif value is not None:
            yield f"{prefix}{key}", value


def _looser(before: dict[str, Any], now: dict[str, Any]) -> Iterator[str]:
    for name, old in before.items():
        new = now.get(name)
        if name not in now:
            yield f"{name} deleted"
        elif isinstance(old, list) and isinstance(new, list):
            gone = [one for one in old if one not in new]
            if gone and len(new) <= len(old) and not name.startswith("slices.bins."):
                yield f"{name}: {len(gone)} of {len(old)} changed or deleted"
        elif _number(old) and _number(new):
            last = name.rpartition(".")[2]
            more = name.startswith(MORE_IS_LOOSER) or last.startswith(MORE_IS_LOOSER)
            less = not more and (name.startswith(LESS_IS_LOOSER) or last.startswith(LESS_IS_LOOSER))
            if (more and new > old) or (less and new < old):
                yield f"{name} {old:g} -> {new:g}"
        elif (name, new) in (("mode", "none"), ("inconclusive", "deploy")) and old != new:
            yield f"{name} {old} -> {new}"


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
