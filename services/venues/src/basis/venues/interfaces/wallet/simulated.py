"""Simulated wallet: transfers out of the on-chain account, and what arrives in it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from basis.models.instruments import Venue
from basis.models.operations import OperationType
from basis.runtime.settlements import in_columns
from basis.venues.core.interface import At, PassiveVenue, Step, Stretch
from basis.venues.interfaces.transfers import arrivals, transfer

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from basis.models.order import Order
    from basis.runtime.settlements import SettlementColumns


class SimulatedWallet(PassiveVenue):
    """The on-chain account; gas is charged by the transaction."""

    operations = frozenset({OperationType.TRANSFER})

    def execute(self, order: Order, ledger: Mapping[str, float], at: At) -> Step:
        """``transfer`` out of the wallet, to an exchange or to the client (behaviour.md section 2).

        Raises:
            VenueRefusal: VEN-001, another source than the wallet, or not held by the mode; VEN-009, to itself.
        """
        return transfer(order, ledger, at)

    def scheduled(self, stretch: Stretch) -> Sequence[SettlementColumns]:
        """Transfers that arrive in the wallet."""
        return in_columns(arrivals(Venue.WALLET, stretch))
