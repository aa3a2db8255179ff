"""Entry point of ``python -m ml``; code that cannot even be imported is told in one line, with its place."""

import html
import os
import sys
import traceback
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def main() -> int:
    """Run the command line; lint, too, runs on the very code that it is to judge."""
    try:
        from ml.cli import main as command
    except Exception as error:
        return _tell(error)
    try:
        return command()
    except (SyntaxError, ImportError) as error:
        return _tell(error)


def _tell(error: Exception) -> int:
    finding = _place(error)
    print(f"error: {finding}", file=sys.stderr)
    if outcome := os.environ.get("ML_OUTCOME"):
        with open(outcome, "a", encoding="utf-8") as stream:
            stream.write(f"error: {html.escape(finding)}<br>\n")
    return 1


def _place(error: Exception) -> str:
    if isinstance(error, SyntaxError) and error.filename:
        file, line, problem = error.filename, error.lineno, error.msg
    else:
        frames = traceback.extract_tb(error.__traceback__)
        ours = [frame for frame in frames if Path(frame.filename).is_relative_to(ROOT)]
        file, line, problem = ours[-1].filename, ours[-1].lineno, f"{type(error).__name__}: {error}"
    return f"{file.removeprefix(f'{ROOT}/')}:{line}: {' '.join(problem.split())}"


if __name__ == "__main__":
    sys.exit(main())
