"""What every venue must do, simulated or live. No test here is left out, changed or replaced by a class that inherits it.

Value is counted by :class:`basis.runtime.valuation.Valuer`. Tests are parametrised over the cases that a class names, so
a new case is a handful of new tests.
"""

from __future__ import annotations

import copy
import math
import re
from typing import TYPE_CHECKING, Any, ClassVar

import pytest
from hypothesis import given

from basis.models.errors import ERROR_REGISTRY
from basis.models.instruments import CLIENT
from basis.models.operations import TRADES, ExecutionMode, ExecutionStatus, OperationType, OrderSide, StrategyIntent
from basis.models.order import Order
from basis.runtime.gas import order_pays_gas
from basis.runtime.valuation import Valuer
from basis.testkit.conformance.adapter import VenueAdapter
from basis.testkit.conformance.cases import TOLERANCE, Case, instruments, negative
from basis.testkit.strategies import floats

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from hypothesis.strategies import SearchStrategy

    from basis.models.execution import ExecutionHandshake


class VenueConformance(VenueAdapter):
    """Any venue: inherit it, or the suite of its kind, and fill in the abstract methods."""

    def parameters(self) -> dict[str, dict[str, Any]]:
        """Argument of a test -> name -> value: one test each."""
        return {
            "case": _named(self.accepted()),
            "refusal": {case.name: (case, code) for case, code in self.refused()},
            "available": {str(one): one for one in sorted(self.offered())},
            "missing": {str(one): one for one in OperationType if one not in self.offered()},
        }

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        """One test a case, refusal, and operation."""
        for cases in (self.accepted(), [case for case, _ in self.refused()]):
            assert len(_named(cases)) == len(cases), f"{type(self).__name__}: two cases have the same name"
        for argument, found in self.parameters().items():
            if argument in metafunc.fixturenames:
                assert found, f"{type(self).__name__}: no {argument} to test with"
                metafunc.parametrize(argument, list(found.values()), ids=list(found))

    # ------------------------------------------------------------------------------------------------------ offers

    def test_offered_operation_has_an_accepted_case(self, available: OperationType) -> None:
        """Every operation that is offered is accepted in some case."""
        assert available in {
            order.operation for case in self.accepted() for order in case.orders if order.venue == self.name()
        }

    def test_operation_that_is_not_offered_is_refused_with_ven_001(self, missing: OperationType) -> None:
        """An operation that the venue does not have never reaches its code."""
        case = self.accepted()[0]
        trade = {"side": OrderSide.BUY, "pair": "ETHUSDT"} if missing in TRADES else {}
        order = Order.model_validate(
            {
                "operation_id": "not-offered",
                "operation": missing,
                "venue": self.name(),
                "amount": 1.0,
                "strategy_intent": StrategyIntent.ENTRY_FULL,
                "strategy_id": "hand_made",
                **trade,
            }
        )
        (handshake,), after = self.transact((order,), case.ledger, case.market)
        assert (handshake.status, handshake.error_code) == (ExecutionStatus.FAILED, "VEN-001")
        assert after == case.ledger

    # --------------------------------------------------------------------------------------------------- acceptance

    def test_case_is_confirmed_and_moves_exactly_its_actual_deltas(self, case: Case) -> None:
        """Instruments of the ledger change by the handshakes' deltas and nothing else."""
        handshakes, after = self._transact(case)
        assert [h.status for h in handshakes] == [ExecutionStatus.CONFIRMED] * len(case.orders), handshakes
        expected = dict(case.ledger)
        for handshake in handshakes:
            for key, delta in handshake.actual_deltas.items():
                expected[key] = expected.get(key, 0.0) + delta
        assert instruments(after) == instruments(expected)

    def test_handshakes_answer_each_order_in_sequence(self, case: Case) -> None:
        """Ids come back; a fill says whether it is simulated, when it was, and what the world outside knows it by."""
        assert bool(self.EVIDENCE) is not self.SIMULATED
        handshakes, _ = self._transact(case)
        assert [h.operation_id for h in handshakes] == [order.operation_id for order in case.orders]
        for handshake in handshakes:
            assert handshake.simulated is self.SIMULATED
            assert handshake.executed_at is not None
            assert handshake.executed_at >= handshake.submitted_at
            assert handshake.executed_at == handshake.submitted_at or not self.SIMULATED
            assert handshake.error_code is None
            for field, pattern in self.EVIDENCE.items():
                assert re.fullmatch(pattern, str(handshake.venue_metadata[field])), field

    def test_deltas_are_on_instruments_that_the_mode_holds(self, case: Case) -> None:
        """A delta on any other key would be POS-002; one of no size says nothing."""
        handshakes, _ = self._transact(case)
        for handshake in handshakes:
            assert set(handshake.actual_deltas) <= set(self.config().position_subscriptions)
            assert all(math.isfinite(delta) for delta in handshake.actual_deltas.values())
            assert any(delta != 0.0 for delta in handshake.actual_deltas.values())

    def test_repeat_of_an_operation_on_the_same_ledger_gives_the_same_answer(self, case: Case) -> None:
        """A request that is sent twice is harmless."""
        first = self._transact(case)
        self.forget()
        assert self._transact(case) == first

    def test_operation_id_decides_nothing(self, case: Case) -> None:
        """An id says which request it is, never what comes of it: on the ledger before, and on the one after."""
        other = [order.model_copy(update={"operation_id": f"{order.operation_id}-again"}) for order in case.orders]
        _, after = self._transact(case)
        for ledger in (case.ledger, after):
            one, ledger_one = self.transact(case.orders, ledger, case.market, case.tick)
            two, ledger_two = self.transact(other, ledger, case.market, case.tick)
            assert [self.without_id(handshake) for handshake in one] == [
                self.without_id(handshake) for handshake in two
            ]
            assert ledger_one == ledger_two

    def test_unknown_outcome_is_resolved_by_positions_and_by_asking_again(self, case: Case) -> None:
        """Where a handshake never arrives, the balances say whether it happened, and the same request has its answer."""
        handshakes, after = self._transact(case)  # lost on the way
        moved = {key for h in handshakes for key, delta in h.actual_deltas.items() if delta}
        before, now = self.positions(case.ledger), self.positions(after)
        assert set(before) == set(now) == set(self.config().position_subscriptions)
        net = {key for key in moved if after.get(key, 0.0) != case.ledger.get(key, 0.0)}
        assert net
        assert {key for key in now if now[key] != before[key]} == net
        self.forget()
        again, after_again = self._transact(case)
        assert (list(again), dict(after_again)) == (list(handshakes), dict(after))

    def test_inputs_are_never_mutated(self, case: Case) -> None:
        """Orders, ledger and market of an accepted transaction stay as they were."""
        self._assert_untouched(case)

    def test_value_falls_by_the_stated_costs_and_nothing_else(self, case: Case) -> None:
        """Fees, gas, slippage and what was paid out to the client explain every change of value, order by order."""
        handshakes, _ = self._transact(case)
        for handshake in handshakes:
            values = [delta * self._unit(key, case) for key, delta in handshake.actual_deltas.items()]
            costs = [cost * self._unit(key, case) for kind in handshake.costs.values() for key, cost in kind.items()]
            gross = math.fsum(map(abs, values))
            assert abs(math.fsum([*values, *costs])) <= TOLERANCE * max(gross, 1e-6), handshake

    def test_costs_are_positive_and_on_instruments_that_the_mode_holds(self, case: Case) -> None:
        """A cost is an amount lost; a gain is none."""
        handshakes, _ = self._transact(case)
        for handshake in handshakes:
            for kind, by_key in handshake.costs.items():
                assert set(by_key) <= set(self.config().position_subscriptions), kind
                assert all(math.isfinite(cost) and cost > 0.0 for cost in by_key.values()), kind

    def test_gas_is_paid_by_transactions_of_the_wallet_and_by_nothing_else(self, case: Case) -> None:
        """Each on-chain operation pays its part of what is due; trades and withdrawals of an exchange pay none."""
        handshakes, _ = self._transact(case)
        paid = [sum(handshake.costs.get("gas", {}).values()) for handshake in handshakes]
        assert [gas > 0.0 for gas in paid] == [order_pays_gas(order) for order in case.orders]
        assert paid == pytest.approx(self.gas_of(handshakes, case), rel=self.GAS_ROUNDING, abs=0.0)

    def test_capital_leaves_only_by_a_transfer_to_the_client(self, case: Case) -> None:
        """``external`` is what monitors lower the capital by: anything else there would hide a loss."""
        handshakes, _ = self._transact(case)
        for order, handshake in zip(case.orders, handshakes, strict=True):
            assert bool(handshake.costs.get("external")) == (order.target_venue == CLIENT), order

    def test_balances_are_never_negative(self, case: Case) -> None:
        """No token, aToken or debt is below zero after an accepted transaction."""
        _, after = self._transact(case)
        assert not negative(after)

    def test_nothing_executes_on_an_empty_ledger(self, case: Case) -> None:
        """Without a balance there is nothing to give, pay gas with or put up as margin."""
        handshakes, after = self.transact(case.orders, {}, case.market, case.tick)
        assert after == {}
        assert all(not h.actual_deltas and h.error_code is not None for h in handshakes)

    def test_any_size_on_any_balance_creates_no_value_and_no_negative_balance(self, case: Case) -> None:
        """Whatever is asked for, the account never gets richer by it; what is refused moves nothing."""

        def check(factor: float, drain: float) -> None:
            orders = tuple(self.resized(order, factor) for order in case.orders)
            ledger = {key: quantity * drain for key, quantity in case.ledger.items()}
            handshakes, after = self.transact(orders, ledger, case.market, case.tick)
            assert not negative(after)
            if handshakes[0].status is not ExecutionStatus.CONFIRMED:
                assert after == ledger
            held = (*instruments(ledger).items(), *instruments(after).items())
            gross = sum(abs(quantity * self._unit(key, case)) for key, quantity in held)
            assert self._value(after, case) - self._value(ledger, case) <= TOLERANCE * gross

        self.for_all(30, check, factor=floats(1e-6, 1e6), drain=floats(0.0, 1.0))

    # ----------------------------------------------------------------------------------------------------- refusals

    def test_refusal_names_its_code_and_leaves_the_ledger_as_it_was(self, refusal: tuple[Case, str]) -> None:
        """Failed alone, rolled back in a group; either way nothing moved and nothing was paid."""
        case, code = refusal
        handshakes, after = self._transact(case)
        atomic = case.orders[0].execution_mode is ExecutionMode.ATOMIC
        status = ExecutionStatus.ROLLED_BACK if atomic else ExecutionStatus.FAILED
        assert [h.status for h in handshakes] == [status] * len(case.orders), handshakes
        assert all(not h.actual_deltas and not h.costs and h.fee_amount == 0.0 for h in handshakes)
        assert after == case.ledger
        first = handshakes[0]
        named = str(first.error_message).split("[")[1].split("]")[0] if atomic else first.error_code
        assert named == code, first
        assert named in ERROR_REGISTRY

    def test_refusal_says_why(self, refusal: tuple[Case, str]) -> None:
        """A person can act on it, and asking again gets the same answer."""
        handshakes, _ = self._transact(refusal[0])
        assert all(len(str(h.error_message)) > 10 for h in handshakes)
        self.forget()
        assert (handshakes, dict(refusal[0].ledger)) == self._transact(refusal[0])

    def test_refused_inputs_are_never_mutated(self, refusal: tuple[Case, str]) -> None:
        """Orders, ledger and market of a refused transaction stay as they were."""
        self._assert_untouched(refusal[0])

    @pytest.mark.parametrize("amount", [math.nan, math.inf, -math.inf, 0.0, -1.0])
    def test_amount_that_is_no_positive_number_is_no_order(self, amount: float) -> None:
        """Such an order cannot be built."""
        order = self.accepted()[0].orders[0]
        with pytest.raises(ValueError, match="amount"):
            Order.model_validate(order.model_dump() | {"amount": amount})

    # ------------------------------------------------------------------------------------------------------ helpers

    def for_all(self, wanted: int, check: Callable[..., None], **drawn: SearchStrategy[Any]) -> None:
        """Try a property on as many drawn examples as the family affords.

        A decorator on the test would fix their number for all who inherit it.
        """
        self.examples(wanted)(given(**drawn)(check))()

    def resized(self, order: Order, factor: float) -> Order:
        """An order of another size."""
        return order.model_copy(update={"amount": order.amount * factor})

    def _transact(self, case: Case) -> tuple[list[ExecutionHandshake], dict[str, float]]:
        handshakes, after = self.transact(case.orders, case.ledger, case.market, case.tick)
        return list(handshakes), dict(after)

    def _assert_untouched(self, case: Case) -> None:
        ledger, market = dict(case.ledger), dict(case.market)
        before = copy.deepcopy((ledger, market, case.orders))
        self.transact(case.orders, ledger, market, case.tick)
        assert (ledger, market, case.orders) == before

    def _unit(self, key: str, case: Case) -> float:
        """USD value of one unit: the venue's own price where the case names one, else the mode's."""
        return case.prices[key] if key in case.prices else self._valuer().unit_usd(key, case.market)

    def _valuer(self) -> Valuer:
        """Values of the venue's configuration; it is the same whenever a suite is asked for it."""
        found = type(self).__dict__.get("_known_valuer")
        if not isinstance(found, Valuer):
            found = Valuer.of(self.config())
            type(self)._known_valuer = found
        return found

    _known_valuer: ClassVar[Valuer | None] = None

    def _value(self, ledger: Mapping[str, float], case: Case) -> float:
        return math.fsum(quantity * self._unit(key, case) for key, quantity in instruments(ledger).items())


def _named(cases: Sequence[Case]) -> dict[str, Case]:
    return {case.name: case for case in cases}
