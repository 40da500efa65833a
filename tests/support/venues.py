"""The conformance suite of venues over the real core of the venues service."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from basis.models.order import Order
from basis.testkit.conformance.venue import VenueConformance
from basis.testkit.runs import START
from basis.venues.core.execution import execute
from basis.venues.manager import VenueInterfaceFactory

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from basis.models.execution import ExecutionHandshake


class CoreVenueConformance(VenueConformance):
    """Executes through ``basis.venues.core.execution`` with all venues of the mode."""

    def transact(
        self, orders: Sequence[Order], ledger: Mapping[str, float], market: Mapping[str, float]
    ) -> tuple[Sequence[ExecutionHandshake], Mapping[str, float]]:
        """One transaction."""
        config = self.config()
        done = execute(orders, ledger, market, config, VenueInterfaceFactory().simulated(config), START)
        return done.handshakes, done.ledger


def order(operation: str, venue: str, amount: float, number: int = 0, group: str | None = None, **fields: Any) -> Order:
    """An order of one operation; a group makes it an atomic step with its number as sequence."""
    values: dict[str, Any] = {
        "operation_id": f"op-{number}",
        "operation": operation,
        "venue": venue,
        "amount": amount,
        "strategy_intent": "entry_full",
        "strategy_id": "hand_made",
    }
    if group is not None:
        values |= {"execution_mode": "atomic", "atomic_group_id": group, "sequence_in_group": number}
    return Order.model_validate(values | fields)
