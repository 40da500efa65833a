"""eth_leveraged: leveraged staking of ETH."""

from __future__ import annotations

from typing import TYPE_CHECKING

from basis.strategy.core.leveraged_staking import LeveragedStaking

if TYPE_CHECKING:
    from basis.models.config import RunConfig


def make(config: RunConfig) -> LeveragedStaking:
    """The strategy."""
    return LeveragedStaking(config)
