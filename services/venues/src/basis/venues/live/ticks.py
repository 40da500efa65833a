"""What the venues said at each tick of a paper or live run, kept in the KV bucket ``live_ticks``.

Written once: a repeated request, another replica or an audit reads what the run saw, not what is true by then.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING

from nats.js.errors import KeyNotFoundError, KeyWrongLastSequenceError
from pydantic import AwareDatetime, Field

from basis.models.base import FrozenModel
from basis.models.messages import Settlement
from basis.runtime import codec, subjects
from basis.venues.live.bucket import Bucket

if TYPE_CHECKING:
    from basis.runtime.bus import Bus

_REMEMBERED = 16
"""Ticks kept in memory, of all runs together."""


class LiveTick(FrozenModel):
    """One tick as the venues told it."""

    tick: int = Field(ge=0)
    """Index of the tick."""
    after_tick: int = Field(ge=-1)
    """Last committed tick when it was asked for, -1 = none."""
    read_at: AwareDatetime
    """When it was read; settlements up to then are in it."""
    market: dict[str, float]
    """Market row."""
    balances: dict[str, float] = Field(default_factory=dict)
    """Instrument key -> what the venues said they held; live runs only."""
    settlements: tuple[Settlement, ...] = ()
    """What they said they did on their own since ``after_tick``; live runs only."""
    seen: tuple[str, ...] = ()
    """Identities of all settlements of the last minutes: none is booked twice; live runs only."""


class LiveTicks:
    """Reads and writes ticks of any run.

    Args:
        bus: connection.
    """

    def __init__(self, bus: Bus) -> None:
        self._bucket = Bucket(bus, subjects.KV_LIVE_TICKS)
        self._last: OrderedDict[str, LiveTick] = OrderedDict()
        """Those last seen, by key: what is written once can be read from here."""

    async def get(self, correlation_id: str, tick: int) -> LiveTick | None:
        """A tick as it was kept; None where no one has asked for it yet."""
        key = _key(correlation_id, tick)
        if key in self._last:
            return self._last[key]
        try:
            entry = await (await self._bucket.open()).get(key)
        except KeyNotFoundError:
            return None
        return self._remember(key, codec.decode(entry.value or b"", LiveTick))

    def _remember(self, key: str, found: LiveTick) -> LiveTick:
        self._last[key] = found
        while len(self._last) > _REMEMBERED:
            self._last.popitem(last=False)
        return found

    async def keep(self, correlation_id: str, made: LiveTick) -> LiveTick:
        """Keep a tick that was just made; returns the one that stands: where two make it at once, the first."""
        key = _key(correlation_id, made.tick)
        try:
            await (await self._bucket.open()).create(key, codec.encode(made))
        except KeyWrongLastSequenceError:
            found = await self.get(correlation_id, made.tick)
            if found is not None:
                return found
        return self._remember(key, made)


def _key(correlation_id: str, tick: int) -> str:
    return f"{correlation_id}.{tick}"
