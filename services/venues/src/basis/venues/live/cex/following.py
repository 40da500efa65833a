"""An order that exists, followed until it is over, and its trades."""

from __future__ import annotations

import asyncio
import time
from decimal import Decimal
from typing import TYPE_CHECKING

from basis.venues.live.cex.fills import read_fills
from basis.venues.live.errors import ProvedFailure, UnknownOutcome

if TYPE_CHECKING:
    from basis.venues.live.cex.connection import Connection
    from basis.venues.live.cex.fills import Fill
    from basis.venues.live.cex.profiles import Profile, Row
    from basis.venues.live.cex.units import Market

_OVER = frozenset({"closed", "canceled", "cancelled", "expired", "rejected"})
_POLL_S = 0.02
_LONGEST_POLL_S = 0.5
_AFTER_CANCEL_S = 5.0
"""How long a cancelled order may take to be over."""
_TRADE_TRIES = 6
"""How often trades are read until they come to what the order says was filled: they may lag behind it."""


async def until_over(link: Connection, profile: Profile, market: Market, row: Row) -> Row:
    """The order once nothing can happen to it any more; cancelled where it rests too long.

    Raises:
        LiveVenueError: it cannot be read, or is not over although it was cancelled.
    """
    number, wait = str(row["id"]), _POLL_S
    deadline = time.monotonic() + link.config.fill_wait_s
    cancelled = False
    while row.get("status") not in _OVER or row.get("filled") is None:
        row = await profile.order(link, market, number)
        if row.get("status") in _OVER:
            break
        if time.monotonic() >= deadline:
            if cancelled:
                raise UnknownOutcome("VEN-010", f"order {number} is cancelled and not over", profile.venue)
            cancelled = True
            deadline = time.monotonic() + _AFTER_CANCEL_S
            await _cancel(link, market, number)
            continue
        await asyncio.sleep(wait)
        wait = min(2 * wait, _LONGEST_POLL_S)
    return row


async def _cancel(link: Connection, market: Market, number: str) -> None:
    """What comes of it is read afterwards, from the order."""
    try:
        await link.send("cancel", link.client.cancel_order, number, market.symbol)
    except (ProvedFailure, UnknownOutcome):
        return


async def fills_of(link: Connection, profile: Profile, market: Market, row: Row) -> list[Fill]:
    """Trades of an order, as many as it says were filled.

    Raises:
        LiveVenueError: they cannot be read, or do not come to that.
        ValueError: one of them makes no sense.
    """
    filled = Decimal(str(row["filled"])) * market.contract
    wait = _POLL_S
    for _ in range(_TRADE_TRIES):
        fills = read_fills(await profile.trades(link, market, str(row["id"])), market)
        have = sum((fill.amount for fill in fills), Decimal(0))
        if abs(have - filled) <= market.lot * market.contract / 2:
            return fills
        await asyncio.sleep(wait)
        wait *= 3
    message = f"trades of order {row['id']} come to {have:f}, it says {filled:f}"
    raise UnknownOutcome("VEN-010", message, profile.venue)
