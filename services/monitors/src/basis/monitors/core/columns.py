"""Helpers on columns that all monitors share. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from basis.models.errors import ComponentError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]


def running(start: float, parts: Floats) -> Floats:
    """Cumulative sum that goes on from a carried value, strictly in sequence (np.cumsum adds one by one).

    So a run cut into other windows comes to the same floats.
    """
    return np.asarray(np.cumsum(np.concatenate(((start,), parts)))[1:])


def finite(name: str, column: Floats) -> list[float]:
    """A column as Python floats.

    Raises:
        ComponentError: PNL-001 where one is NaN or infinite; names the column.
    """
    if not np.isfinite(column).all():
        raise ComponentError("PNL-001", f"{name} is NaN or infinite", "pnl_monitor")
    values: list[float] = column.tolist()
    return values


def rows(columns: Mapping[str, Floats], ticks: int) -> Iterable[dict[str, float]]:
    """One dict a tick from named columns."""
    names = tuple(columns)
    lists = [finite(name, column[:ticks]) for name, column in columns.items()]
    for row in zip(*lists, strict=True):
        yield dict(zip(names, row, strict=True))
