"""From equity and capital to growth and drawdown: how returns are measured where money is paid in and out. Pure.

The same rule as the run's own statistics (``basis.strategy.core.run_state.with_equity``): a return is measured on what was
there before, a deposit or withdrawal at the tick is not one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Places = NDArray[np.int64]


class Growth(NamedTuple):
    """Growth of a run, tick by tick."""

    returns: Floats
    """Return of each tick on the one before, flows left out; one fewer than ticks."""
    unit: Floats
    """Value of one unit of account paid in at the first tick: equity over the first equity where no money flowed."""
    drawdown: Floats
    """unit over its highest value so far, less 1; zero or negative."""


def growth(equity: Floats, capital: Floats) -> Growth:
    """Returns, growth index and drawdown.

    Args:
        equity: at each tick, share class.
        capital: put in until and with that tick, share class; a change is a flow.

    A tick after which nothing is left ends it: later returns are 0.
    """
    flows = np.diff(capital)
    before = equity[:-1]
    alive = before != 0.0
    returns = np.where(alive, (equity[1:] - flows) / np.where(alive, before, 1.0) - 1.0, 0.0)
    if not len(equity):
        return Growth(returns, equity, equity)
    if flows.any() or not alive.all():
        index = np.concatenate(([1.0], np.cumprod(1.0 + returns)))
        return Growth(returns, index, drawdown(index))
    return Growth(returns, equity / equity[0], drawdown(equity))  # the same with less rounding


def drawdown(index: Floats) -> Floats:
    """Fall from the highest value so far, as a fraction, zero or negative."""
    peak = np.maximum.accumulate(index) if len(index) else index
    return np.where(peak > 0.0, index / np.where(peak > 0.0, peak, 1.0) - 1.0, 0.0)


class DeepestFall(NamedTuple):
    """Where the deepest drawdown was, as places of ticks."""

    depth: float
    """A fraction, zero or negative."""
    start: int
    """Last peak before it."""
    trough: int
    """Its lowest point."""
    end: int | None
    """First tick at which the peak is reached again; None where it never was."""


def deepest_fall(found: Growth) -> DeepestFall | None:
    """The deepest drawdown; None where value never fell."""
    if not len(found.drawdown):
        return None
    trough = int(np.argmin(found.drawdown))
    depth = float(found.drawdown[trough])
    if depth >= 0.0:
        return None
    start = int(np.argmax(found.unit[: trough + 1]))
    again = np.flatnonzero(found.unit[trough:] >= found.unit[start])
    return DeepestFall(depth, start, trough, trough + int(again[0]) if len(again) else None)


def capital_column(initial: float, ticks: Places, flows: dict[int, float]) -> Floats:
    """Capital put in so far at each tick.

    Args:
        initial: before the first tick, share class.
        ticks: index of each tick, ascending.
        flows: tick -> deposits less withdrawals at that tick, share class.
    """
    parts = np.zeros(len(ticks))
    for tick, amount in flows.items():
        place = int(np.searchsorted(ticks, tick))
        if place < len(ticks):
            parts[place] += amount
    return initial + np.cumsum(parts) if flows else np.full(len(ticks), initial)
