"""Take profit and stop loss: conditional reduce-only orders of their own, sent after the entry has filled.

Their ids are made from the entry's operation_id, so placing them twice is placing them once. The exchange keeps them when
this process is gone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from basis.models.operations import OperationType, OrderSide
from basis.venues.core.interface import VenueRefusal
from basis.venues.live.cex.ids import Purpose, client_order_id, purpose_of
from basis.venues.live.cex.units import reduce_only, trigger_price
from basis.venues.live.errors import LiveVenueError, ProvedFailure, Retryable, UnknownOutcome

if TYPE_CHECKING:
    from collections.abc import Sequence
    from decimal import Decimal

    from pydantic import JsonValue

    from basis.models.order import Order
    from basis.venues.live.cex.connection import Connection
    from basis.venues.live.cex.fills import Outcome
    from basis.venues.live.cex.profiles import Profile
    from basis.venues.live.cex.units import Market

_TRIES = 3


def check(order: Order, market: Market, venue: str) -> None:
    """Refuse levels on what has no position, or that reduces one.

    Raises:
        VenueRefusal: VEN-009.
    """
    if order.operation is not OperationType.PERP_TRADE:
        raise VenueRefusal("VEN-009", f"{market.pair}: take_profit and stop_loss are for perps", venue)
    if reduce_only(order):
        raise VenueRefusal("VEN-009", f"{market.pair}: take_profit and stop_loss on an order that reduces", venue)


async def place(
    link: Connection, profile: Profile, order: Order, market: Market, found: Outcome
) -> dict[str, JsonValue]:
    """Set the levels of an entry that has filled, after those of an earlier position are cancelled.

    Returns:
        ``exits``: purpose -> price, and ``exits_missing``: purpose -> why, where a level could not be set. The entry is a
        fact either way.
    """
    levels: dict[Purpose, float | None] = {"take_profit": order.take_profit, "stop_loss": order.stop_loss}
    wanted = {purpose: level for purpose, level in levels.items() if level is not None}
    if not market.perp or not wanted:
        return {}
    await cancel(link, profile, market, keep={client_order_id(order.operation_id, purpose) for purpose in wanted})
    details = found.details
    amount = float(str(details["filled_amount"])) / float(market.contract)
    placed: dict[str, JsonValue] = {}
    missing: dict[str, JsonValue] = {}
    for purpose, level in wanted.items():
        price = float(trigger_price(level, market))
        problem = await _place(link, profile, order, market, purpose, amount, price)
        if problem is None:
            placed[purpose] = price
        else:
            missing[purpose] = problem
    return {"exits": placed, "exits_missing": missing} if missing else {"exits": placed}


async def place_missing(
    link: Connection, profile: Profile, order: Order, market: Market, held: Decimal, purposes: Sequence[str]
) -> dict[str, str]:
    """Set levels of an open position that its entry could not; those that wait already are left alone.

    Returns:
        purpose -> why it is still missing.
    """
    waiting = {row.get("clientOrderId") for row in await profile.open_exits(link, market)}
    amount = float(abs(held) / market.contract)
    levels: dict[Purpose, float | None] = {"take_profit": order.take_profit, "stop_loss": order.stop_loss}
    missing: dict[str, str] = {}
    for purpose, level in levels.items():
        if purpose not in purposes or level is None or client_order_id(order.operation_id, purpose) in waiting:
            continue
        price = float(trigger_price(level, market))
        problem = await _place(link, profile, order, market, purpose, amount, price)
        if problem is not None:
            missing[purpose] = problem
    return missing


async def _place(
    link: Connection, profile: Profile, order: Order, market: Market, purpose: Purpose, amount: float, price: float
) -> str | None:
    """None once it is there; else why it is not."""
    client_id = client_order_id(order.operation_id, purpose)
    side = "sell" if order.side is OrderSide.BUY else "buy"
    params = profile.exit_params(client_id, purpose, price)
    problem = ""
    for _ in range(_TRIES):
        try:
            await link.send(str(purpose), link.client.create_order, market.symbol, "market", side, amount, None, params)
        except (UnknownOutcome, Retryable) as failure:
            problem = failure.message
        except LiveVenueError as failure:
            return failure.message
        else:
            return None
        try:
            await profile.find_order(link, market, client_id, trigger=True)
        except ProvedFailure:
            continue
        except LiveVenueError as failure:
            problem = failure.message
        else:
            return None
    return problem


async def cancel(link: Connection, profile: Profile, market: Market, keep: set[str] | None = None) -> int:
    """Cancel levels of ours that wait; how many there were.

    Raises:
        LiveVenueError: they cannot be read, or one not be cancelled.
    """
    done = 0
    for row in await profile.open_exits(link, market):
        if keep and row.get("clientOrderId") in keep:
            continue
        if row.get("clientOrderId") and purpose_of(row["clientOrderId"]) not in {"take_profit", "stop_loss", None}:
            continue
        try:
            await profile.cancel_exit(link, market, str(row["id"]))
        except ProvedFailure:
            continue  # it has been triggered, or is gone
        done += 1
    return done
