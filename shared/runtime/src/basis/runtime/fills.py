"""What a trade on an exchange costs, and which sizes it takes. Pure.

Strategies compute expected deltas with it and simulated venues fills: one formula, so a difference is a fault.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from basis.models.config import CexConfig, DexConfig, MarketConfig
from basis.models.errors import ComponentError
from basis.models.instruments import Venue, is_inverse

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np
    from numpy.typing import NDArray

    from basis.models.config import RunConfig

T = TypeVar("T", float, "NDArray[np.float64]")

BPS = 1e-4
"""One basis point."""
_LOT_SLACK = 1e-9
"""A quantity this close to a whole number of lots, in lots, counts as whole: decimal lots have no exact float."""


class TradeCost(NamedTuple):
    """Cost of one trade."""

    slippage: float
    """Adverse move of the fill against the market price, a fraction."""
    fee_rate: float
    """Taker fee, a fraction of the filled notional."""


def market_name(symbol: str, *, perp: bool) -> str:
    """Name of a market in ``markets`` and ``execution_cost_bps``: BTCUSDT, BTCUSDT-PERP."""
    return f"{symbol}-PERP" if perp else symbol


def bucket_cost(costs: Mapping[str, Mapping[str, float]], market: str, notional_usd: float) -> float:
    """One-way cost of an order, a fraction: the smallest listed size that is not below it, else the largest.

    Args:
        costs: market -> notional in USD -> basis points.
        market: market of the order; one that is not listed costs nothing.
        notional_usd: size of the order.
    """
    buckets = sorted((float(size), cost) for size, cost in costs.get(market, {}).items())
    if not buckets:
        return 0.0
    cost = next((cost for size, cost in buckets if notional_usd <= size), buckets[-1][1])
    return cost * BPS


def trade_cost(config: RunConfig, venue: str, symbol: str, notional_usd: float, *, perp: bool) -> TradeCost:
    """Slippage and fee of a trade on an exchange of the mode.

    Raises:
        ComponentError: VEN-001, the venue is no exchange of the mode.
    """
    cex = _cex(config, venue)
    fee = cex.perp_taker_fee_bps if perp else cex.spot_taker_fee_bps
    return TradeCost(bucket_cost(cex.execution_cost_bps, market_name(symbol, perp=perp), notional_usd), fee * BPS)


def swap_cost(config: RunConfig, source: str, target: str, notional_usd: float) -> float:
    """One-way cost of a swap on the DEX of the mode, a fraction; pairs are listed once, in either order.

    Raises:
        ComponentError: VEN-001, the mode has no DEX, or the DEX no such pair.
    """
    dex = config.venues.get(Venue.UNISWAP)
    if not isinstance(dex, DexConfig):
        raise ComponentError("VEN-001", "the mode does not list the venue uniswap", "fills")
    for pair in (f"{source}/{target}", f"{target}/{source}"):
        if pair in dex.execution_cost_bps:
            return bucket_cost(dex.execution_cost_bps, pair, notional_usd)
    known = ", ".join(dex.execution_cost_bps)
    raise ComponentError("VEN-001", f"uniswap: no pair {source}/{target}; known: {known}", "fills")


def market_config(config: RunConfig, venue: str, symbol: str, *, perp: bool) -> MarketConfig:
    """Limits of a market.

    Raises:
        ComponentError: VEN-001, no such market.
    """
    found = _cex(config, venue).markets.get(market_name(symbol, perp=perp))
    if found is None:
        raise ComponentError("VEN-001", f"{venue} has no market {market_name(symbol, perp=perp)}", "fills")
    return found


def whole_lots(quantity: float, lot: float) -> float:
    """Largest whole number of lots that is not above a quantity, as the nearest float to the decimal number."""
    lots = math.floor(quantity / lot + _LOT_SLACK)
    return lots_to_quantity(lots, lot)


def lots_to_quantity(lots: int, lot: float) -> float:
    """A number of lots as the nearest float to the decimal number: 3 lots of 0.1 are 0.3."""
    decimals = max(0, -math.floor(math.log10(lot))) + 2
    return round(lots * lot, decimals)


def is_whole_lots(quantity: float, lot: float) -> bool:
    """True where a quantity is a whole number of lots, within float rounding."""
    lots = quantity / lot
    return abs(lots - round(lots)) <= _LOT_SLACK * max(1.0, abs(lots))


def perp_notional(symbol: str, quantity: T, mark: T) -> T:
    """|Notional| of a perp in its quote currency: quantity x mark, or the USD contracts themselves where inverse."""
    return abs(quantity) if is_inverse(symbol) else abs(quantity) * mark


def perp_pnl(symbol: str, quantity: T, entry: T, mark: T) -> T:
    """PnL of a perp between two prices, in its margin token.

    Linear: quantity x (mark - entry). Inverse: USD contracts x (1/entry - 1/mark) (behaviour.md section 3).
    """
    return quantity * (1.0 / entry - 1.0 / mark) if is_inverse(symbol) else quantity * (mark - entry)


def margin_units(symbol: str, notional: T, mark: T) -> T:
    """A notional in quote currency as an amount of the margin token: itself, or notional / mark where inverse."""
    return notional / mark if is_inverse(symbol) else notional


def maintenance_margin(market: MarketConfig, notional: float) -> float:
    """Maintenance margin of a position, quote currency: notional x rate - amount of its bracket."""
    for tier in market.tiers:
        if tier.notional_cap is None or notional <= tier.notional_cap:
            return max(notional * tier.maintenance_rate - tier.maintenance_amount, 0.0)
    return 0.0


def withdrawal_fee(config: RunConfig, venue: str, token: str) -> float:
    """Fee of a withdrawal from a venue, in the token; 0 from the wallet, which pays gas instead."""
    found = config.venues.get(Venue(venue))
    return found.withdrawal_fees.get(token, 0.0) if isinstance(found, CexConfig) else 0.0


def deposit_delay_s(config: RunConfig, venue: str) -> int:
    """Seconds until a transfer to a venue is usable there."""
    found = config.venues.get(Venue(venue))
    return int(getattr(found, "deposit_delay_s", 0))


def _cex(config: RunConfig, venue: str) -> CexConfig:
    found = config.venues.get(Venue(venue))
    if not isinstance(found, CexConfig):
        raise ComponentError("VEN-001", f"{venue} is no exchange of the mode", "fills")
    return found
