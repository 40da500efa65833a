"""btc_basis: long BTC spot on Binance, short BTC perps."""

from __future__ import annotations

from typing import TYPE_CHECKING

from basis.strategy.core.basis_trade import BasisTrade

if TYPE_CHECKING:
    from basis.models.config import RunConfig


def make(config: RunConfig) -> BasisTrade:
    """The strategy."""
    return BasisTrade(config)
