"""The venues' conformance suite over live exchanges: the cases and the tests of the simulated ones, unchanged.

What is not run here, and why:

* tests of windows of ticks (``settle``): a live exchange is not asked to play ticks. What they promise is tested where it
  happens: funding, liquidation and mark-to-market in ``test_live_cex_account``, levels in ``test_live_cex_orders``, arrivals in
  ``test_transfer_ledger``.
* ``test_operation_id_decides_nothing``: at a real venue it decides everything, see ``test_live_cex_faults``.
* ``test_handshakes_answer_each_order_in_sequence`` asserts ``simulated``: replaced below by its opposite.
* ``test_nan_in_any_market_column_never_reaches_the_ledger``: the row of a case is not what a live order is priced with; a
  quote that is no price is refused (``test_quote_that_is_no_price_is_refused``).
* ``test_trade_is_refused_beyond_its_slippage_tolerance`` for the limit order: live, its limit is what protects it; a tolerance
  is relative to a reference price, and a limit order names none.
* the cases at prices of their own and with a delay: they are about the simulated ledger's ``transit`` entries, and about the
  price of another exchange.

Balances go over the wire as text and through ccxt's floats: compared within 1e-9 (``tests.support.live_conformance``).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from tests.support.live_conformance import LiveStage
from tests.unit.components.test_venues_conformance import _Exchange

from basis.models.operations import ExecutionStatus, OrderType
from basis.testkit.conformance.venue import Case, ExchangeConformance, Settled
from basis.testkit.strategies import floats
from basis.venues.live.errors import ProvedFailure

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from basis.models.execution import ExecutionHandshake
    from basis.models.order import Order

_NO_TICKS = "a live exchange is not asked to play windows of ticks"


_STAGES: dict[str, LiveStage] = {}


@pytest.fixture(autouse=True, scope="module")
def close_stages() -> Iterator[None]:
    """One server and one connection a venue."""
    yield
    for stage in _STAGES.values():
        stage.close()


class _Live(_Exchange):
    """An exchange of the suite, answered by the real thing."""

    VENUE = "binance"

    @property
    def stage(self) -> LiveStage:
        if self.VENUE not in _STAGES:
            _STAGES[self.VENUE] = LiveStage(self.config(), self.VENUE)
        return _STAGES[self.VENUE]

    def transact(
        self, orders: Sequence[Order], ledger: Mapping[str, float], market: Mapping[str, float], tick: int = 3
    ) -> tuple[Sequence[ExecutionHandshake], Mapping[str, float]]:
        return self.stage.transact(orders, ledger, market, tick)

    def positions(self, ledger: Mapping[str, float]) -> Mapping[str, float]:
        return self.stage.positions(ledger)

    def settle(self, ledger: Mapping[str, float], market: Any, first_tick: int) -> Settled:
        raise NotImplementedError(_NO_TICKS)

    # ------------------------------------------------------------------------------------ in place of the suite's own

    def test_handshakes_answer_each_order_in_sequence(self, case: Case) -> None:
        """Ids come back, a real fill says that it is one, and that it took effect after it was sent."""
        handshakes, _ = self._transact(case)
        assert [h.operation_id for h in handshakes] == [order.operation_id for order in case.orders]
        for handshake in handshakes:
            assert not handshake.simulated
            assert handshake.executed_at is not None
            assert handshake.executed_at >= handshake.submitted_at
            assert handshake.error_code is None
            assert handshake.venue_metadata["client_order_id"]

    @given(factor=floats(1e-6, 1e6), drain=floats(0.0, 1.0))
    @settings(max_examples=3)
    def test_any_size_on_any_balance_creates_no_value_and_no_negative_balance(
        self, case: Case, factor: float, drain: float
    ) -> None:
        """The suite's own test, with fewer examples: each is some twenty HTTP requests."""
        whole = ExchangeConformance.test_any_size_on_any_balance_creates_no_value_and_no_negative_balance
        whole.hypothesis.inner_test(self, case, factor, drain)  # type: ignore[attr-defined]

    def test_trade_is_refused_beyond_its_slippage_tolerance(self, trade: Case) -> None:
        """Market orders: the suite's own test. Limit orders: never beyond the limit."""
        if trade.orders[0].order_type is OrderType.MARKET:
            super().test_trade_is_refused_beyond_its_slippage_tolerance(trade)
            return
        (handshake,), _ = self.transact(trade.orders, trade.ledger, trade.market, trade.tick)
        assert float(str(handshake.execution_details["fill_price"])) >= float(str(trade.orders[0].price))

    test_operation_id_decides_nothing = None  # type: ignore[assignment]
    test_nan_in_any_market_column_never_reaches_the_ledger = None  # type: ignore[assignment]
    test_empty_ledger_is_settled_with_nothing = None  # type: ignore[assignment]
    test_settlement_does_not_depend_on_windows = None  # type: ignore[assignment]
    test_settlements_move_what_the_mode_holds_by_finite_amounts = None  # type: ignore[assignment]
    test_own_ledger_entries_are_never_zero_and_go_when_they_are_due = None  # type: ignore[assignment]
    test_perp_gains_move_into_the_margin_at_every_tick = None  # type: ignore[assignment]

    def test_quote_that_is_no_price_is_refused(self) -> None:
        """Zero, or less: no default, no last one."""
        stage = self.stage
        stage._reset({}, {})
        stage.server.exchange.set_price("ETHUSDT", "linear", 0)
        with pytest.raises(ProvedFailure, match="DATA-002"):
            stage._runner.run(stage.live.market([f"perp:{self.VENUE}:ETHUSDT"]))

    def test_pending_never_moves_a_ledger(self) -> None:
        """An unknown outcome says nothing about balances."""
        case = self.accepted()[0]
        stage = self.stage
        stage._reset(case.ledger, case.market)
        stage.server.faults.add("order.create", "error_after")

        async def send() -> ExecutionHandshake:
            prepared = await stage.live.prepare(case.orders)
            return (await stage.live.send(case.orders, prepared))[0]

        found = stage._runner.run(send())
        assert (found.status, found.actual_deltas) == (ExecutionStatus.PENDING, {})


class TestLiveBinance(_Live, ExchangeConformance):
    VENUE = "binance"


class TestLiveBybit(_Live, ExchangeConformance):
    VENUE = "bybit"


class TestLiveOkx(_Live, ExchangeConformance):
    VENUE = "okx"
