"""What an option may be, and what is said of a text that is none."""

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ml.option_types import addresses, archive, count, earlier, percent, port, seconds


@pytest.mark.parametrize(
    ("read", "text", "found"),
    [
        (percent, "30", 30.0),
        (percent, "0.5", 0.5),
        (seconds, "90", 90.0),
        (seconds, "1.5m", 90.0),
        (seconds, "2h", 7200.0),
        (addresses, "http://a:1,https://b", ("http://a:1", "https://b")),
        (count, "12", 12),
        (earlier, "7", 7),
        (earlier, "previous", None),
        (port, "65535", 65535),
        (archive, "/nowhere/backup.tar.gz", Path("/nowhere/backup.tar.gz")),
    ],
)
def test_what_an_option_says(read: Callable[[str], Any], text: str, found: Any) -> None:
    assert read(text) == found


@pytest.mark.parametrize(
    ("read", "text", "told"),
    [
        *((percent, text, "not a percentage") for text in ("0", "100", "-1", "nan", "many")),
        *((seconds, text, "not a duration") for text in ("0s", "-1", "1d", "9999999", "")),
        *((addresses, text, "not a list of addresses") for text in ("", ",", "host:8000", "http://a,b")),
        *((count, text, "not a whole number") for text in ("0", "-1", "1.5", "x", "")),
        *((earlier, text, "not a whole number") for text in ("0", "next")),
        *((port, text, "not a port") for text in ("0", "65536", "http")),
        *((archive, text, "not the name of a file") for text in ("", "/")),
    ],
)
def test_what_is_no_such_option_is_told(read: Callable[[str], Any], text: str, told: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match=told):
        read(text)
