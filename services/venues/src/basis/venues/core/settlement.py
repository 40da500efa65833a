"""Ticks on which no order executes: what venues do on their own, in columns. Pure.

At each tick: what accrues, then what is scheduled (funding, rewards, arrivals, deposits), then what a venue closes (take
profit, stop loss, liquidation). Closings change what follows, so a stretch is settled up to the first of them, and the rest
anew. A balance at a tick is the balance of the tick before plus one sum of fixed sequence: the floats do not depend on where
a run is cut.
"""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from basis.models.errors import ComponentError
from basis.models.messages import Settlement
from basis.models.operations import SettlementKind
from basis.runtime.settlements import SettlementColumns, in_columns, in_rows
from basis.venues.core.interface import is_own_entry, set_entries

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from basis.venues.core.interface import Floats, Ledger, SimulatedVenue, Stretch

_DUE = re.compile(r".*@(\d+)")
"""An entry of a venue's own that ends at a tick: ``bybit:arriving:USDT@120``."""
_KINDS = {
    kind: place
    for place, kind in enumerate(
        (
            SettlementKind.FUNDING,
            SettlementKind.REWARD,
            SettlementKind.DEPOSIT,
            SettlementKind.TRANSFER_ARRIVAL,
            SettlementKind.UNSTAKE_ARRIVAL,
            SettlementKind.TAKE_PROFIT,
            SettlementKind.STOP_LOSS,
            SettlementKind.LIQUIDATION,
        )
    )
}
"""Kind -> its place within a tick and venue."""


class Settled(NamedTuple):
    """A stretch of ticks as the venues left it."""

    balances: dict[str, Floats]
    """Ledger key that changes -> value after each tick, shape (ticks,); 0 where an entry of a venue's own is gone."""
    columns: tuple[SettlementColumns, ...]
    """What venues did on their own, by venue, then kind."""

    @property
    def settlements(self) -> tuple[Settlement, ...]:
        """What venues did on their own one by one: by tick, then venue, then kind."""
        return in_rows(self.columns)


def settle(stretch: Stretch, venues: Mapping[str, SimulatedVenue]) -> Settled:
    """Settle consecutive ticks.

    Args:
        stretch: ticks, market, and balances before the first.
        venues: venue -> its simulation; the sequence is that of events within a tick.

    Raises:
        ComponentError: ENGINE-002, an entry of the ledger was due before the stretch.
    """
    columns: dict[str, Floats] = {}
    settlements: list[SettlementColumns] = []
    ledger: Ledger = dict(stretch.ledger)
    done = 0
    while done < stretch.ticks:
        rest = _from(stretch, done, ledger)
        scheduled = _scheduled(rest, venues)
        balances = _balances(rest, venues, scheduled)
        place = min(
            (found for venue in venues.values() if (found := venue.first_break(rest, balances)) is not None),
            default=None,
        )
        until = rest.ticks if place is None else place + 1
        settlements += (now for events in scheduled if (now := events.before(rest.first_tick + until)) is not None)
        set_entries(ledger, {key: float(column[until - 1]) for key, column in balances.items() if is_own_entry(key)})
        ledger |= {key: float(column[until - 1]) for key, column in balances.items() if not is_own_entry(key)}
        if place is not None:
            settlements += in_columns(_close(rest, place, ledger, venues))
        _write(columns, stretch, (done, done + until), balances, ledger, is_closed=place is not None)
        done += until
    return Settled(columns, tuple(_sorted(settlements, venues)))


def _from(stretch: Stretch, done: int, ledger: Ledger) -> Stretch:
    """The ticks that are left, on the balances reached so far."""
    if done == 0:
        return stretch
    return stretch._replace(
        first_tick=stretch.first_tick + done,
        ticks=stretch.ticks - done,
        market={name: column[done:] for name, column in stretch.market.items()},
        ledger=dict(ledger),
    )


def _scheduled(stretch: Stretch, venues: Mapping[str, SimulatedVenue]) -> list[SettlementColumns]:
    """Settlements that follow from the ledger before the stretch, in the sequence in which those of a tick are added up."""
    found = [
        *in_columns(_deposits(stretch)),
        *(event for venue in venues.values() for event in venue.scheduled(stretch)),
    ]
    return _sorted(found, venues)


def _sorted(events: Iterable[SettlementColumns], venues: Mapping[str, SimulatedVenue]) -> list[SettlementColumns]:
    """By venue, then kind; what is alike stays in its sequence."""
    order = {name: len(_KINDS) * place for place, name in enumerate(venues)}
    last = len(_KINDS) * len(order)
    return sorted(events, key=lambda event: order.get(event.venue, last) + _KINDS[event.kind])


def _deposits(stretch: Stretch) -> Iterable[Settlement]:
    """Capital that the client puts in, at the first tick at or after its date."""
    for flow in stretch.config.capital_flows:
        if flow.amount < 0.0:
            continue  # a withdrawal is an order of the strategy
        tick = max(math.ceil((flow.date - stretch.start).total_seconds() / stretch.step_s), 0)
        if stretch.first_tick <= tick < stretch.first_tick + stretch.ticks:
            key = stretch.config.initial_key()
            yield Settlement(
                tick=tick,
                venue=key.split(":", 1)[0],
                kind=SettlementKind.DEPOSIT,
                deltas={key: flow.amount},
                details={"amount": flow.amount, "token": stretch.config.share_class.currency},
            )


def _balances(
    stretch: Stretch, venues: Mapping[str, SimulatedVenue], scheduled: Sequence[SettlementColumns]
) -> dict[str, Floats]:
    """Balances after accruals and scheduled settlements, for keys that change; entries that end, until they do."""
    changes: dict[str, Floats] = {}
    for venue in venues.values():
        for key, amounts in venue.accrue(stretch).items():
            changes[key] = changes[key] + amounts if key in changes else amounts.copy()
    # keys by the tick at which they begin to change, so that their sequence does not depend on where a run is cut
    for event in sorted(scheduled, key=lambda event: int(event.ticks[0])):
        for key in event.deltas:
            if key not in changes:
                changes[key] = np.zeros(stretch.ticks)
    for event in scheduled:
        places = event.ticks - stretch.first_tick
        for key, deltas in event.deltas.items():
            changes[key][places] += deltas  # no tick is twice in it: one by one, in the sequence of each tick
    # strictly in sequence: np.cumsum adds one by one
    found = {
        key: np.cumsum(np.concatenate(((stretch.ledger.get(key, 0.0),), amounts)))[1:]
        for key, amounts in changes.items()
    }
    return found | _ending(stretch)


def _ending(stretch: Stretch) -> dict[str, Floats]:
    """Entries of venues' own whose tick comes within the stretch."""
    found = {}
    for key, value in stretch.ledger.items():
        match = _DUE.fullmatch(key)
        if match is None or (left := int(match[1]) - stretch.first_tick) >= stretch.ticks:
            continue
        if left < 0:
            message = f"ledger entry {key!r} was due before tick {stretch.first_tick}"
            raise ComponentError("ENGINE-002", message, "venue_interface_manager")
        found[key] = np.zeros(stretch.ticks)
        found[key][:left] = value
    return found


def _close(stretch: Stretch, place: int, ledger: Ledger, venues: Mapping[str, SimulatedVenue]) -> list[Settlement]:
    """What venues close at a tick, applied to the ledger in place, venue by venue."""
    found = []
    at = stretch.at(place)
    for venue in venues.values():
        for event, entries in venue.closings(ledger, at):
            for key, delta in event.deltas.items():
                ledger[key] = ledger.get(key, 0.0) + delta
            set_entries(ledger, entries)
            found.append(event)
    return found


def _write(
    columns: dict[str, Floats],
    stretch: Stretch,
    span: tuple[int, int],
    balances: Mapping[str, Floats],
    ledger: Mapping[str, float],
    *,
    is_closed: bool,
) -> None:
    """Add a part of the stretch to its columns.

    Args:
        columns: filled up to the part, changed in place.
        stretch: the whole.
        span: places of the part.
        balances: what changes within the part.
        ledger: after the part.
        is_closed: the part ends with closings, which are in the ledger alone.
    """
    begin, end = span
    for key, column in balances.items():
        if key not in columns:
            columns[key] = np.full(stretch.ticks, stretch.ledger.get(key, 0.0))
        columns[key][begin:end] = column[: end - begin]
    if is_closed:
        for key in dict.fromkeys((*ledger, *stretch.ledger)):
            if key not in columns and ledger.get(key, 0.0) != stretch.ledger.get(key, 0.0):
                columns[key] = np.full(stretch.ticks, stretch.ledger.get(key, 0.0))
        for key, column in columns.items():
            column[end - 1] = ledger.get(key, 0.0)
    for key, column in columns.items():
        column[end:] = ledger.get(key, 0.0)
