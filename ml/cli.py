"""The command line: how a command is run, ended by a signal, and how an error is told."""

import os
import shutil
import signal
import sys
from collections.abc import Sequence
from types import FrameType

from ml.build_page import tell_build_page
from ml.commands import COMMANDS
from ml.errors import MlError
from ml.options import make_parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code: 0, 1 (error), 2 (wrong usage) or 3 (a gate refused)."""
    parser = make_parser(COMMANDS)
    options = parser.parse_args(arguments)
    signal.signal(signal.SIGTERM, _terminate)
    try:
        options.command(options)
    except MlError as error:
        return _fail(str(error), error.exit_code)
    except KeyboardInterrupt as interruption:
        code = 128 + (signal.SIGTERM if isinstance(interruption, _Terminated) else signal.SIGINT)
        return _fail("interrupted; what was not finished is as it was before", code)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except OSError as error:
        if isinstance(error, shutil.Error):  # one line for each file of a folder that was to be copied
            (_, there, why), *_ = error.args[0]
            error = OSError(None, why, there)
        place = f"{error.filename}: " if error.filename else ""
        return _fail(
            f"{place}{error.strerror or error}: check the path, its permissions and the free space", 1
        )
    except MemoryError:
        return _fail("out of memory: use fewer rows or a machine with more memory", 1)
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)  # while Python ends, nobody tells of it in a line
    return 0


def _fail(message: str, code: int) -> int:
    line = f"error: {' '.join(message.split())}"
    print(line, file=sys.stderr)
    try:
        tell_build_page(line)
    except OSError:  # a full disk may be the very error that is told
        pass
    return code


class _Terminated(KeyboardInterrupt):
    """SIGTERM, as Jenkins sends it to abort a build: ends a command as Ctrl-C does, tidily."""


def _terminate(_: int, __: FrameType | None) -> None:
    raise _Terminated
