"""A curve in one line of a terminal."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

_BLOCKS = "▁▂▃▄▅▆▇█"


def draw(values: Sequence[float]) -> str:
    """One block a value, the lowest value as the lowest block; empty where there is none.

    Raises:
        ValueError: a value is not finite.
    """
    if not values:
        return ""
    if not all(map(math.isfinite, values)):
        raise ValueError("a sparkline needs finite values")
    low, high = min(values), max(values)
    if low == high:
        return _BLOCKS[0] * len(values)
    # halves first: the difference of two large floats may overflow
    return "".join(
        _BLOCKS[round((value / 2 - low / 2) / (high / 2 - low / 2) * (len(_BLOCKS) - 1))] for value in values
    )
