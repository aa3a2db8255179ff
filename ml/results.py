"""What a command found out, for people and for pipes: tables and lines on stdout."""

import sys

from rich.console import Console

results = Console(highlight=False, soft_wrap=True, emoji=False, width=None if sys.stdout.isatty() else 120)
