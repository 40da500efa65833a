"""Places where a test ends a process: between any two steps of a live order.

``BASIS_KILL_AT=name`` ends the process at the point of that name as ``kill -9`` would; ``name@2`` when it is passed for
the second time. Unset, which it is everywhere but in tests, a point costs one comparison.
"""

from __future__ import annotations

import os
import signal

_NAME, _, _TIMES = os.environ.get("BASIS_KILL_AT", "").partition("@")
_left = int(_TIMES or 1)


def kill_point(name: str) -> None:
    """End the process here where a test asked for it."""
    global _left  # noqa: PLW0603 - counts down over the life of the process
    if _NAME and name == _NAME:
        _left -= 1
        if _left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
