"""What an exchange knows of an account: its perps, its margin balances, and the margin that they need. Pure.

All perps of a venue that settle into one balance share it (cross margin): ``binance:BaseToken:USDT`` for linear perps,
``binance:BaseToken:BTC`` for the inverse one.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from basis.models.instruments import is_inverse, margin_key
from basis.runtime.fills import margin_units, market_config, perp_notional

if TYPE_CHECKING:
    from collections.abc import Mapping

    from basis.models.config import MarketConfig, RunConfig
    from basis.venues.core.interface import Floats


class Perp(NamedTuple):
    """One perp of a mode at a venue."""

    symbol: str
    """Symbol, e.g. BTCUSDT."""
    key: str
    """Instrument key."""
    margin: str
    """Key of the balance that it settles into."""
    mark: str
    """Market column of its mark."""
    venue: str
    """Exchange."""

    def entry(self, name: str) -> str:
        """Key of a ledger entry of the venue's own: entry_price, take_profit, stop_loss."""
        return f"{self.venue}:{name}:{self.symbol}"

    def closed_entries(self) -> dict[str, float]:
        """What to set when the position is closed."""
        return {self.entry(name): 0.0 for name in ("entry_price", "take_profit", "stop_loss")}


@lru_cache(maxsize=32)
def perp(venue: str, symbol: str) -> Perp:
    """A perp by its names."""
    return Perp(symbol, f"{venue}:Perp:{symbol}", margin_key(venue, symbol), f"perp:{venue}:{symbol}", venue)


def open_perps(venue: str, ledger: Mapping[str, float], config: RunConfig) -> list[Perp]:
    """Perps of a venue that the account holds, in the order of the mode's subscriptions."""
    found = (perp(venue, symbol) for name, symbol in config.perps() if name == venue)
    return [entry for entry in found if ledger.get(entry.key, 0.0) != 0.0]


def maintenance(market: MarketConfig, notional: Floats) -> Floats:
    """Maintenance margin of a notional, quote currency: ``fills.maintenance_margin`` on a column, the same floats."""
    caps = [tier.notional_cap for tier in market.tiers if tier.notional_cap is not None]
    place = np.searchsorted(np.array(caps), notional, side="left")
    rates = np.array([tier.maintenance_rate for tier in market.tiers])
    amounts = np.array([tier.maintenance_amount for tier in market.tiers])
    return np.asarray(np.maximum(notional * rates[place] - amounts[place], 0.0))


def required_maintenance(entry: Perp, quantity: float, marks: Floats, config: RunConfig) -> Floats:
    """Maintenance margin of a position at each mark, in its margin token."""
    market = market_config(config, entry.venue, entry.symbol, perp=True)
    if is_inverse(entry.symbol):
        return maintenance(market, np.full(len(marks), abs(quantity))) / marks
    return maintenance(market, abs(quantity) * marks)


def initial_margin(
    venue: str, margin: str, ledger: Mapping[str, float], marks: Mapping[str, float], config: RunConfig
) -> float:
    """Initial margin of all perps that settle into a balance: notional / max_leverage, in the margin token."""
    total = 0.0
    for entry in open_perps(venue, ledger, config):
        if entry.margin == margin:
            mark = marks[entry.mark]
            market = market_config(config, venue, entry.symbol, perp=True)
            notional = perp_notional(entry.symbol, ledger[entry.key], mark)
            total += margin_units(entry.symbol, notional, mark) / market.max_leverage
    return total
