"""Take profits and stop losses that could not be set at their venue: tried again at every tick, and watched until they are there.

What is missing is in the bucket ``trading`` before the order that lacks it is answered, so that no restart forgets it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, runtime_checkable

from nats.js.errors import KeyNotFoundError

from basis.models.base import FrozenModel
from basis.models.messages import MissingExit
from basis.models.operations import OrderSide
from basis.models.order import Order
from basis.runtime import subjects
from basis.venues.core.interface import VenueRefusal
from basis.venues.live.bucket import Bucket
from basis.venues.live.errors import LiveVenueError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from basis.models.execution import ExecutionHandshake
    from basis.runtime.bus import Bus
    from basis.venues.live.counterparts import Counterparts


@runtime_checkable
class Protecting(Protocol):
    """A venue that keeps exits."""

    async def protect(self, order: Order, purposes: Sequence[str]) -> Mapping[str, str] | None:
        """Set exits of an entry that are not there: purpose -> why not; None where its position is gone."""
        ...


class Bare(FrozenModel):
    """An entry that lacks exits."""

    order: Order
    """The entry."""
    missing: dict[str, str]
    """``take_profit`` or ``stop_loss`` -> why it could not be set."""


class BareEntries(FrozenModel):
    """All of a run."""

    entries: tuple[Bare, ...] = ()
    """One a perp."""


class ExitWatch:
    """Remembers, tries again, and says where the market is.

    Args:
        bus: for the bucket.
    """

    def __init__(self, bus: Bus) -> None:
        self._bucket = Bucket(bus, subjects.KV_TRADING)

    async def note(
        self, correlation_id: str, orders: Sequence[Order], handshakes: Sequence[ExecutionHandshake]
    ) -> None:
        """Remember what a handshake says is missing; asked again under the same operation_id it counts once."""
        new = [
            Bare(order=order, missing={str(name): str(why) for name, why in missing.items()})
            for order, handshake in zip(orders, handshakes, strict=True)
            if isinstance(missing := handshake.execution_details.get("exits_missing"), dict) and missing
        ]
        if new:
            perps = {(one.order.venue, one.order.pair) for one in new}
            kept = [one for one in await self.missing(correlation_id) if (one.order.venue, one.order.pair) not in perps]
            await self._keep(correlation_id, [*kept, *new])

    async def look(
        self,
        correlation_id: str,
        before: Sequence[Bare],
        counterparts: Counterparts,
        market: Mapping[str, float],
        halted: str | None,
    ) -> tuple[MissingExit, ...]:
        """Try again what is missing; what the market is past already is to be closed, not set.

        Args:
            correlation_id: run.
            before: what is missing (:meth:`missing`).
            counterparts: its venues.
            market: row of the tick.
            halted: why nothing may be sent; None where it may.
        """
        after: list[Bare] = []
        found: list[MissingExit] = []
        for bare in before:
            past = {purpose for purpose in bare.missing if is_past(bare.order, purpose, market)}
            missing = await self._try(bare, counterparts, past, halted)
            if missing:
                after.append(bare.model_copy(update={"missing": missing}))
            found += [_said(bare.order, purpose, why, crossed=purpose in past) for purpose, why in missing.items()]
        if after != list(before):
            await self._keep(correlation_id, after)
        return tuple(found)

    @staticmethod
    async def _try(bare: Bare, counterparts: Counterparts, past: set[str], halted: str | None) -> dict[str, str]:
        if halted is not None:
            return dict.fromkeys(bare.missing, f"trading is halted: {halted}")
        try:
            venue = counterparts.of_order(bare.order.venue)
            if not isinstance(venue, Protecting):
                return bare.missing
            found = await venue.protect(bare.order, [purpose for purpose in bare.missing if purpose not in past])
        except (LiveVenueError, VenueRefusal) as error:
            return dict.fromkeys(bare.missing, error.message)
        if found is None:
            return {}
        return dict(found) | {purpose: bare.missing[purpose] for purpose in past}

    async def missing(self, correlation_id: str) -> list[Bare]:
        """Entries of a run that lack exits."""
        try:
            entry = await (await self._bucket.open()).get(_key(correlation_id))
        except KeyNotFoundError:
            return []
        return list(BareEntries.model_validate_json(entry.value or b"").entries)

    async def _keep(self, correlation_id: str, entries: Sequence[Bare]) -> None:
        text = BareEntries(entries=tuple(entries)).model_dump_json().encode()
        await (await self._bucket.open()).put(_key(correlation_id), text)


def is_past(order: Order, purpose: str, market: Mapping[str, float]) -> bool:
    """Whether the mark, or the last bar's high or low where the row has them, is at a level or beyond it. Pure."""
    level = order.take_profit if purpose == "take_profit" else order.stop_loss
    if level is None:
        return False
    columns = [f"{kind}:{order.venue}:{order.pair}" for kind in ("perp", "perp_high", "perp_low")]
    prices = [market[column] for column in columns if column in market]
    above = (purpose == "take_profit") is (order.side is OrderSide.BUY)
    return bool(prices) and (max(prices) >= level if above else min(prices) <= level)


def _said(order: Order, purpose: str, why: str, *, crossed: bool) -> MissingExit:
    level = order.take_profit if purpose == "take_profit" else order.stop_loss
    return MissingExit.model_validate(
        {
            "operation_id": order.operation_id,
            "instrument_key": f"{order.venue}:Perp:{order.pair}",
            "purpose": purpose,
            "level": level,
            "reason": why,
            "crossed": crossed,
        }
    )


def _key(correlation_id: str) -> str:
    return f"{correlation_id}.exits"
