"""Python reads this file when it starts: with ``REPLAY_CLOCK`` set, its clock is off by what that file says.

Every process that the replay starts gets it through PYTHONPATH, so no part of the product knows of it. The
file holds nanoseconds to add to the machine's clock; clocks that only measure (``time.monotonic``) are right.
"""

import mmap
import os

if "REPLAY_CLOCK" in os.environ:
    import _time_machine
    import time_machine

    with open(os.environ["REPLAY_CLOCK"], "rb") as _file:
        _offset = memoryview(mmap.mmap(_file.fileno(), 8, access=mmap.ACCESS_READ)).cast("q")
    _traveller = time_machine.travel(0).start()
    _traveller.time_ns = lambda: _time_machine.original_time_ns() + _offset[0]
