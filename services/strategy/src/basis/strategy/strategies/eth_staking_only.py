"""eth_staking_only: stake ETH."""

from __future__ import annotations

from typing import TYPE_CHECKING

from basis.strategy.core.staking import Staking

if TYPE_CHECKING:
    from basis.models.config import RunConfig


def make(config: RunConfig) -> Staking:
    """The strategy."""
    return Staking(config)
