"""Spot and perp trades on a simulated exchange: limits, fill, fees. Pure; formulas of behaviour.md section 2.

A fill is at the market price moved by the venue's execution cost (``fills.trade_cost``), never better. A limit order that
the fill does not reach is refused, not kept: the simulation has no order book.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

from basis.models.errors import ComponentError
from basis.models.instruments import is_inverse, margin_token
from basis.models.operations import OrderSide, OrderType
from basis.runtime.fills import (
    TradeCost,
    is_whole_lots,
    margin_units,
    market_config,
    perp_notional,
    perp_pnl,
    trade_cost,
)
from basis.venues.core.interface import Step, VenueRefusal
from basis.venues.interfaces.cex.account import initial_margin, perp

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pydantic import JsonValue

    from basis.models.config import MarketConfig
    from basis.models.order import Order
    from basis.venues.core.interface import At
    from basis.venues.interfaces.cex.account import Perp

_TOLERANCE_SLACK = 1e-12
"""A slippage this much above the tolerance is float rounding."""
_FLAT_LOTS = 1e-6
"""A position of less than this many lots is float rounding of none."""


class Fill(NamedTuple):
    """A trade at its price."""

    market_price: float
    """Market price before the order, quote per base."""
    price: float
    """Price of the fill."""
    sign: float
    """+1 buys, -1 sells."""
    cost: TradeCost
    """Slippage and fee, fractions."""

    def details(self) -> dict[str, JsonValue]:
        """For the handshake."""
        return {
            "market_price": self.market_price,
            "fill_price": self.price,
            "slippage_fraction": self.cost.slippage,
            "fee_rate": self.cost.fee_rate,
        }


def spot_trade(venue: str, order: Order, ledger: Mapping[str, float], at: At) -> Step:
    """Base +-q, quote -+ q x fill - fee, at the venue's own spot price.

    Where perps settle into what is given, they must be left their initial margin.

    Raises:
        VenueRefusal: VEN-001 no such market; VEN-007 below a limit; VEN-008 no margin left; VEN-009 slippage.
    """
    pair = str(order.pair)
    asset = pair.removesuffix("USDT")
    base, quote, column = f"{venue}:BaseToken:{asset}", f"{venue}:BaseToken:USDT", f"spot:{venue}:{pair}"
    limits = _market(venue, pair, at, perp=False, keys=(base, quote), column=column)
    price = at.market[column]
    notional = order.amount * price
    _check_size(order, limits, notional, venue)
    fill = _fill(venue, order, at, price, trade_cost(at.config, venue, pair, notional, perp=False))
    fee = order.amount * fill.price * fill.cost.fee_rate
    slippage = notional * fill.cost.slippage
    deltas = {base: fill.sign * order.amount, quote: -fill.sign * order.amount * fill.price - fee}
    require_initial_margin(venue, quote if fill.sign > 0.0 else base, _moved(ledger, deltas), at)
    usdt = at.valuer.usd("USDT", at.market)
    prices = {base: price * usdt, quote: usdt}
    return Step(deltas, fill.details(), {quote: fee}, {quote: slippage}, prices=prices)


def perp_trade(venue: str, order: Order, ledger: Mapping[str, float], at: At) -> Step:
    """Perp +-q; margin - fee - slippage: the difference between fill and mark settles at once.

    What enlarges a position or turns it needs initial margin, what reduces it never does, and is free of ``min_notional``
    as reduce-only orders are on the exchanges.

    Raises:
        VenueRefusal: VEN-001 no such market; VEN-007 below a limit; VEN-008 margin; VEN-009 slippage, or levels on a
            reduction or without bars to check them with.
    """
    entry = perp(venue, str(order.pair))
    limits = _market(venue, entry.symbol, at, perp=True, keys=(entry.key, entry.margin), column=entry.mark)
    mark = at.market[entry.mark]
    held = ledger.get(entry.key, 0.0)
    sign = 1.0 if order.side is OrderSide.BUY else -1.0
    after = held + sign * order.amount
    if abs(after) < _FLAT_LOTS * limits.lot:
        after = 0.0
    reduces = held * after >= 0.0 and abs(after) < abs(held)
    notional = perp_notional(entry.symbol, order.amount, mark)
    _check_size(order, limits, math.inf if reduces else notional, venue)
    cost = trade_cost(at.config, venue, entry.symbol, notional, perp=True)
    fill = _fill(venue, order, at, mark, cost)
    filled = perp_notional(entry.symbol, order.amount, fill.price)
    fee = margin_units(entry.symbol, filled, fill.price) * cost.fee_rate
    slippage = abs(perp_pnl(entry.symbol, order.amount, fill.price, mark))
    deltas = {entry.key: -held if after == 0.0 else sign * order.amount, entry.margin: -(fee + slippage)}
    entries = _entries(entry, order, ledger, fill.price, after)
    _check_levels(entry, order, at, reduces=reduces)
    if not reduces:
        require_initial_margin(venue, entry.margin, _moved(ledger, deltas), at)
    details = fill.details() | {"margin_token": margin_token(entry.symbol), "position_after": after}
    return Step(deltas, details, {entry.margin: fee}, {entry.margin: slippage}, entries=entries)


def require_initial_margin(venue: str, margin: str, ledger: Mapping[str, float], at: At) -> None:
    """Perps that settle into a balance must have their initial margin in it.

    Raises:
        VenueRefusal: VEN-008, they have not.
    """
    needed, balance = initial_margin(venue, margin, ledger, at.market, at.config), ledger.get(margin, 0.0)
    if needed > balance:
        message = f"{margin} would be {balance!r}, initial margin is {needed!r}: insufficient balance"
        raise VenueRefusal("VEN-008", message, venue)


def _check_levels(entry: Perp, order: Order, at: At, *, reduces: bool) -> None:
    if order.take_profit is None and order.stop_loss is None:
        return
    if reduces:
        raise VenueRefusal("VEN-009", f"{entry.key}: take_profit and stop_loss on an order that reduces", entry.venue)
    for column in (f"perp_high:{entry.venue}:{entry.symbol}", f"perp_low:{entry.venue}:{entry.symbol}"):
        if column not in at.market:
            message = f"{entry.key}: take_profit and stop_loss need {column!r}, which the mode does not read"
            raise VenueRefusal("VEN-009", message, entry.venue)


def _moved(ledger: Mapping[str, float], deltas: Mapping[str, float]) -> dict[str, float]:
    return {**ledger, **{key: ledger.get(key, 0.0) + delta for key, delta in deltas.items()}}


def _market(venue: str, symbol: str, at: At, *, perp: bool, keys: tuple[str, str], column: str) -> MarketConfig:
    """Limits of a market that the mode can trade: listed by the venue, its legs held, its price read."""
    try:
        limits = market_config(at.config, venue, symbol, perp=perp)
    except ComponentError as error:
        raise VenueRefusal("VEN-001", error.message, venue) from error
    lacking = next((key for key in keys if key not in at.config.position_subscriptions), None)
    if lacking is not None:
        raise VenueRefusal("VEN-001", f"{symbol}: the mode does not hold {lacking!r}", venue)
    if column not in at.market:
        raise VenueRefusal("VEN-001", f"{symbol}: the mode does not read {column!r}", venue)
    return limits


def _check_size(order: Order, limits: MarketConfig, notional: float, venue: str) -> None:
    if not is_whole_lots(order.amount, limits.lot):
        raise VenueRefusal("VEN-007", f"{order.pair}: {order.amount!r} is no multiple of the lot {limits.lot:g}", venue)
    if order.amount < limits.lot / 2:
        raise VenueRefusal("VEN-007", f"{order.pair}: {order.amount!r} is less than one lot of {limits.lot:g}", venue)
    if notional < limits.min_notional:
        message = f"{order.pair}: notional {notional:.8g} is below the least of {limits.min_notional:g}"
        raise VenueRefusal("VEN-007", message, venue)
    limit = order.price if order.order_type is OrderType.LIMIT else None
    if limit is not None and not is_whole_lots(limit, limits.tick):
        raise VenueRefusal(
            "VEN-007", f"{order.pair}: price {limit!r} is no multiple of the tick {limits.tick:g}", venue
        )


def _fill(venue: str, order: Order, at: At, price: float, cost: TradeCost) -> Fill:
    """The fill, refused where it is too far from the market, from the reference price, or beyond the limit."""
    sign = 1.0 if order.side is OrderSide.BUY else -1.0
    fill = Fill(price, price * (1.0 + sign * cost.slippage), sign, cost)
    reference = order.price if order.price is not None and order.order_type is OrderType.MARKET else price
    adverse = max(cost.slippage, sign * (fill.price / reference - 1.0))
    if adverse > order.slippage_tolerance + _TOLERANCE_SLACK:
        message = f"{order.pair}: fill is {adverse:.6f} adverse, tolerance {order.slippage_tolerance:.6f}"
        raise VenueRefusal("VEN-009", message, venue)
    limit = order.price if order.order_type is OrderType.LIMIT else None
    if limit is not None and sign * (fill.price - limit) > 0.0:
        raise VenueRefusal("VEN-009", f"{order.pair}: fill at {fill.price!r} is beyond the limit {limit!r}", venue)
    return fill


def _entries(
    entry: Perp, order: Order, ledger: Mapping[str, float], fill_price: float, after: float
) -> dict[str, float]:
    """Entry price and levels after a perp trade: kept on a reduction, new on an opening or a turn, averaged on an add."""
    held = ledger.get(entry.key, 0.0)
    if after == 0.0:
        return {key: 0.0 for key in entry.closed_entries() if key in ledger}
    levels = {"take_profit": order.take_profit, "stop_loss": order.stop_loss}
    found = {entry.entry(name): level for name, level in levels.items() if level is not None}
    if held * after <= 0.0:  # opened, or turned: the levels of the old side are void
        return {key: 0.0 for key in entry.closed_entries() if key in ledger} | {
            entry.entry("entry_price"): fill_price,
            **found,
        }
    if abs(after) > abs(held):
        before = ledger.get(entry.entry("entry_price"), fill_price)
        found[entry.entry("entry_price")] = _average(entry.symbol, held, before, after - held, fill_price)
    return found


def _average(symbol: str, held: float, before: float, added: float, price: float) -> float:
    """Entry price after an add, so that PnL since entry is the sum of both parts'."""
    if is_inverse(symbol):
        return (held + added) / (held / before + added / price)
    return (held * before + added * price) / (held + added)
