"""The log of a controller that starts: did it fail to read its configuration, and why."""

import re
from pathlib import Path

# A controller that cannot read its configuration goes on running, and answers nothing but an error page.
_FATAL = re.compile(
    r"ConfiguratorException|ConfigurationAsCodeBootFailure|ConfigurationAsCode.init failed|"
    r"Failed to initialize"
)
_NEXT_ENTRY = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d|\w{3} \d\d, \d{4} ")


def is_fatal(log: Path) -> bool:
    """Tell whether the controller could not read its configuration."""
    return any(_FATAL.search(line) for line in _lines(log))


def cause(log: Path) -> str:
    """Return what lies at the bottom of the last fatal entry; else nothing."""
    found = ""
    fatal = below = False
    for line in _lines(log):
        fatal = (fatal and not _NEXT_ENTRY.match(line)) or bool(_FATAL.search(line))
        if below and fatal:
            found += f" {line.strip()}"
        elif fatal and (line.startswith("Caused by: ") or _FATAL.search(line)):
            found = line.strip()
        below = fatal and found.endswith(":")  # a compiler says the problem in the line below
    return found[:300]


def last_line(log: Path) -> str:
    """Return the last line that is not empty."""
    return ([line.strip() for line in _lines(log) if line.strip()][-1:] or ["it said nothing"])[0][:300]


def _lines(log: Path) -> list[str]:
    return log.read_text(encoding="utf-8", errors="replace").splitlines() if log.exists() else []
