"""How fast the machine is just now: a figure of ours says little without it, for a shared machine changes by a factor of two.

Usage: ``python bench/machine.py``. JSON on stdout.
"""

from __future__ import annotations

import hashlib
import json
import os
import time

_TURNS = 2_000_000
_BLOCK = bytes(1_000_000)
_BLOCKS = 40


def speed() -> dict[str, float]:
    """Milliseconds that a fixed loop of Python takes, MB/s of SHA-256, and the load of the last minute; a third of a second."""
    begin = time.perf_counter()
    total = 0
    for number in range(_TURNS):
        total += number
    looped = time.perf_counter()
    for _ in range(_BLOCKS):
        hashlib.sha256(_BLOCK).digest()
    hashed = time.perf_counter()
    return {
        "python loop, ms": round(1000 * (looped - begin)),
        "sha256, MB/s": round(_BLOCKS / (hashed - looped)),
        "load": round(os.getloadavg()[0], 1),
    }


if __name__ == "__main__":
    print(json.dumps(speed()))
