"""ml_btc_directional_btc_margin: inverse BTC perp by signals."""

from __future__ import annotations

from typing import TYPE_CHECKING

from basis.strategy.core.directional import Directional

if TYPE_CHECKING:
    from basis.models.config import RunConfig


def make(config: RunConfig) -> Directional:
    """The strategy."""
    return Directional(config)
