"""The clock of a replay, which all its processes share."""

import os
import struct
import time
from pathlib import Path

FOLDER = Path(__file__).parent / "path"
VARIABLE = "REPLAY_CLOCK"


class Clock:
    """A file that says how far the clock of the replay is from the machine's."""

    def __init__(self, file: Path) -> None:
        """Refer to the file; it is made by ``environment``."""
        self._file = file

    @classmethod
    def of_this_process(cls) -> "Clock":
        """Return the clock that this process was started with."""
        return cls(Path(os.environ[VARIABLE]))

    def environment(self) -> dict[str, str]:
        """Return what a process needs for having this clock."""
        self._file.write_bytes(struct.pack("q", 0))
        paths = [str(FOLDER), os.environ.get("PYTHONPATH", "")]
        return {VARIABLE: str(self._file), "PYTHONPATH": os.pathsep.join(filter(None, paths))}

    def move_to(self, at: float) -> None:
        """Let it be a moment (Unix time) in all processes; from there it goes on as clocks do."""
        with open(self._file, "r+b") as stream:
            offset = struct.unpack("q", stream.read(8))[0]
            stream.seek(0)
            stream.write(struct.pack("q", offset + round((at - time.time()) * 1e9)))
