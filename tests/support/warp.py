"""The test chain follows a shared clock: before anything is asked of it, its last block is of the clock's time."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from datetime import datetime

    from tests.support.chain import Account

    from basis.models.config import RunConfig
    from basis.runtime.clock import Clock
    from basis.venues.live.chain.venue import ChainVenue


_LAG_S = 5
NODE = threading.RLock()
"""The testkit's client of the node is for one thread at a time."""


def keep_up(account: Account, clock: Clock) -> None:
    """Mine a block of the clock's time, where the chain is behind; a little less, so that blocks of orders are not ahead."""
    with NODE:
        behind = int(clock.now().timestamp()) - _LAG_S - account.node.time
        if behind > 0:
            account.node.warp(behind)


class WarpedChain:
    """A chain venue whose chain keeps up with a clock; everything else is the venue's own.

    Args:
        venue: the venue.
        account: its wallet.
        clock: the clock.
        meanwhile: what the world does between two ticks; called before each is read.
    """

    def __init__(
        self, venue: ChainVenue, account: Account, clock: Clock, meanwhile: Callable[[], None] | None = None
    ) -> None:
        self._venue, self._account, self._clock, self._meanwhile = venue, account, clock, meanwhile

    def __getattr__(self, name: str) -> Any:
        return getattr(self._venue, name)

    async def market(self, columns: Sequence[str]) -> Mapping[str, tuple[float, datetime]]:
        """Quotes of a block of now."""
        keep_up(self._account, self._clock)
        if self._meanwhile is not None:
            await asyncio.to_thread(self._meanwhile)
        return await self._venue.market(columns)


def chain_factories(
    account: Account, clock: Clock, meanwhile: Callable[[], None] | None = None, rpc_path: str = "", **changes: Any
) -> dict[str, Any]:
    """Factories of the on-chain venues, all one object."""
    made: list[Any] = []

    def make(_venue: str, config: RunConfig, _clock: Clock) -> Any:
        if not made:
            holds = frozenset(config.position_subscriptions)  # the wallet is onboarded with e-mode on
            venue = account.venue(account.node.url + rpc_path, holds=holds, clock=clock, **changes)
            made.append(WarpedChain(venue, account, clock, meanwhile))
        return made[0]

    return dict.fromkeys(("wallet", "aave_v3", "morpho", "etherfi", "lido", "uniswap"), make)
