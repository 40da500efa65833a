"""What a venue is to the rest of the service: a pure function of (order, ledger, market, config)."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

from pydantic import JsonValue

from basis.models.errors import ComponentError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from basis.models.config import RunConfig
    from basis.models.operations import OperationType
    from basis.models.order import Order

Ledger = dict[str, float]
"""Instrument key -> quantity, every venue's own balances in one map."""


class VenueRefusal(ComponentError):
    """The venue proved that it does not accept the order: the outcome is failed, never pending."""


class Step(NamedTuple):
    """What one operation does to the ledger, before gas."""

    deltas: dict[str, float]
    """Instrument key -> signed change."""
    details: dict[str, JsonValue]
    """What it was computed from; units named in the keys."""
    fees: dict[str, float] = {}  # noqa: RUF012 - never mutated
    """Instrument key -> fee that the venue took, positive; already inside ``deltas``."""


class SimulatedVenue(Protocol):
    """A simulated venue. Stateless: its balances are in the ledger that it is given."""

    operations: frozenset[OperationType]
    """What it offers."""

    def execute(
        self, order: Order, ledger: Mapping[str, float], market: Mapping[str, float], config: RunConfig
    ) -> Step:
        """Changes that the order makes.

        Raises:
            VenueRefusal: the venue's rules do not allow it; nothing changes.
        """
        ...

    def check(self, ledger: Mapping[str, float], market: Mapping[str, float], config: RunConfig) -> None:
        """Rules that must hold after a transaction (a flash loan is repaid, a health factor is at least 1).

        Raises:
            VenueRefusal: they do not; the transaction is undone.
        """
        ...
