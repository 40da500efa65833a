"""usdt_market_neutral: leveraged staked ETH hedged with perps."""

from __future__ import annotations

from typing import TYPE_CHECKING

from basis.strategy.core.market_neutral import MarketNeutral

if TYPE_CHECKING:
    from basis.models.config import RunConfig


def make(config: RunConfig) -> MarketNeutral:
    """The strategy."""
    return MarketNeutral(config)
