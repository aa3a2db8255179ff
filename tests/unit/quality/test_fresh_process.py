"""The process that a model is loaded in elsewhere: what Python itself does is not held against the model."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import environment

LOOKS_FOR_A_MODULE = """
import os, sys
from pathlib import Path
from tests.quality.fresh_process import Watch
try:
    import filled_the_cache
except ImportError:
    pass
here = Path(__file__).parent
os.utime(here, (1, 1))  # as if something had been written there
watch = Watch(here / "model")
try:
    import is_not_there
except ImportError:
    pass
names = os.listdir(here.parent) if sys.argv[1:] else []
print(watch.tried)
"""


def run(script: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the script, beside which Python looks for modules first."""
    command = [sys.executable, str(script), *arguments]
    return subprocess.run(command, env=environment(), capture_output=True, text=True)


@pytest.mark.slow
def test_python_may_look_for_a_module_where_something_was_written_meanwhile(tmp_path: Path) -> None:
    script = tmp_path / "of_tests" / "script.py"
    script.parent.mkdir()
    script.write_text(LOOKS_FOR_A_MODULE)
    assert run(script).stdout.strip() == "[]"
    assert f"reads the file {tmp_path}" in run(script, "and list another folder").stderr
