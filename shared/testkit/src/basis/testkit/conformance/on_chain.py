"""What every venue must do whose operations may be steps of an atomic group, simulated or live."""

from __future__ import annotations

from typing import TYPE_CHECKING

from basis.models.operations import ExecutionStatus
from basis.runtime.gas import order_pays_gas
from basis.testkit.conformance.cases import group
from basis.testkit.conformance.venue import VenueConformance

if TYPE_CHECKING:
    from basis.testkit.conformance.cases import Case


class OnChainConformance(VenueConformance):
    """A venue whose operations may be steps of an atomic group."""

    def test_group_with_an_impossible_last_step_leaves_every_balance(self, case: Case) -> None:
        """All or nothing: what the first steps moved is undone, entries included, and every step says so."""
        steps = [*case.orders, case.orders[-1].model_copy(update={"amount": 1e30, "operation_id": "impossible"})]
        handshakes, after = self.transact(group(steps), case.ledger, case.market, case.tick)
        assert [h.status for h in handshakes] == [ExecutionStatus.ROLLED_BACK] * len(steps)
        assert {h.error_code for h in handshakes} == {"EXEC-005"}
        assert all(not h.actual_deltas and not h.costs for h in handshakes)
        assert after == case.ledger

    def test_group_of_a_case_does_what_its_steps_do_alone(self, case: Case) -> None:
        """An operation costs and moves the same inside a transaction of its own."""
        alone, ledger = self._transact(case)
        grouped, after = self.transact(group(case.orders), case.ledger, case.market, case.tick)
        assert [h.status for h in grouped] == [ExecutionStatus.CONFIRMED] * len(case.orders)
        assert [h.actual_deltas for h in grouped] == [h.actual_deltas for h in alone]
        assert [h.costs for h in grouped] == [h.costs for h in alone]
        assert after == ledger

    def test_every_operation_is_a_transaction_of_the_wallet(self, case: Case) -> None:
        """No case has a free step: what the gas comes to is tested for all venues, but there 0 may be right."""
        assert all(order_pays_gas(order) for order in case.orders if order.venue == self.name())
