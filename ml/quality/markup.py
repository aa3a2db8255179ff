"""HTML for the pages that Jenkins publishes: under its policy, no script and no style stands in a page.

``Markup`` is mark-up already; every other text is escaped when it is put into a page.
"""

import html
from collections.abc import Iterable, Sequence
from pathlib import Path

STYLE = Path(__file__).with_name("report.css")
LINK = '<link rel="stylesheet" href="style.css">'


class Markup(str):
    """Text that is mark-up of our own."""


def escaped(text: str) -> Markup:
    """Return a text as mark-up; what is mark-up stays as it is."""
    return text if isinstance(text, Markup) else Markup(html.escape(text))


def element(name: str, *content: str, **attributes: str) -> Markup:
    """Return an element; ``class_`` stands for the attribute ``class``."""
    told = "".join(f' {key.rstrip("_")}="{html.escape(value)}"' for key, value in attributes.items() if value)
    return Markup(f"<{name}{told}>{''.join(map(escaped, content))}</{name}>")


def table(header: Sequence[str], rows: Iterable[Sequence[str]], class_: str = "") -> Markup:
    """Return a table whose first column names the rows; on a phone each cell tells its column."""
    head = element("tr", *(element("th", cell, scope="col") for cell in header))
    body = (
        element("tr", element("th", row[0], scope="row"), *map(_cell, header[1:], row[1:])) for row in rows
    )
    inner = element("table", element("thead", head), element("tbody", *body), class_=class_)
    return element("div", inner, class_="scroll")


def _cell(name: str, content: str) -> Markup:
    return Markup(f'<td data-name="{html.escape(name)}">{escaped(content)}</td>')


def facts(found: dict[str, str]) -> Markup:
    """Return names and what they stand for, one a row."""
    rows = (
        element("tr", element("th", key, scope="row"), element("td", value)) for key, value in found.items()
    )
    return element("div", element("table", element("tbody", *rows), class_="facts"), class_="scroll")


def folded(summary: str, content: str, *, opened: bool = False) -> Markup:
    """Return what is shown when somebody asks for it."""
    start = "<details open>" if opened else "<details>"
    return Markup(f"{start}<summary>{escaped(summary)}</summary>{content}</details>")


def linked(text: str, url: str | None) -> Markup:
    """Return a text that leads to a web address; anything else is no link."""
    safe = url is not None and url.startswith(("http://", "https://"))
    return element("a", text, href=url or "") if safe else escaped(text)


def page(title: str, style: str, *parts: str) -> str:
    """Return a whole page; ``style`` is the mark-up that brings the style sheet."""
    body = "\n".join(parts)
    return f"""<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>{html.escape(title)}</title>
<meta name="viewport" content="width=device-width"><meta name="color-scheme" content="light dark">
{style}</head>
<body><main>{body}</main></body></html>
"""
