"""What a venue is to the rest of the service: pure functions of (order or stretch of ticks, ledger, market, config)."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

from pydantic import JsonValue

from basis.models.errors import ComponentError
from basis.models.instruments import INSTRUMENTS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    import numpy as np
    from numpy.typing import NDArray

    from basis.models.config import RunConfig
    from basis.models.messages import Settlement
    from basis.models.operations import OperationType
    from basis.models.order import Order
    from basis.runtime.settlements import SettlementColumns
    from basis.runtime.valuation import Valuer

    Floats = NDArray[np.float64]

Ledger = dict[str, float]
"""Every venue's own balances in one map: instrument key -> quantity, and entries of a venue's own that are no instrument
(``binance:stop_loss:BTCUSDT`` -> price, ``bybit:arriving:USDT@120`` -> amount that arrives at tick 120). Entries of a
venue's own are removed when they become 0, so that a ledger does not grow with the number of orders."""


class VenueRefusal(ComponentError):
    """The venue proved that it does not accept the order: the outcome is failed, never pending."""


class At(NamedTuple):
    """Where and when something happens."""

    tick: int
    """Index of the tick."""
    step_s: int
    """Seconds between two ticks."""
    market: Mapping[str, float]
    """Market columns at the tick."""
    config: RunConfig
    """Configuration of the run."""
    valuer: Valuer
    """Prices of the mode's assets."""
    before: Mapping[str, float] = {}
    """Market columns at the tick before, for what a venue closes on its own; at tick 0 those of tick 0; empty for orders."""


class Step(NamedTuple):
    """What one operation does to the ledger, before gas."""

    deltas: dict[str, float]
    """Instrument key -> signed change, fees and slippage inside."""
    details: dict[str, JsonValue]
    """What it was computed from; units named in the keys."""
    fees: dict[str, float] = {}  # noqa: RUF012 - never mutated
    """Instrument key -> fee that the venue took, positive; already inside ``deltas``."""
    slippage: dict[str, float] = {}  # noqa: RUF012 - never mutated
    """Instrument key -> loss against the market price, positive; already inside ``deltas``."""
    external: dict[str, float] = {}  # noqa: RUF012 - never mutated
    """Instrument key -> amount paid out to the client, positive; already inside ``deltas``."""
    prices: dict[str, float] = {}  # noqa: RUF012 - never mutated
    """Instrument key -> USD value of one unit at this venue, where it is not the mode's common price (a trade is at the
    venue's own price): what value conservation is checked with."""
    entries: dict[str, float] = {}  # noqa: RUF012 - never mutated
    """Ledger entry of the venue's own -> new value (not a change); 0 removes it."""


class Stretch(NamedTuple):
    """Consecutive ticks over which no order executes."""

    first_tick: int
    """Index of the first tick."""
    ticks: int
    """How many."""
    start: datetime
    """Time of tick 0 of the run."""
    step_s: int
    """Seconds between two ticks."""
    market: Mapping[str, Floats]
    """Market column -> values, ``ticks + 1`` of them: the first is of the tick before (at tick 0, of tick 0 itself)."""
    ledger: Mapping[str, float]
    """Balances before the first tick."""
    config: RunConfig
    """Configuration of the run."""
    valuer: Valuer
    """Prices of the mode's assets."""

    def at(self, place: int) -> At:
        """A tick of the stretch, 0 the first."""
        market = {name: float(column[place + 1]) for name, column in self.market.items()}
        before = {name: float(column[place]) for name, column in self.market.items()}
        return At(self.first_tick + place, self.step_s, market, self.config, self.valuer, before)


class SimulatedVenue(Protocol):
    """A simulated venue. Stateless: its balances are in the ledger that it is given.

    At each tick: mark-to-market (:meth:`accrue`), then scheduled settlements, then what the venue closes on its own, then
    orders. Values at a tick depend on the ledger and on that tick and the one before alone, so that a run cut into other
    windows comes to the same floats.
    """

    operations: frozenset[OperationType]
    """What it offers."""

    def execute(self, order: Order, ledger: Mapping[str, float], at: At) -> Step:
        """Changes that the order makes.

        Raises:
            VenueRefusal: the venue's rules do not allow it; nothing changes.
        """
        ...

    def check(self, ledger: Mapping[str, float], at: At) -> None:
        """Rules that must hold after a transaction (a flash loan is repaid, a health factor is at least 1).

        Raises:
            VenueRefusal: they do not; the transaction is undone.
        """
        ...

    def accrue(self, stretch: Stretch) -> Mapping[str, Floats]:
        """Instrument key -> change at each tick that is no event: mark-to-market of perps into margin, shape (ticks,)."""
        ...

    def scheduled(self, stretch: Stretch) -> Sequence[SettlementColumns]:
        """Settlements of the stretch that follow from the ledger before it: funding, rewards, arrivals.

        Those of one kind that fall on one tick come in the sequence in which they are added up.
        """
        ...

    def first_break(self, stretch: Stretch, balances: Mapping[str, Floats]) -> int | None:
        """Place of the first tick at which the venue closes something on its own, None where there is none.

        Args:
            stretch: the ticks.
            balances: instrument key -> balance after accruals and scheduled settlements at each tick, for keys that change.
        """
        ...

    def closings(self, ledger: Mapping[str, float], at: At) -> Sequence[tuple[Settlement, Mapping[str, float]]]:
        """What the venue closes on its own at a tick: take profit, stop loss, liquidation.

        Returns:
            Settlements, each with the venue's own ledger entries to set (0 removes).
        """
        ...


class PassiveVenue:
    """A venue that does nothing on its own; base for those that do little."""

    def check(self, ledger: Mapping[str, float], at: At) -> None:
        """Nothing to check."""

    def accrue(self, stretch: Stretch) -> Mapping[str, Floats]:
        """Nothing accrues."""
        del stretch
        return {}

    def scheduled(self, stretch: Stretch) -> Sequence[SettlementColumns]:
        """Nothing is scheduled."""
        del stretch
        return ()

    def first_break(self, stretch: Stretch, balances: Mapping[str, Floats]) -> int | None:
        """Nothing is closed."""
        del stretch, balances
        return None

    def closings(self, ledger: Mapping[str, float], at: At) -> Sequence[tuple[Settlement, Mapping[str, float]]]:
        """Nothing is closed."""
        del ledger, at
        return ()


def set_entries(ledger: Ledger, entries: Mapping[str, float]) -> None:
    """Set a venue's own ledger entries in place; 0 removes."""
    for key, value in entries.items():
        if value == 0.0:
            ledger.pop(key, None)
        else:
            ledger[key] = value


def is_own_entry(key: str) -> bool:
    """True for a ledger entry that is no instrument."""
    return key not in INSTRUMENTS
