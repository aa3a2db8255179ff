"""``project.toml`` of a draft, commented, with the gates that a first look at the rows gave."""

import json
import math
import re
from dataclasses import dataclass, field
from typing import Any

from ml.data.infer.draft import Draft

WIDTH = 110
COLUMN = 34  # where comments begin


@dataclass(frozen=True)
class Settings:
    """What stands in ``project.toml`` beside what the draft says: the source, gates, features and ports.

    ``rows`` are those to learn from, by which the grid is chosen.
    """

    title: str
    source: dict[str, Any]
    test_share: float
    functions: tuple[str, ...] = ()
    made: tuple[str, ...] = ()
    max_rows: int | None = None
    rows: int = 0
    data_gates: dict[str, tuple[Any, str]] = field(default_factory=dict)
    gates: dict[str, tuple[Any, str]] = field(default_factory=dict)
    floors: dict[str, tuple[float, str]] = field(default_factory=dict)
    ports: tuple[int, int] = (8000, 8001)
    seed: int = 42


def missing_limit(share: float) -> float:
    """Return the share of missing values that a column may have, of which so many are missing now."""
    return min(1.0, math.ceil((share * 1.5 + 0.02) * 100) / 100)


def settings_text(draft: Draft, settings: Settings) -> str:
    """Return ``project.toml``."""
    lines = [f"# {settings.title}, begun with `python -m ml new`"]
    lines += [_line("title", settings.title), _line("task", draft.task), _line("target", draft.target)]
    if positive := draft.positive:
        lines += [_line("positive", positive, "the class that scores of one class are about")]
    lines += [
        _line("id", draft.id),
        _line("seed", settings.seed, "of the split, the folds and every estimator"),
    ]
    if personal := [one.name for one in draft.of("personal")]:
        lines += [_line("personal", personal, "never shown in a message, a log, a report")]
    lines += ["", "[source]", *(_line(key, value) for key, value in settings.source.items())]
    lines += ["", "[split]", *_split(draft), _line("test_share", settings.test_share, "of the rows")]
    lines += ["", "[features]"]
    if settings.functions:
        lines += [_line("functions", list(settings.functions), "of features.py, inside the fitted pipeline")]
    lines += [_line("numeric", [*draft.numeric, *settings.made])]
    lines += [_line("categorical", draft.categorical)] if draft.categorical else []
    lines += [
        "",
        "[training]",
        _line("metric", draft.metric, "a scikit-learn scorer name; greater is better"),
    ]
    lines += [_line("folds", draft.folds)]
    if settings.max_rows:
        lines += [_line("max_rows", settings.max_rows, "are learned from, chosen by a hash in each class")]
    if data_gates := _that_refuse(settings.data_gates):
        lines += ["", "[data_gates]".ljust(COLUMN) + "# beyond the contract; shares of rows"]
        lines += [_line(key, *value) for key, value in data_gates.items()]
    lines += ["", "[gates]".ljust(COLUMN) + f"# scores are {draft.metric}, on the test rows"]
    lines += [_line(key, *value) for key, value in settings.gates.items()]
    lines += [
        "",
        "[gates.floors]".ljust(COLUMN) + "# least score on the test rows, by scikit-learn scorer name",
    ]
    lines += [_line(key, *value) for key, value in settings.floors.items()]
    lines += ["", "[channels]".ljust(COLUMN) + "# the loopback port of each channel's service"]
    lines += [_line("production", settings.ports[0]), _line("staging", settings.ports[1])]
    return "\n".join(lines) + "\n"


def _that_refuse(gates: dict[str, tuple[Any, str]]) -> dict[str, tuple[Any, str]]:
    """Leave out the columns of which every value may be missing: their limit would never refuse."""
    missing, comment = gates.get("max_missing", ({}, ""))
    limited = {name: share for name, share in missing.items() if share < 1}
    kept = gates | {"max_missing": (limited, comment)}
    return {name: gate for name, gate in kept.items() if name != "max_missing" or limited}


def _split(draft: Draft) -> list[str]:
    for role in ("time", "group"):
        if columns := [one for one in draft.columns if one.role == role]:
            told = "the latest rows are the test" if role == "time" else "its rows stay on one side"
            return [_line("kind", role), _line("by", columns[0].name, told)]
    return []


def _line(key: str, value: Any, comment: str = "") -> str:
    start = f"{_key(key)} = "
    text = toml(value)
    if len(start + text) > WIDTH and isinstance(value, list):
        text = "[\n" + "\n".join(_filled([toml(one) for one in value])) + "\n]"
    if not comment:
        return start + text
    if "\n" in text or len(start + text) > 2 * COLUMN:
        return f"# {comment}\n{start}{text}"
    return (start + text).ljust(COLUMN) + f"# {comment}"


def _filled(items: list[str]) -> list[str]:
    lines = ["   "]
    for item in items:
        if len(lines[-1]) + len(item) + 2 > WIDTH:
            lines.append("   ")
        lines[-1] += f" {item},"
    return lines


def _key(name: str) -> str:
    return name if re.fullmatch(r"[A-Za-z0-9_-]+", name) else json.dumps(name, ensure_ascii=False)


def toml(value: Any) -> str:
    """Return a value as TOML writes it."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{_key(key)} = {toml(one)}" for key, one in value.items()) + " }"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(toml, value)) + "]"
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=not value.isprintable())
    return repr(value)
