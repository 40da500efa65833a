"""A simulated centralised exchange: spot, linear and inverse perps on one cross-margin account, withdrawals."""

from __future__ import annotations

from typing import TYPE_CHECKING

from basis.models.config import CexConfig
from basis.models.instruments import Venue
from basis.models.operations import OperationType
from basis.runtime.settlements import in_columns
from basis.venues.core.interface import PassiveVenue, Step, VenueRefusal
from basis.venues.interfaces.cex import settling, trades
from basis.venues.interfaces.transfers import arrivals, transfer

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from basis.models.messages import Settlement
    from basis.models.order import Order
    from basis.runtime.settlements import SettlementColumns
    from basis.venues.core.interface import At, Floats, Stretch


class SimulatedExchange(PassiveVenue):
    """One exchange by its name; fees, limits and margin are the configuration's.

    Args:
        name: venue.
    """

    operations = frozenset({OperationType.SPOT_TRADE, OperationType.PERP_TRADE, OperationType.TRANSFER})

    def __init__(self, name: Venue) -> None:
        self._name = str(name)

    def execute(self, order: Order, ledger: Mapping[str, float], at: At) -> Step:
        """A trade at the venue's own price, or a withdrawal.

        Raises:
            VenueRefusal: VEN-001 unknown market or key, VEN-007 lot, tick, size, VEN-008 balance or margin, VEN-009
                slippage or limit.
        """
        if order.operation is OperationType.SPOT_TRADE:
            return trades.spot_trade(self._name, order, ledger, at)
        if order.operation is OperationType.PERP_TRADE:
            return trades.perp_trade(self._name, order, ledger, at)
        step = transfer(order, ledger, at)
        # the source is the one key that falls; perps that settle into it keep their initial margin
        source = next(key for key, delta in step.deltas.items() if key.startswith(f"{self._name}:") and delta < 0.0)
        left = {**ledger, source: ledger.get(source, 0.0) + step.deltas[source]}
        trades.require_initial_margin(self._name, source, left, at)
        return step

    def accrue(self, stretch: Stretch) -> Mapping[str, Floats]:
        """Mark-to-market of each perp into its margin balance."""
        return settling.mark_to_market(self._name, stretch)

    def scheduled(self, stretch: Stretch) -> Sequence[SettlementColumns]:
        """Funding, and transfers that arrive."""
        return [*settling.funding(self._name, stretch), *in_columns(arrivals(self._name, stretch))]

    def first_break(self, stretch: Stretch, balances: Mapping[str, Floats]) -> int | None:
        """First touch of a take profit or stop loss, or first tick short of maintenance margin."""
        return settling.first_break(self._name, stretch, balances)

    def closings(self, ledger: Mapping[str, float], at: At) -> Sequence[tuple[Settlement, Mapping[str, float]]]:
        """Take profit and stop loss, then liquidation."""
        config = at.config.venues.get(Venue(self._name))
        if not isinstance(config, CexConfig):
            raise VenueRefusal("VEN-001", f"{self._name} is no exchange of the mode", self._name)
        return settling.closings(self._name, config, ledger, at)
