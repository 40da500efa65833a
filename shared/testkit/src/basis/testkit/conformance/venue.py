"""What every simulated venue must do. Its tests inherit :class:`VenueConformance` and say what the venue offers."""

from __future__ import annotations

import copy
import math
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from basis.models.errors import ComponentError
from basis.models.instruments import INSTRUMENTS, InstrumentType
from basis.models.operations import TRADES, ExecutionMode, ExecutionStatus, OperationType, OrderSide, StrategyIntent
from basis.models.order import Order
from basis.runtime.valuation import unit_value_usd

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from basis.models.config import RunConfig
    from basis.models.execution import ExecutionHandshake

Ledger = dict[str, float]


class Case(NamedTuple):
    """Orders that a venue accepts on a ledger at a market."""

    name: str
    """What it is, for messages."""
    orders: tuple[Order, ...]
    """One order, or all steps of one atomic group."""
    ledger: Mapping[str, float]
    """Balances before."""
    market: Mapping[str, float]
    """Market row of the tick."""
    fees_usd: float
    """What the venue keeps, gas aside, USD."""


class VenueConformance(ABC):
    """Inherit as ``class TestX(VenueConformance)`` and fill in the abstract methods."""

    @abstractmethod
    def transact(
        self, orders: Sequence[Order], ledger: Mapping[str, float], market: Mapping[str, float]
    ) -> tuple[Sequence[ExecutionHandshake], Mapping[str, float]]:
        """Execute as one transaction, with all venues of :meth:`config`; handshakes and the ledger after."""

    @abstractmethod
    def config(self) -> RunConfig:
        """A mode that uses the venue."""

    @abstractmethod
    def name(self) -> str:
        """Name of the venue."""

    @abstractmethod
    def offered(self) -> frozenset[OperationType]:
        """Operations that the venue offers; every other is refused."""

    @abstractmethod
    def accepted(self) -> list[Case]:
        """Transactions that the venue accepts: at least one for each operation that it offers."""

    @abstractmethod
    def refused(self) -> list[tuple[Case, str]]:
        """Transactions that the venue refuses, each with its error code (of the refusal, not EXEC-005)."""

    # ------------------------------------------------------------------------------------------------------ offers

    def test_every_offered_operation_has_a_case(self) -> None:
        here = {order.operation for case in self.accepted() for order in case.orders if order.venue == self.name()}
        assert here == set(self.offered())

    @pytest.mark.parametrize("operation", list(OperationType))
    def test_operation_that_is_not_offered_is_refused_with_ven_001(self, operation: OperationType) -> None:
        if operation in self.offered():
            return
        case = self.accepted()[0]
        trade = {"side": OrderSide.BUY, "pair": "ETHUSDT"} if operation in TRADES else {}
        order = Order.model_validate(
            {
                "operation_id": "not-offered",
                "operation": operation,
                "venue": self.name(),
                "amount": 1.0,
                "strategy_intent": StrategyIntent.ENTRY_FULL,
                "strategy_id": "hand_made",
                **trade,
            }
        )
        (handshake,), after = self.transact((order,), case.ledger, case.market)
        assert handshake.status is ExecutionStatus.FAILED
        assert handshake.error_code == "VEN-001"
        assert after == case.ledger

    # --------------------------------------------------------------------------------------------------- acceptance

    def test_accepted_cases_are_confirmed_and_move_exactly_their_actual_deltas(self) -> None:
        for case in self.accepted():
            handshakes, after = self.transact(case.orders, case.ledger, case.market)
            statuses = [h.status for h in handshakes]
            assert statuses == [ExecutionStatus.CONFIRMED] * len(case.orders), (case.name, handshakes)
            assert [h.operation_id for h in handshakes] == [order.operation_id for order in case.orders]
            expected = dict(case.ledger)
            for handshake in handshakes:
                assert handshake.simulated
                for key, delta in handshake.actual_deltas.items():
                    expected[key] = expected.get(key, 0.0) + delta
            assert after == expected, case.name

    def test_repeat_of_an_operation_on_the_same_ledger_gives_the_same_answer(self) -> None:
        for case in self.accepted():
            first = self.transact(case.orders, case.ledger, case.market)
            assert self.transact(case.orders, case.ledger, case.market) == first, case.name

    def test_inputs_are_never_mutated(self) -> None:
        for case in (*self.accepted(), *(case for case, _ in self.refused())):
            ledger, market = dict(case.ledger), dict(case.market)
            before = copy.deepcopy((ledger, market, case.orders))
            self.transact(case.orders, ledger, market)
            assert (ledger, market, case.orders) == before, case.name

    def test_value_is_conserved_up_to_the_stated_fee_and_gas(self) -> None:
        for case in self.accepted():
            handshakes, after = self.transact(case.orders, case.ledger, case.market)
            gas = sum(
                h.fee_amount * unit_value_usd(f"wallet:BaseToken:{h.fee_currency}", case.market)
                for h in handshakes
                if h.fee_currency is not None
            )
            before_usd, after_usd = self._value(case.ledger, case.market), self._value(after, case.market)
            scale = max(abs(before_usd), sum(order.amount for order in case.orders))
            assert after_usd == pytest.approx(before_usd - gas - case.fees_usd, abs=1e-9 * scale), case.name

    def test_balances_are_never_negative(self) -> None:
        for case in self.accepted():
            _, after = self.transact(case.orders, case.ledger, case.market)
            assert not self._negative(after), case.name

    @given(factor=st.floats(1e-6, 1e6), drain=st.floats(0.0, 1.0))
    def test_any_size_on_any_balance_creates_no_value_and_no_debt_balance(self, factor: float, drain: float) -> None:
        for case in self.accepted():
            orders = tuple(order.model_copy(update={"amount": order.amount * factor}) for order in case.orders)
            ledger = {key: quantity * drain for key, quantity in case.ledger.items()}
            handshakes, after = self.transact(orders, ledger, case.market)
            assert not self._negative(after), case.name
            if handshakes[0].status is not ExecutionStatus.CONFIRMED:
                assert after == ledger, case.name
            gross = sum(abs(q * unit_value_usd(key, case.market)) for key, q in (*ledger.items(), *after.items()))
            gain = self._value(after, case.market) - self._value(ledger, case.market)
            assert gain <= 1e-9 * gross, case.name

    # ----------------------------------------------------------------------------------------------------- refusals

    def test_refusals_name_their_code_and_leave_the_ledger_as_it_was(self) -> None:
        for case, code in self.refused():
            handshakes, after = self.transact(case.orders, case.ledger, case.market)
            atomic = case.orders[0].execution_mode is ExecutionMode.ATOMIC
            status = ExecutionStatus.ROLLED_BACK if atomic else ExecutionStatus.FAILED
            assert [h.status for h in handshakes] == [status] * len(case.orders), (case.name, handshakes)
            assert all(not h.actual_deltas and h.fee_amount == 0.0 for h in handshakes), case.name
            assert after == case.ledger, case.name
            first = handshakes[0]
            named = first.error_code if not atomic else str(first.error_message).split("[")[1].split("]")[0]
            assert named == code, (case.name, first)

    @pytest.mark.parametrize("amount", [math.nan, math.inf, -math.inf, 0.0, -1.0])
    def test_amount_that_is_no_positive_number_is_no_order(self, amount: float) -> None:
        order = self.accepted()[0].orders[0]
        with pytest.raises(ValueError, match="amount"):
            Order.model_validate(order.model_dump() | {"amount": amount})

    def test_nan_in_the_market_never_reaches_the_ledger(self) -> None:
        for case in self.accepted():
            poisoned = dict.fromkeys(case.market, math.nan)
            try:
                handshakes, after = self.transact(case.orders, case.ledger, poisoned)
            except ValueError:
                continue  # a handshake that holds NaN cannot be built
            except ComponentError as error:
                assert error.error_code == "ENGINE-002", case.name
                continue
            assert all(math.isfinite(quantity) for quantity in after.values()), (case.name, handshakes)

    # ------------------------------------------------------------------------------------------------------ helpers

    @staticmethod
    def _value(ledger: Mapping[str, float], market: Mapping[str, float]) -> float:
        return math.fsum(quantity * unit_value_usd(key, market) for key, quantity in ledger.items())

    @staticmethod
    def _negative(ledger: Mapping[str, float]) -> list[str]:
        perp = InstrumentType.PERP
        return [key for key, held in ledger.items() if held < 0.0 and INSTRUMENTS[key].type is not perp]
