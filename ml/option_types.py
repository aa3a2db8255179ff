"""What an option may be: each function reads one kind, or tells what is wrong with the text."""

import argparse
import re
from pathlib import Path


def percent(text: str) -> float:
    """Return a percentage as a share."""
    try:
        share = float(text)
    except ValueError:
        share = 0
    if not 0 < share < 100:
        raise argparse.ArgumentTypeError(f"'{text}' is not a percentage between 0 and 100")
    return share


def seconds(text: str) -> float:
    """Return a duration in seconds."""
    found = re.fullmatch(r"(\d{1,6}(?:\.\d+)?)([smh]?)", text)
    if not found or not float(found[1]):
        raise argparse.ArgumentTypeError(f"'{text}' is not a duration like 60s, 5m or 2h")
    return float(found[1]) * {"": 1, "s": 1, "m": 60, "h": 3600}[found[2]]


def addresses(text: str) -> tuple[str, ...]:
    """Return the addresses of a list."""
    addresses = tuple(filter(None, text.split(",")))
    if not addresses or not all(one.startswith(("http://", "https://")) for one in addresses):
        raise argparse.ArgumentTypeError(f"'{text}' is not a list of addresses like http://host:8000")
    return addresses


def count(text: str) -> int:
    """Return a whole number of 1 or more."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"'{text}' is not a whole number of 1 or more")
    return int(text)


def earlier(text: str) -> int | None:
    """Return a version's number; none for the one before."""
    return None if text == "previous" else count(text)


def port(text: str) -> int:
    """Return a port."""
    if not text.isdecimal() or not 1 <= int(text) <= 65535:
        raise argparse.ArgumentTypeError(f"'{text}' is not a port, 1 to 65535")
    return int(text)


def archive(text: str) -> Path:
    """Return the file of a backup; a folder, or nothing, is none."""
    file = Path(text).absolute()
    if not text or file.is_dir():
        raise argparse.ArgumentTypeError(f"'{text}' is not the name of a file like backup.tar.gz")
    return file
