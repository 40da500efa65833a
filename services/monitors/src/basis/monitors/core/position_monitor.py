"""PositionMonitor: what the run holds at each tick, and what each holding is worth. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from basis.models.errors import ComponentError
from basis.models.messages import PortfolioState
from basis.monitors.core.columns import running

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from basis.models.messages import Settlement
    from basis.monitors.core.columns import Floats
    from basis.monitors.core.plan import Line, MonitorPlan
    from basis.runtime.domain_events import DomainEventLogger


@dataclass(frozen=True, slots=True)
class Factors:
    """What a quantity is multiplied with, from the tick before the window to its last: one entry more than ticks."""

    index: Floats
    """Aave index."""
    rate: Floats
    """ETH per LST."""
    price: Floats
    """Price of the asset in the share class; exactly 1 where they are the same."""


@dataclass(frozen=True, slots=True)
class Holding:
    """One instrument over a window; arrays hold one entry a tick unless said otherwise."""

    line: Line
    held: Floats
    """Quantity held into the tick."""
    quantity: Floats
    """Quantity after the tick's settlements."""
    factors: Factors
    units: Floats
    """Signed base units of the asset: quantity x index x rate."""
    value: Floats
    """Share class."""
    value_usd: Floats
    """USD."""


@dataclass(frozen=True, slots=True)
class ValuedWindow:
    """All holdings over a window."""

    plan: MonitorPlan
    before: PortfolioState
    first_tick: int
    ticks: int
    holdings: tuple[Holding, ...]
    share_price: Floats
    """USD price of the share class."""
    equity: Floats
    """Share class."""
    total_value_usd: Floats


def value_window(
    plan: MonitorPlan,
    before: PortfolioState,
    market: Mapping[str, Floats],
    first_tick: int,
    ticks: int,
    settlements: Sequence[Settlement] = (),
) -> ValuedWindow:
    """Quantities and values of a window.

    Args:
        plan: compiled configuration.
        before: state before the window (its ``market`` is the row of the tick before, empty at tick 0), or of the very
            tick that is assessed again after its orders.
        market: column -> values, one a tick.
        first_tick: index of the first tick.
        ticks: how many.
        settlements: what venues did on their own within the window.

    Raises:
        ComponentError: PNL-002 where a column is missing, POS-002 where a settlement touches a key that the mode does
            not hold.
    """
    # the row before the first tick makes every change of the window a plain difference
    row = before.market or {name: float(column[0]) for name, column in market.items()}
    missing = [name for name in market if name not in row]
    if missing:
        raise ComponentError("PNL-002", f"tick {first_tick}: the row before lacks column {missing[0]!r}", "pnl_monitor")
    extended = {name: np.concatenate(((row[name],), column)) for name, column in market.items()}
    share_price = _column(extended, plan.share_price_column)
    quantities = _quantities(plan, before, first_tick, ticks, settlements)
    holdings = tuple(
        _holding(
            line, before.positions.get(line.key, 0.0), quantities[line.key], extended, share_price, plan.share_class
        )
        for line in plan.lines
    )
    equity = np.zeros(ticks)
    for holding in holdings:
        equity += holding.value
    return ValuedWindow(plan, before, first_tick, ticks, holdings, share_price[1:], equity, equity * share_price[1:])


def _holding(
    line: Line, start: float, quantity: Floats, market: Mapping[str, Floats], share_price: Floats, share_class: str
) -> Holding:
    factors = _factors(line, market, share_price, share_class)
    units = line.how.sign * quantity * factors.index[1:] * factors.rate[1:]
    value = units * factors.price[1:]
    held = np.concatenate(((start,), quantity[:-1]))
    return Holding(line, held, quantity, factors, units, value, value * share_price[1:])


def _factors(line: Line, market: Mapping[str, Floats], share_price: Floats, share_class: str) -> Factors:
    how = line.how
    ones = np.ones_like(share_price)
    index = ones if how.index_column is None else _column(market, how.index_column)
    rate = ones if how.rate_column is None else _column(market, how.rate_column)
    if how.instrument.asset == share_class:
        price = ones
    elif how.price_column is None:
        price = np.zeros_like(share_price)
    else:
        price = _column(market, how.price_column) / share_price
        if how.dex_column is not None:
            price = price * _column(market, how.dex_column)
    return Factors(index, rate, price)


def _quantities(
    plan: MonitorPlan, before: PortfolioState, first_tick: int, ticks: int, settlements: Sequence[Settlement]
) -> dict[str, Floats]:
    changes: dict[str, Floats] = {}
    for settlement in settlements:
        for key, delta in settlement.deltas.items():
            if key not in plan.subscriptions:
                message = f"{settlement.kind} at {settlement.venue} moves {key!r}, which the mode does not hold"
                raise ComponentError("POS-002", message, "position_update_handler")
            changes.setdefault(key, np.zeros(ticks))[settlement.tick - first_tick] += delta
    columns: dict[str, Floats] = {}
    for line in plan.lines:
        start = before.positions.get(line.key, 0.0)
        change = changes.get(line.key)
        columns[line.key] = np.full(ticks, start) if change is None else running(start, change)
    return columns


def _column(market: Mapping[str, Floats], name: str) -> Floats:
    found = market.get(name)
    if found is None:
        raise ComponentError("PNL-002", f"the market lacks column {name!r}", "pnl_monitor")
    return found


class PositionMonitor:
    """Reports what the run holds."""

    @staticmethod
    def emit(
        window: ValuedWindow,
        orders: Sequence[int],
        stamps: Sequence[str],
        trigger_source: str,
        logger: DomainEventLogger,
    ) -> None:
        """Log one PositionSnapshot for each order key."""
        logger.write_columns(
            "positions",
            orders,
            stamps,
            {
                "positions": {holding.line.key: holding.quantity for holding in window.holdings},
                "total_value_usd": window.total_value_usd,
                "position_type": "portfolio",
                "trigger_source": trigger_source,
            },
        )
