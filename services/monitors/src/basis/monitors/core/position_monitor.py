"""PositionMonitor: what the run holds at each tick, and what each holding is worth. Pure.

The monitors keep quantities of their own, from deltas alone, and mark perps to market themselves; what the venues say
they hold is compared with that at every tick (:func:`cross_check`).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import reduce
from operator import add
from typing import TYPE_CHECKING

import numpy as np

from basis.models.errors import ComponentError
from basis.models.operations import SettlementKind
from basis.monitors.core.columns import Extended, Prices, running
from basis.runtime import fills

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from basis.models.messages import PortfolioState
    from basis.monitors.core.columns import Floats, Places
    from basis.monitors.core.plan import Line, MonitorPlan, PerpLine
    from basis.runtime.domain_events import DomainEventLogger
    from basis.runtime.settlements import SettlementColumns

RELATIVE_TOLERANCE = 1e-9
"""Largest accepted difference in a backtest, as a fraction of what moved or is held (behaviour.md section 4)."""
_ROUNDING = 1e-12
"""Rounding that a balance may keep from larger sums that went through it, as a fraction of capital."""
_FIRST = np.array([0])
"""Place of the first tick of a window."""


@dataclass(frozen=True, slots=True)
class Holding:
    """One instrument with a value over a window; arrays hold one entry a tick unless said otherwise."""

    line: Line
    held: Floats
    """Quantity held into the tick."""
    quantity: Floats
    """Quantity after the tick's mark-to-market and settlements."""
    change: Floats | None
    """quantity less held; None where it is 0 at every tick."""
    index: Floats | None
    """Aave index, from the tick before the window; None where it is 1."""
    rate: Floats | None
    """ETH per LST, from the tick before the window; None where it is 1."""
    unit: Floats | None
    """Signed base units of one unit of quantity, from the tick before the window; None where it is 1."""
    price: Floats | None
    """Price of the asset in the share class, from the tick before the window; None where it is 1."""
    units: Floats
    """Signed base units of the asset: sign x quantity x index x rate."""
    value: Floats
    """Share class."""
    idle: bool
    """True where nothing is held at any tick of the window, nor before it."""

    def unit_values(self, places: Places) -> Floats:
        """Share-class value of one unit of quantity at ticks of the window: negative for debt."""
        after = places + 1
        unit = np.ones(len(places)) if self.unit is None else self.unit[after]
        return unit if self.price is None else unit * self.price[after]


@dataclass(frozen=True, slots=True)
class MarkedPerp:
    """One perp over a window; arrays hold one entry a tick unless said otherwise."""

    line: PerpLine
    held: Floats
    """Quantity held into the tick."""
    quantity: Floats
    """Quantity after the tick's settlements."""
    mark: Floats
    """Mark from the tick before the window, quote per base."""
    units_before: Floats
    """Base units held into the tick: quantity, or contracts over the mark of the tick before where inverse."""
    units: Floats
    """Base units after the tick."""
    pnl: Floats
    """Mark-to-market over the tick, margin token."""
    idle: bool
    """True where nothing is held at any tick of the window, nor before it."""


@dataclass(frozen=True, slots=True)
class ValuedWindow:
    """All holdings over a window."""

    plan: MonitorPlan
    before: PortfolioState
    first_tick: int
    ticks: int
    settlements: tuple[SettlementColumns, ...]
    prices: Prices
    holdings: tuple[Holding, ...]
    perps: tuple[MarkedPerp, ...]
    equity: Floats
    """Share class."""
    total_value_usd: Floats
    capital: Floats
    """Capital put in so far, share class."""

    @property
    def quantities(self) -> dict[str, Floats]:
        """Instrument key -> quantity after each tick, in the order of the subscriptions."""
        found = {holding.line.key: holding.quantity for holding in self.holdings}
        found |= {perp.line.key: perp.quantity for perp in self.perps}
        return {key: found[key] for key in self.plan.keys}

    def holding(self, key: str) -> Holding | None:
        """The holding of a key; None for a perp."""
        place = self.plan.places.get(key)
        return None if place is None else self.holdings[place]


def value_window(
    plan: MonitorPlan,
    before: PortfolioState,
    market: Mapping[str, Floats],
    first_tick: int,
    ticks: int,
    settlements: Sequence[SettlementColumns] = (),
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
            not hold, PNL-003 where the change of a key is not the sum of what moved it.
    """
    row = before.market or {name: float(column[0]) for name, column in market.items()}
    missing = [name for name in market if name not in row]
    if missing:
        raise ComponentError("PNL-002", f"tick {first_tick}: the row before lacks column {missing[0]!r}", "pnl_monitor")
    extended = Extended(row, market)
    prices = Prices(plan.valuer, extended)
    settled = _settled(plan, first_tick, ticks, settlements)
    perps = tuple(_marked(line, before, extended, settled, ticks) for line in plan.perps)
    marks: dict[str, list[Floats]] = {}
    for perp in perps:
        if not perp.idle:
            marks.setdefault(perp.line.margin_key, []).append(perp.pnl)
    holdings = tuple(
        _holding(
            line,
            before.positions.get(line.key, 0.0),
            (*marks.get(line.key, ()), *((settled[line.key],) if line.key in settled else ())),
            extended,
            prices,
            ticks,
        )
        for line in plan.lines
    )
    equity = np.zeros(ticks)
    for holding in holdings:
        if not holding.idle:
            equity += holding.value
    return ValuedWindow(
        plan,
        before,
        first_tick,
        ticks,
        tuple(settlements),
        prices,
        holdings,
        perps,
        equity,
        equity * prices.share_usd[1:],
        _capital(before.capital, first_tick, ticks, settlements, {h.line.key: h for h in holdings}),
    )


def cross_check(
    window: ValuedWindow,
    ledger: Mapping[str, float],
    balances: Mapping[str, Floats],
    scale: float = 0.0,
    market: Mapping[str, Floats] | None = None,
) -> None:
    """Compare the monitors' own quantities with the venues' at every tick of the window.

    Args:
        window: what the monitors have.
        ledger: venue-side balances before the window.
        balances: venue-side balances that change within it, one a tick.
        scale: initial capital, share class: with the capital it bounds the rounding that a balance may keep.
        market: column -> values, one a tick; None in a backtest, where nothing is off by a sum of money.

    Raises:
        ComponentError: POS-001, beyond 1e-9 of the larger of the two, of what moved within the window, and rounding
            (paper and live: beyond 1 bp or 1 USD); names key, tick and both values.
    """
    for key, ours in window.quantities.items():
        theirs = balances.get(key)
        constant = theirs is None and (ours[0] == ours[-1]) and not (ours != ours[0]).any()
        if constant and ours[0] == ledger.get(key, 0.0):
            continue
        other = np.full(window.ticks, ledger.get(key, 0.0)) if theirs is None else theirs
        moved = abs(float(ours[0]) - window.before.positions.get(key, 0.0)) + float(np.abs(np.diff(ours)).sum())
        floor = max(RELATIVE_TOLERANCE * moved, _rounding_floor(window, key, scale), _real_floor(window, key, market))
        limit = np.maximum(window.plan.slack.fraction * np.maximum(np.abs(ours), np.abs(other)), floor)
        bad = ~(np.abs(ours - other) <= limit)
        if bad.any():
            place = int(np.argmax(bad))
            message = (
                f"tick {window.first_tick + place}: {key} is {float(ours[place])!r} by the monitors, "
                f"{float(other[place])!r} by the venue, more than {float(limit[place])!r} apart"
            )
            raise ComponentError("POS-001", message, "position_monitor")


def _real_floor(window: ValuedWindow, key: str, market: Mapping[str, Floats] | None) -> float:
    """What real venues may differ by, in units of the key; 0 in a backtest."""
    plan = window.plan
    if plan.slack.usd == 0.0 or market is None:
        return 0.0
    row = {name: float(column[-1]) for name, column in market.items()}
    quantities = {perp.line.key: float(perp.quantity[-1]) for perp in window.perps}
    return max(plan.usd_floor(key, row), plan.margin_floor(key, row, quantities))


def _rounding_floor(window: ValuedWindow, key: str, scale: float) -> float:
    """Rounding that a quantity may keep from sums of the size of the capital, in its own units."""
    wealth = max(abs(window.before.capital), scale, 1.0)
    holding = window.holding(key)
    if holding is not None:
        value = abs(float(holding.unit_values(_FIRST)[0]))
        return _ROUNDING * (wealth / value if value > 0.0 else 1.0)
    return _ROUNDING


def _capital(
    start: float,
    first_tick: int,
    ticks: int,
    settlements: Sequence[SettlementColumns],
    holdings: Mapping[str, Holding],
) -> Floats:
    deposits = [found for found in settlements if found.kind is SettlementKind.DEPOSIT]
    if not deposits:
        return np.full(ticks, start)
    parts = np.zeros(ticks)
    for deposit in deposits:
        places = deposit.ticks - first_tick
        for key, deltas in deposit.deltas.items():
            if key in holdings:
                parts[places] += deltas * holdings[key].unit_values(places)
    return running(start, parts)


def _settled(
    plan: MonitorPlan, first_tick: int, ticks: int, settlements: Sequence[SettlementColumns]
) -> dict[str, Floats]:
    """Instrument key -> sum of settlements at each tick."""
    changes: dict[str, Floats] = {}
    for settlement in settlements:
        places = settlement.ticks - first_tick
        for place in (int(places[0]), int(places[-1])):
            if 0 <= place < ticks:
                continue
            message = (
                f"{settlement.kind} at tick {first_tick + place} is outside {first_tick}..{first_tick + ticks - 1}"
            )
            raise ComponentError("ENGINE-002", message, "position_update_handler")
        for key, deltas in settlement.deltas.items():
            if key not in plan.subscriptions:
                message = f"{settlement.kind} at {settlement.venue} moves {key!r}, which the mode does not hold"
                raise ComponentError("POS-002", message, "position_update_handler")
            changes.setdefault(key, np.zeros(ticks))[places] += deltas  # no tick is twice in it
    return changes


def _quantity(start: float, change: Floats | None, ticks: int) -> tuple[Floats, Floats]:
    """Quantity held into each tick, and after it."""
    if change is None:
        same = np.full(ticks, start)
        return same, same
    quantity = running(start, change)
    return np.concatenate(((start,), quantity[:-1])), quantity


def _marked(
    line: PerpLine, before: PortfolioState, market: Extended, settled: Mapping[str, Floats], ticks: int
) -> MarkedPerp:
    start = before.positions.get(line.key, 0.0)
    mark = market.column(line.mark_column)
    held, quantity = _quantity(start, settled.get(line.key), ticks)
    if start == 0.0 and line.key not in settled:
        return MarkedPerp(line, held, quantity, mark, held, held, held, idle=True)
    earlier, now = mark[:-1], mark[1:]
    pnl = fills.perp_pnl(line.symbol, held, earlier, now)
    if line.inverse:
        return MarkedPerp(line, held, quantity, mark, held / earlier, quantity / now, pnl, idle=False)
    return MarkedPerp(line, held, quantity, mark, held, quantity, pnl, idle=False)


def _holding(
    line: Line, start: float, flows: tuple[Floats, ...], market: Extended, prices: Prices, ticks: int
) -> Holding:
    how = line.how
    change = reduce(add, flows) if flows else None
    held, quantity = _quantity(start, change, ticks)
    index = None if how.index_column is None else market.column(how.index_column)
    rate = None if how.rate_column is None else market.column(how.rate_column)
    price = prices.share(how.instrument.asset)
    if start == 0.0 and change is None:
        unit = _unit(how.sign, index, rate, ticks)
        return Holding(line, held, quantity, None, index, rate, unit, price, held, held, idle=True)
    _check_flows(line.key, start, quantity, flows)
    unit = _unit(how.sign, index, rate, ticks)
    units = quantity if unit is None else quantity * unit[1:]
    value = units if price is None else units * price[1:]
    return Holding(line, held, quantity, change, index, rate, unit, price, units, value, idle=False)


def _unit(sign: float, index: Floats | None, rate: Floats | None, ticks: int) -> Floats | None:
    """Signed base units of one unit of quantity, from the tick before the window; None where it is 1."""
    if index is not None:
        unit = index if rate is None else index * rate
    elif rate is not None:
        unit = rate
    elif sign == 1.0:
        return None
    else:
        return np.full(ticks + 1, sign)
    return unit if sign == 1.0 else sign * unit


def _check_flows(key: str, start: float, quantity: Floats, flows: tuple[Floats, ...]) -> None:
    """The change of a key over the window is the sum of the flows that have a name."""
    if not flows:
        return
    named = sum(float(flow.sum()) for flow in flows)
    gross = abs(start) + sum(float(np.abs(flow).sum()) for flow in flows)
    if not abs(float(quantity[-1]) - start - named) <= RELATIVE_TOLERANCE * gross:
        message = f"{key} changed by {float(quantity[-1]) - start!r}, its named flows sum to {named!r}"
        raise ComponentError("PNL-003", message, "position_monitor")


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
                "positions": window.quantities,
                "total_value_usd": window.total_value_usd,
                "position_type": "portfolio",
                "trigger_source": trigger_source,
            },
        )
