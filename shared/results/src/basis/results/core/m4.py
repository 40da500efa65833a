"""M4: a curve drawn from few points that looks like the whole (Jugel et al., VLDB 2014).

A line chart of a width in pixels shows of each pixel column the first, last, lowest and highest value only: those four points
draw the same picture as all of them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Places = NDArray[np.int64]


def edges(length: int, buckets: int) -> Places:
    """Where each bucket begins, and at last where the last one ends: ``buckets`` + 1 places, none empty.

    Args:
        length: points of the curve, at least 1.
        buckets: pixel columns; no more than points are made.
    """
    count = max(min(buckets, length), 1)
    return np.arange(count + 1, dtype=np.int64) * length // count


def picks(values: Floats, borders: Places) -> Places:
    """Places of first, last, lowest and highest value of each bucket, ascending, each once.

    Args:
        values: the curve; NaN where it does not exist: such a point is a first or last, never a lowest or highest.
        borders: from :func:`edges`.
    """
    starts, ends = borders[:-1], borders[1:]
    exists = np.isfinite(values)
    low = _first_where(np.where(exists, values, np.inf), starts, np.minimum)
    high = _first_where(np.where(exists, values, -np.inf), starts, np.maximum)
    return np.unique(np.concatenate((starts, ends - 1, low, high)))


def _first_where(values: Floats, starts: Places, extreme: np.ufunc) -> Places:
    """First place of each bucket's extreme value."""
    best = extreme.reduceat(values, starts)
    lengths = np.diff(np.append(starts, len(values)))
    hits = np.flatnonzero(values == np.repeat(best, lengths))
    return hits[np.searchsorted(hits, starts)]


def union(curves: Sequence[Floats], points: int) -> tuple[Places, bool]:
    """One x axis for several curves: the union of their M4 picks.

    Args:
        curves: of equal length, at least one.
        points: wanted; a curve that has no more is kept whole, else the axis has at most three times as many.

    Returns:
        Places, ascending; and whether that is every point.
    """
    length = len(curves[0])
    if length <= points:
        return np.arange(length, dtype=np.int64), True
    # first and last are the same places for all curves: a bucket holds at most 2 + 2 a curve
    buckets = max(min(points // 4, 3 * points // (2 + 2 * len(curves))), 1)
    borders = edges(length, buckets)
    found = [picks(curve, borders) for curve in curves]
    return np.unique(np.concatenate(found)), False
