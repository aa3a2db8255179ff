"""The errors whose one-line message is written for the person at the terminal."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pydantic import ValidationError


class MlError(Exception):
    """Something named in the message is wrong, and the message says the way out (exit code 1)."""

    exit_code = 1


class UsageError(MlError):
    """The command line itself is wrong (exit code 2, as argparse uses)."""

    exit_code = 2


class GateRefused(MlError):
    """Everything worked, and a gate said no (exit code 3)."""

    exit_code = 3


def describe(error: "ValidationError") -> str:
    """Return the first problem that pydantic found, on one line, with the place it stands at."""
    first = error.errors()[0]
    place = ".".join(str(part) for part in first["loc"])
    more = f" (and {error.error_count() - 1} more)" if error.error_count() > 1 else ""
    return f"{place}: {first['msg']}{more}" if place else f"{first['msg']}{more}"
