"""Our orders in an exchange's units: symbols, contracts, lots, ticks and limits. Pure.

Nothing is rounded to make it fit: what is no whole number of lots or ticks, or is below a limit, is refused (VEN-007) before
anything is sent. A float that stands for a decimal number becomes that number.
"""

from __future__ import annotations

from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal
from typing import TYPE_CHECKING, Any, NamedTuple

from basis.models.instruments import is_inverse, margin_token
from basis.models.operations import OperationType, OrderSide
from basis.venues.core.interface import VenueRefusal

if TYPE_CHECKING:
    from collections.abc import Mapping

    from basis.models.order import Order
    from basis.models.venue_config import MarketConfig

_SLACK = Decimal("1e-9")
"""A quantity this close to a whole number of lots, in lots, counts as whole: decimal lots have no exact float."""


class Market(NamedTuple):
    """A market as the exchange lists it."""

    symbol: str
    """ccxt's symbol, e.g. ETH/USDT:USDT."""
    pair: str
    """Ours, e.g. ETHUSDT."""
    perp: bool
    """True for a perp."""
    contract: Decimal
    """Base units (USD where inverse) of one unit of the exchange's amounts."""
    lot: Decimal
    """Smallest step of an amount, in the exchange's units."""
    tick: Decimal
    """Smallest step of a price."""
    min_amount: Decimal
    """Smallest amount, in the exchange's units."""
    max_amount: Decimal | None
    """Largest amount, in the exchange's units."""
    min_notional: Decimal
    """Smallest notional, quote currency."""

    @property
    def inverse(self) -> bool:
        """True where margined in the base asset."""
        return self.perp and is_inverse(self.pair)

    @property
    def base(self) -> str:
        """Asset that is traded."""
        return self.symbol.split("/")[0]

    @property
    def margin(self) -> str:
        """Token that it settles in."""
        return margin_token(self.pair)


def ccxt_symbol(pair: str, *, perp: bool) -> str:
    """ETHUSDT -> ETH/USDT, or ETH/USDT:USDT; BTCUSD -> BTC/USD:BTC."""
    quote = "USD" if is_inverse(pair) else "USDT"
    base = pair.removesuffix(quote)
    return f"{base}/{quote}" + (f":{margin_token(pair)}" if perp else "")


def market_of(
    pair: str, *, perp: bool, listed: Mapping[str, Any], venue: str, configured: MarketConfig | None = None
) -> Market:
    """A market out of what ccxt loaded.

    Args:
        pair: symbol of the system.
        perp: True for a perp.
        listed: ccxt's symbol -> market.
        venue: exchange.
        configured: the mode's own limits; the larger least notional counts: OKX lists none.

    Raises:
        VenueRefusal: VEN-001, it is not listed or not open.
    """
    symbol = ccxt_symbol(pair, perp=perp)
    found = listed.get(symbol)
    if found is None or found.get("active") is False:
        raise VenueRefusal("VEN-001", f"{venue} does not trade {symbol} now", venue)
    contract, limits = _decimal(found.get("contractSize")) or Decimal(1), found["limits"]
    lot, tick = _decimal(found["precision"]["amount"]), _decimal(found["precision"]["price"])
    if not lot or not tick:
        raise VenueRefusal("VEN-001", f"{venue} states no lot or no tick for {symbol}", venue)
    notional = _decimal((limits.get("cost") or {}).get("min")) or _own_notional(found)
    return Market(
        symbol=symbol,
        pair=pair,
        perp=perp,
        contract=contract if perp else Decimal(1),
        lot=lot,
        tick=tick,
        min_amount=_decimal(limits["amount"].get("min")) or lot,
        max_amount=_decimal(limits["amount"].get("max")),
        min_notional=max(notional or Decimal(0), Decimal(repr(configured.min_notional)) if configured else Decimal(0)),
    )


def _own_notional(found: Mapping[str, Any]) -> Decimal | None:
    """Bybit states the least notional of a perp where ccxt does not look."""
    return _decimal((found["info"].get("lotSizeFilter") or {}).get("minNotionalValue"))


def _decimal(value: Any) -> Decimal | None:
    return None if value is None else Decimal(str(value))


def exchange_amount(order: Order, market: Market, price: float | None, venue: str) -> Decimal:
    """The order's amount in the exchange's units.

    Args:
        order: a trade.
        market: its market.
        price: what the notional is computed with; None leaves that to the exchange.
        venue: for the message.

    Raises:
        VenueRefusal: VEN-007, no whole number of lots, or outside the limits; names the limit.
    """
    amount = Decimal(repr(order.amount)) / market.contract
    lots = amount / market.lot
    whole = lots.to_integral_value()
    if abs(lots - whole) > _SLACK * max(Decimal(1), abs(lots)):
        step = market.lot * market.contract
        raise VenueRefusal("VEN-007", f"{order.pair}: {order.amount!r} is no multiple of the lot {step:f}", venue)
    exact = whole * market.lot
    if exact < market.min_amount or not whole:
        least = market.min_amount * market.contract
        raise VenueRefusal("VEN-007", f"{order.pair}: {order.amount!r} is below the least amount {least:f}", venue)
    if market.max_amount is not None and exact > market.max_amount:
        most = market.max_amount * market.contract
        raise VenueRefusal("VEN-009", f"{order.pair}: {order.amount!r} is above the largest amount {most:f}", venue)
    if price is not None and not reduce_only(order):
        notional = exact * market.contract * (1 if market.inverse else Decimal(repr(price)))
        if notional < market.min_notional:
            message = f"{order.pair}: notional {notional:f} is below the least of {market.min_notional:f}"
            raise VenueRefusal("VEN-007", message, venue)
    return exact


def exchange_price(price: float, market: Market, venue: str) -> Decimal:
    """A limit or trigger price.

    Raises:
        VenueRefusal: VEN-007, no whole number of ticks.
    """
    exact = Decimal(repr(price))
    ticks = exact / market.tick
    if abs(ticks - ticks.to_integral_value()) > _SLACK * max(Decimal(1), ticks):
        message = f"{market.pair}: price {price!r} is no multiple of the tick {market.tick:f}"
        raise VenueRefusal("VEN-007", message, venue)
    return ticks.to_integral_value() * market.tick


def collar(order: Order, reference: float, market: Market) -> Decimal:
    """The worst price that a market order may fill at, rounded to a tick on the better side."""
    buys = order.side is OrderSide.BUY
    tolerance = Decimal(repr(order.slippage_tolerance))
    worst = Decimal(repr(reference)) * (1 + tolerance if buys else 1 - tolerance)
    return (worst / market.tick).to_integral_value(ROUND_FLOOR if buys else ROUND_CEILING) * market.tick


def trigger_price(level: float, market: Market) -> Decimal:
    """A take profit or stop loss, to the nearest tick: a strategy computes it from a deviation, not from ticks."""
    return (Decimal(repr(level)) / market.tick).to_integral_value() * market.tick


def reduce_only(order: Order) -> bool:
    """True where the order asks to reduce a position and nothing else: ``operation_details.reduce_only``."""
    return order.operation is OperationType.PERP_TRADE and order.operation_details.get("reduce_only") is True


def post_only(order: Order) -> bool:
    """True where the order must not take: ``operation_details.post_only``; limit orders alone."""
    return order.operation_details.get("post_only") is True
