"""The real venues of one run, asked together: quotes, balances, settlements, cancellation."""

from __future__ import annotations

import asyncio
import hashlib
import logging
from datetime import timedelta
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, NamedTuple, Protocol, runtime_checkable

from basis.models.errors import ComponentError
from basis.venues.core.live_row import Quote

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
    from datetime import datetime

    from basis.models.config import RunConfig
    from basis.models.messages import Settlement
    from basis.runtime.clock import Clock
    from basis.venues.live.interface import LiveVenue

    LiveFactory = Callable[[str, RunConfig, Clock], LiveVenue]

_COMPONENT = "venue_interface_manager"
_OVERLAP, _AHEAD = timedelta(minutes=5), timedelta(seconds=60)
"""How far the stamp of a settlement may be before or after our clock when we first see it."""
_READS = 4
"""Tries at balances that no settlement came between."""
_log = logging.getLogger(__name__)


def live_factories() -> dict[str, LiveFactory]:
    """Venue -> what makes its live interface: the entry-point group ``basis.venues.live``."""
    return {entry.name: entry.load() for entry in entry_points(group="basis.venues.live")}


class Position(NamedTuple):
    """What the venues hold, and what they did on their own."""

    balances: dict[str, float]
    settlements: list[Settlement]
    """New ones."""
    seen: tuple[str, ...]
    """Identities of all settlements of the last minutes."""
    read_at: datetime


def identity(settlement: Settlement) -> str:
    """What tells one settlement from another: the venue's own id, else all that it says."""
    name = settlement.details.get("id")
    if name is None:
        said = settlement.model_dump_json(exclude={"tick"})
        name = hashlib.sha256(said.encode()).hexdigest()
    return f"{settlement.venue}/{settlement.kind}/{name}"


@runtime_checkable
class Claiming(Protocol):
    """A venue whose queues pay only who asks."""

    async def claim(self) -> object:
        """Ask for what is ready."""
        ...


class Counterparts:
    """Real venues by name; one object may serve several names (all of one chain).

    Args:
        venues: name -> interface, in the order of the mode's venues.
    """

    def __init__(self, venues: Mapping[str, LiveVenue]) -> None:
        self._venues = dict(venues)
        self._each = list({id(venue): venue for venue in venues.values()}.values())

    @classmethod
    def of(cls, config: RunConfig, factories: Mapping[str, LiveFactory], clock: Clock) -> Counterparts:
        """Interfaces of a mode's venues.

        Raises:
            ComponentError: VEN-001, a venue has no live interface; VEN-005, it lacks its keys or addresses.
        """
        missing = [str(name) for name in config.venues if name not in factories]
        if missing:
            message = f"no live interface for {', '.join(missing)}; there are: {', '.join(sorted(factories)) or 'none'}"
            raise ComponentError("VEN-001", message, _COMPONENT)
        return cls({str(name): factories[name](str(name), config, clock) for name in config.venues})

    @property
    def names(self) -> tuple[str, ...]:
        """Venues, in the order of the mode."""
        return tuple(self._venues)

    def of_order(self, venue: str) -> LiveVenue:
        """Who executes for a venue.

        Raises:
            ComponentError: VEN-001, no such venue in the mode.
        """
        found = self._venues.get(venue)
        if found is None:
            raise ComponentError("VEN-001", f"{venue} is none of {', '.join(self._venues)}", _COMPONENT)
        return found

    async def open(self) -> None:
        """Connect all of them; those that were opened are closed again where one cannot."""
        opened: list[LiveVenue] = []
        try:
            for venue in self._each:
                await venue.open()
                opened.append(venue)
        except BaseException:
            for venue in opened:
                await venue.close()
            raise

    async def close(self) -> None:
        """Let go of all connections."""
        for venue in self._each:
            try:
                await venue.close()
            except ComponentError as error:
                _log.info("%s: %s", venue.name, error)

    async def quotes(self, columns: Sequence[str]) -> dict[str, Quote]:
        """Column -> newest quote; where two venues quote one, the first of the mode's counts."""
        told = await asyncio.gather(*(venue.market(columns) for venue in self._each))
        found: dict[str, Quote] = {}
        for venue, quoted in zip(self._each, told, strict=True):
            for column, (value, at) in quoted.items():
                found.setdefault(column, Quote(value, at, venue.name))
        return found

    async def balances(self, keys: Iterable[str]) -> dict[str, float]:
        """Instrument key -> what its venue holds; keys of no venue (transit) are left out."""
        wanted = list(keys)
        asked = [
            (venue, [key for key in wanted if self._venues.get(key.split(":", 1)[0]) is venue]) for venue in self._each
        ]
        told = await asyncio.gather(*(venue.balances(mine) for venue, mine in asked if mine))
        found = {key: value for balances in told for key, value in balances.items()}
        silent = [key for _, mine in asked for key in mine if key not in found]
        if silent:
            raise ComponentError("POS-003", f"no venue says what it holds of {', '.join(silent)}", _COMPONENT)
        return {key: float(found[key]) for key in wanted if key in found}

    async def settlements(self, since: datetime, until: datetime) -> list[Settlement]:
        """What all of them did on their own in (since, until]."""
        told = await asyncio.gather(*(venue.settlements(since, until) for venue in self._each))
        return [settlement for found in told for settlement in found]

    async def position(
        self, keys: Iterable[str], since: datetime, now: Callable[[], datetime], seen: Collection[str] = ()
    ) -> Position:
        """Balances and the settlements that they contain, new ones apart from those seen before.

        Balances are read until the settlements after them are those known before: else a funding would be in the balance
        and not in the list. Stamps of venues and blocks are before or after our clock's: the question reaches back, and
        what was seen is known by its id.

        Raises:
            ComponentError: VEN-003, the venues did not stand still for long enough.
        """
        wanted, before = list(keys), set(seen)
        for _ in range(_READS):
            balances = await self.balances(wanted)
            until = now()
            after = {identity(found): found for found in await self.settlements(since - _OVERLAP, until + _AHEAD)}
            if after.keys() <= before:
                new = [found for name, found in after.items() if name not in seen]
                return Position(balances, new, tuple(after), until)
            before |= after.keys()
        raise ComponentError("VEN-003", f"settlements kept coming in over {_READS} reads of the balances", _COMPONENT)

    async def claim(self) -> None:
        """Take what a protocol's queue has ready (unstaking); only the chain has such, and nothing is in flight now."""
        for venue in self._each:
            if isinstance(venue, Claiming):
                await venue.claim()

    async def cancel_all(self) -> int:
        """Cancel every open order everywhere; one venue that fails does not keep the others from it.

        Raises:
            ComponentError: the first failure, once all have been asked.
        """
        told = await asyncio.gather(*(venue.cancel_all() for venue in self._each), return_exceptions=True)
        failures = [result for result in told if isinstance(result, BaseException)]
        if failures:
            raise failures[0]
        return sum(result for result in told if isinstance(result, int))
