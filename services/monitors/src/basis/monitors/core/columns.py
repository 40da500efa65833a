"""Helpers on columns that all monitors share. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]


def running(start: float, parts: Floats) -> Floats:
    """Cumulative sum that goes on from a carried value, strictly in sequence (np.cumsum adds one by one).

    So a run cut into other windows comes to the same floats.
    """
    return np.asarray(np.cumsum(np.concatenate(((start,), parts)))[1:])
