"""Places where a test ends or freezes a process: between any two steps of a live order.

``BASIS_KILL_FILE`` names a file that holds a signal and a point, ``SIGKILL venues: before send``: whoever passes that point
first takes the file away and sends itself the signal; ``SIGKILL@2 ...``: who passes it second. Unset, which it is everywhere but
in tests, a point costs a microsecond.
"""

from __future__ import annotations

import os
import signal
from pathlib import Path


def kill_point(name: str) -> None:
    """End or freeze the process here where a test asked for it."""
    file = os.environ.get("BASIS_KILL_FILE")
    if file is not None:
        _obey(Path(file), name)


def _obey(file: Path, name: str) -> None:
    try:
        order, _, wanted = file.read_text(encoding="utf-8").partition(" ")
        if wanted != name:
            return
        order, _, passes = order.partition("@")
        if int(passes or 1) > 1:
            file.write_text(f"{order}@{int(passes) - 1} {name}", encoding="utf-8")
        else:
            file.unlink()  # of several replicas one is hit, and it is hit once
            os.kill(os.getpid(), signal.Signals[order])
    except FileNotFoundError:
        return
