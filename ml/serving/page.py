"""The page for people, as HTML from plain data: the form of one row, its answer, and what drove it.

It holds no script and asks for nothing else, so that it works offline, and all that it shows is escaped.
"""

import base64
import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

from ml.serving import API_KEY_HEADER
from ml.serving.contributions import Contributions, Scale
from ml.serving.figures import PartScale, figure
from ml.serving.form import KEY, PREFIX, Field, value_of

STYLE = Path(__file__).with_suffix(".css").read_text(encoding="utf-8")
STYLE_HASH = base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()
CLOSED = "frame-ancestors 'none'; base-uri 'none'"
HEADERS = {
    "Content-Security-Policy": f"default-src 'none'; style-src 'sha256-{STYLE_HASH}'; "
    f"form-action 'self'; img-src 'self' data:; {CLOSED}",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",  # it may hold what a person typed
}
# A report brings its styles and pictures along, some of them in attributes.
REPORT_HEADERS = HEADERS | {
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; img-src data:; "
    f"form-action 'none'; sandbox; {CLOSED}"
}
MAX_PARTS = 12
SHORT_PART = 7  # letters that the usual column of parts has room for
MAX_SHOWN = 60  # letters of a value beside its bar
UNITS: dict[Scale, str] = {
    "log-odds": "the log-odds of this answer",
    "score": "the model's score of this answer",
    "prediction": "the prediction",
    "probability": "the probability of this answer (percentage points)",
    "agreement": "the share of rows that get this answer (percentage points)",
}
SHARES = ("probability", "agreement")


@dataclass(frozen=True)
class About:
    """Who answers: a version, in a channel; whether it asks for a key and has a report."""

    title: str
    channel: str
    version: int
    target: str
    needs_key: bool
    has_report: bool


@dataclass(frozen=True)
class Tried:
    """The answer to one row, as ``POST /predict`` gives it, and what drove it."""

    answer: dict[str, Any]
    drivers: Contributions


@dataclass(frozen=True)
class Said:
    """What became of the row that was sent: an answer, or what was wrong with it and with the key."""

    tried: Tried | None = None
    problem: str = ""
    key_problem: str = ""


def try_page(about: About, fields: list[Field], said: Said) -> str:
    """Return the page of a version, with the answer to what is in its fields if there is one."""
    answered = _answer(about, fields, said.tried) if said.tried else ""
    form = _form(about, fields, said)
    head = (
        f"<header><h1>{escape(about.title)}</h1><p>Version {about.version} answers in the channel "
        f"<b>{escape(about.channel)}</b>.</p>{_links(about)}</header>"
    )
    kind = ' class="answered"' if answered else ""
    return _document(about.title, f"{head}<main{kind}>{answered}{form}</main>")


def plain_page(title: str, told: str) -> str:
    """Return a page that says one thing."""
    return _document(
        title,
        f"<header><h1>{escape(title)}</h1></header><main><div><p>{escape(told)}.</p>"
        '<p><a href=".">Look again</a></p></div></main>',
    )


def _document(title: str, body: str) -> str:
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>'
        '<meta name="viewport" content="width=device-width, initial-scale=1"><link rel="icon" href="data:,">'
        f"<style>{STYLE}</style></head><body>{body}</body></html>"
    )


def _links(about: About) -> str:
    docs = '<a href="docs">How programs ask</a>'
    if about.needs_key:
        report = " and its quality at <code>/report</code>" if about.has_report else ""
        return (
            f'<nav>{docs}</nav><p class="quiet">Its lineage is at <code>/model</code>{report}, '
            f"with the key in the header {API_KEY_HEADER}.</p>"
        )
    report = '<a href="report">How good it is</a>' if about.has_report else ""
    return f'<nav>{docs}<a href="model">What it was made of</a>{report}</nav>'


def _form(about: About, fields: list[Field], said: Said) -> str:
    inputs = "".join(_field(number, one) for number, one in enumerate(fields))
    problem = f'<p class="problem" role="alert">{escape(said.problem)}</p>' if said.problem else ""
    key = ""
    if about.needs_key:
        broken = " broken" if said.key_problem else ""
        key = (
            f'<div class="field key{broken}"><label for="key">Your key</label>'
            f'<input id="key" type="password" name="{KEY}" required autocomplete="off">'
            f"{_problem('key', said.key_problem)}</div>"
        )
    return (
        f'<form method="post" action="try" autocomplete="off"><h2>One row</h2>{problem}'
        f'<div class="fields">{inputs}</div>{key}<button>Predict {escape(about.target)}</button>'
        '<p class="quiet">This is a try: the row is not kept, not written to the prediction log, and not '
        "compared with another version.</p></form>"
    )


def _field(number: int, one: Field) -> str:
    identity = f"field-{number}"
    hint, problem = _hint(one), _problem(identity, one.problem)
    told = [f"{identity}-{what}" for what, text in (("hint", hint), ("problem", one.problem)) if text]
    common = f'id="{identity}" name="{escape(PREFIX + one.name)}"'
    if told:
        common += f' aria-describedby="{" ".join(told)}"'
    if one.problem:
        common += ' aria-invalid="true"'
    if not one.nullable:
        common += " required"
    name = f" <small>{escape(one.name)}</small>" if one.title != one.name else ""
    hint = f'<p class="quiet" id="{identity}-hint">{escape(hint)}</p>' if hint else ""
    return (
        f'<div class="field{" broken" if one.problem else ""}">'
        f'<label for="{identity}">{escape(one.title)}{name}</label>'
        f"{_choices(one, common) if one.choices else _input(one, common)}{hint}{problem}</div>"
    )


def _problem(identity: str, told: str) -> str:
    return f'<p class="problem" role="alert" id="{identity}-problem">{escape(told)}</p>' if told else ""


def _choices(one: Field, common: str) -> str:
    choices = list(one.choices)
    if one.nullable or one.value == "":
        choices.insert(0, "")
    if one.value not in choices:  # typed by no browser of ours, and refused, but shown
        choices.append(one.value)
    options = "".join(
        f'<option value="{escape(choice)}"{" selected" if choice == one.value else ""}>'
        f"{escape(choice)}</option>"
        for choice in dict.fromkeys(choices)
    )
    return f"<select {common}>{options}</select>"


def _input(one: Field, common: str) -> str:
    attributes = f'{common} value="{escape(one.value)}"'
    if one.kind == "text":
        limit = f' maxlength="{one.max_length}"' if one.max_length else ""
        return f'<input type="text" {attributes}{limit}>'
    if (
        isinstance(value_of(one), str) and one.value
    ):  # a browser shows nothing in a number's field that is none
        return f'<input type="text" inputmode="decimal" {attributes}>'
    step = "1" if one.kind == "integer" else "any"
    limits = "".join(
        f' {name}="{limit}"' for name, limit in (("min", one.least), ("max", one.most)) if limit is not None
    )
    return f'<input type="number" step="{step}"{limits} {attributes}>'


def _hint(one: Field) -> str:
    if one.choices or one.kind == "text" or (one.least is None and one.most is None):
        limits = ""
    else:
        least, most = ("" if end is None else figure(end) for end in (one.least, one.most))
        limits = f"{least or 'up'} to {most}" if most else f"from {least}"
    parts = (one.about, limits, "personal" if one.personal else "", "may be empty" if one.nullable else "")
    return " · ".join(part for part in parts if part)


def _answer(about: About, fields: list[Field], tried: Tried) -> str:
    said, named = tried.answer["prediction"], "probability_"
    chances = {key.removeprefix(named): value for key, value in tried.answer.items() if key.startswith(named)}
    shown = figure(said) if isinstance(said, float) else str(said)
    rows = "".join(
        f'<tr><th scope="row">{escape(name)}</th><td>{_bar(0, 100 * chance)}</td>'
        f'<td><data value="{chance!r}">{100 * chance:.1f}\u202f%</data></td></tr>'
        for name, chance in chances.items()
    )
    table = f'<h3>Probabilities</h3><table class="chances">{rows}</table>' if rows else ""
    return (
        f'<section aria-live="polite"><h2>Answer of version {about.version}</h2><p class="said">'
        f'{escape(about.target)}<data value="{escape(str(said))}">{escape(shown)}</data></p>{table}'
        f"<h3>What drove it</h3>{_drivers(fields, tried.drivers)}</section>"
    )


def _drivers(fields: list[Field], drivers: Contributions) -> str:
    moved = {name: part for name, part in drivers.parts.items() if part}
    order = sorted(moved, key=lambda name: -abs(moved[name]))
    largest = max(map(abs, moved.values()), default=1.0)
    top = max(largest, abs(drivers.total), abs(drivers.reference))
    scale = PartScale(largest, drivers.scale in SHARES, top)
    known = {one.name: one for one in fields}
    rows = "".join(_part(known[name], moved[name], scale) for name in order[:MAX_PARTS])
    rest = order[MAX_PARTS:]
    if rest:
        together = scale.text(sum(moved[name] for name in rest))
        rows += f'<tr><th scope="row">{len(rest)} more, together</th><td></td><td>{together}</td></tr>'
    still = [known[name].title for name in drivers.parts if name not in moved]
    no_effect = f'<p class="quiet">Without effect on it: {escape(", ".join(still))}.</p>' if still else ""
    right, left = ("for more", "for less") if drivers.scale == "prediction" else ("for it", "against it")
    long = " long" if len(scale.text(largest)) > SHORT_PART else ""
    return (
        f'<p class="quiet">To the right: what speaks {right}; to the left: {left}.</p>'
        f'<table class="drivers{long}">{rows}</table>{no_effect}'
        f'<p class="quiet">{_how(drivers, scale, fields)}</p>'
    )


def _how(drivers: Contributions, scale: PartScale, fields: Iterable[Field]) -> str:
    """Say in a line what the bars are."""
    unit, rows = UNITS[drivers.scale], f"{drivers.rows} reference rows of this version"
    if drivers.exact:
        begin, end = (scale.text(value, "") for value in (drivers.reference, drivers.total))
        told = (
            f"Exact: each bar is a share in {unit}; they add up from {begin}, the mean of {rows}, to {end}."
        )
    else:
        told = (
            f"One field at a time: how far {unit} falls on average when that field is taken from {rows}. "
            "Bars need not add up."
        )
    if any(one.personal for one in fields):
        told += " Personal fields are compared with made-up ones."
    return told


def _part(one: Field, part: float, scale: PartScale) -> str:
    value = one.value if len(one.value) <= MAX_SHOWN else one.value[:MAX_SHOWN] + "…"
    size = 50 * part / scale.largest
    return (
        f'<tr><th scope="row">{escape(one.title)} <small>{escape(value) or "empty"}</small></th>'
        f"<td>{_bar(50, size, axis=True)}</td>"
        f'<td><data value="{part!r}">{scale.text(part)}</data></td></tr>'
    )


def _bar(start: float, size: float, *, axis: bool = False) -> str:
    """Return a bar of percents of the width, to the left if its size is negative."""
    line = '<path class="axis" d="M50 0V10" vector-effect="non-scaling-stroke"/>' if axis else ""
    return (
        '<svg viewBox="0 0 100 10" preserveAspectRatio="none" aria-hidden="true">'
        f'<rect class="{"against" if size < 0 else "for"}" x="{start + min(size, 0):.2f}" y="0" '
        f'width="{abs(size):.2f}" height="10"/>{line}</svg>'
    )
