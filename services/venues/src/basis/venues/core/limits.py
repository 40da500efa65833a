"""Trading limits: what a live order may be at most. Pure; asked before every order that goes to a real venue."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from basis.models.instruments import INSTRUMENTS, InstrumentType, asset_of, is_inverse
from basis.models.operations import OperationType
from basis.runtime.fills import perp_notional
from basis.venues.core.interface import VenueRefusal

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from basis.models.config import RunConfig
    from basis.models.order import Order
    from basis.runtime.valuation import Valuer

_COMPONENT = "trading_limits"


class Standing(NamedTuple):
    """Where the run stands when an order is to be sent."""

    market: Mapping[str, float]
    """Market row of the order's tick."""
    balances: Mapping[str, float]
    """What is held before the order."""
    row_age_s: float
    """Age of that row, seconds."""
    spent_usd: float
    """Notional of the orders of this UTC day so far, USD."""


def check(orders: Sequence[Order], standing: Standing, config: RunConfig, valuer: Valuer) -> float:
    """Refuse what is outside the limits of ``live.limits``.

    Args:
        orders: one order, or the steps of an atomic group.
        standing: market, balances, age, and what the day has seen.
        config: configuration of the run.
        valuer: prices of the mode.

    Returns:
        Notional in USD, to be counted to the day.

    Raises:
        VenueRefusal: VEN-015; names the limit, what the order is, and what would be within.
    """
    limits = config.live.limits
    for order in orders:
        if limits.venues is not None and order.venue not in limits.venues:
            raise _outside(order, f"venue {order.venue} is not among live.limits.venues")
        foreign = [
            key for key in order.expected_deltas if limits.instruments is not None and key not in limits.instruments
        ]
        if foreign:
            raise _outside(order, f"{foreign[0]} is not among live.limits.instruments")
        _check_price(order, standing, config)
    first = orders[0]
    if standing.row_age_s > limits.max_order_age_s:
        message = f"its market row is {standing.row_age_s:.1f} s old, live.limits.max_order_age_s is {limits.max_order_age_s:g}"
        raise _outside(first, message)
    notional = notional_of(orders, standing.market, valuer)
    if not notional <= limits.max_order_usd:
        raise _outside(
            first, f"its notional is {notional:.2f} USD, live.limits.max_order_usd is {limits.max_order_usd:g}"
        )
    if not standing.spent_usd + notional <= limits.max_daily_usd:
        message = (
            f"with {notional:.2f} USD the day would come to {standing.spent_usd + notional:.2f}, "
            f"live.limits.max_daily_usd is {limits.max_daily_usd:g}"
        )
        raise _outside(first, message)
    after = dict(standing.balances)
    for order in orders:
        for key, delta in order.expected_deltas.items():
            after[key] = after.get(key, 0.0) + delta
    now, then = (leverage(held, standing.market, valuer) for held in (standing.balances, after))
    if not (then <= limits.max_leverage or then <= now):
        message = (
            f"leverage would rise from {now:.3f} to {then:.3f}, live.limits.max_leverage is {limits.max_leverage:g}"
        )
        raise _outside(first, message)
    return notional


def _check_price(order: Order, standing: Standing, config: RunConfig) -> None:
    """Limit and reference prices must be near the market row."""
    collar = config.live.limits.price_collar
    column = price_column(order)
    if order.price is None or column is None:
        return
    market = standing.market.get(column)
    if market is None:
        raise _outside(order, f"the row has no {column} to compare its price with")
    distance = abs(order.price / market - 1.0)
    if not distance <= collar:
        message = (
            f"its price {order.price!r} is {distance:.4f} from {column} {market!r}, "
            f"live.limits.price_collar is {collar:g}"
        )
        raise _outside(order, message)


def price_column(order: Order) -> str | None:
    """Market column that a trade is priced by; None for what is no trade."""
    if order.operation is OperationType.SPOT_TRADE:
        return f"spot:{order.venue}:{order.pair}"
    if order.operation is OperationType.PERP_TRADE:
        return f"perp:{order.venue}:{order.pair}"
    return None


def notional_of(orders: Sequence[Order], market: Mapping[str, float], valuer: Valuer) -> float:
    """Size of an order or an atomic group in USD: that of its largest step."""
    return max(notional_usd(order, market, valuer) for order in orders)


def notional_usd(order: Order, market: Mapping[str, float], valuer: Valuer) -> float:
    """Size of an order in USD: what is traded, moved, supplied, borrowed."""
    column = price_column(order)
    if column is not None:
        if is_inverse(str(order.pair)):
            return order.amount  # USD contracts
        return order.amount * market[column] * valuer.usd("USDT", market)
    token = _token(order)
    rate = market.get(f"oracle_price_eth:{token}", 1.0)
    return order.amount * rate * valuer.usd(asset_of(token), market)


def _token(order: Order) -> str:
    """Token that the amount of an on-chain operation or transfer is in: the underlying, never the scaled one."""
    token = order.target_token if order.operation is OperationType.BORROW else order.source_token
    found = token or order.target_token or ""
    if found.startswith("a") and found[1:] in {"USDT", "WETH", "weETH", "wstETH"}:
        return found[1:]
    return found.removeprefix("debt")


def leverage(balances: Mapping[str, float], market: Mapping[str, float], valuer: Valuer) -> float:
    """(perp notional + debt) over equity, all in USD; infinite where nothing is left of the equity."""
    borrowed = equity = 0.0
    for key, quantity in balances.items():
        entry = INSTRUMENTS.get(key)
        if entry is None or quantity == 0.0:
            continue
        if entry.type is InstrumentType.PERP:
            mark = market[f"perp:{entry.venue}:{entry.symbol}"]
            usd = 1.0 if is_inverse(entry.symbol) else valuer.usd("USDT", market)
            borrowed += perp_notional(entry.symbol, quantity, mark) * usd
            continue
        value = quantity * valuer.unit_usd(key, market)
        equity += value
        if entry.type is InstrumentType.DEBT_TOKEN:
            borrowed -= value
    if borrowed <= 0.0:
        return 0.0
    return borrowed / equity if equity > 0.0 else float("inf")


def _outside(order: Order, what: str) -> VenueRefusal:
    return VenueRefusal("VEN-015", f"{order.operation} {order.operation_id} at {order.venue}: {what}", _COMPONENT)
