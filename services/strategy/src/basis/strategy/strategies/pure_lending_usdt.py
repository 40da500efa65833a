"""pure_lending_usdt: supply USDT to Aave v3."""

from __future__ import annotations

from typing import TYPE_CHECKING

from basis.strategy.core.lending import PureLending

if TYPE_CHECKING:
    from basis.models.config import RunConfig


def make(config: RunConfig) -> PureLending:
    """The strategy."""
    return PureLending(config, token="USDT")
