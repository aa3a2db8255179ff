"""The errors whose one-line message is written for the person at the terminal."""


class MlError(Exception):
    """Something named in the message is wrong, and the message says the way out (exit code 1)."""

    exit_code = 1


class UsageError(MlError):
    """The command line itself is wrong (exit code 2, as argparse uses)."""

    exit_code = 2


class GateRefused(MlError):
    """Everything worked, and a gate said no (exit code 3)."""

    exit_code = 3
