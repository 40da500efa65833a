"""What every centralised exchange must do, simulated or live."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from basis.models.operations import TRADES, ExecutionStatus, OperationType, OrderSide, OrderType
from basis.models.order import Order
from basis.runtime.fills import lots_to_quantity, market_config, trade_cost
from basis.testkit.conformance.cases import group
from basis.testkit.conformance.venue import VenueConformance

if TYPE_CHECKING:
    from basis.testkit.conformance.cases import Case


class ExchangeConformance(VenueConformance):
    """A centralised exchange."""

    def parameters(self) -> dict[str, dict[str, Any]]:
        """One test a trade besides, a market order, a limit order."""
        trades = {case.name: case for case in self.accepted() if case.orders[0].operation in TRADES}
        limits = {name: case for name, case in trades.items() if case.orders[0].order_type is OrderType.LIMIT}
        markets = {name: case for name, case in trades.items() if name not in limits}
        return super().parameters() | {"trade": trades, "market_order": markets, "limit_order": limits}

    def resized(self, order: Order, factor: float) -> Order:
        """Trades in whole lots, at least one: any other size is refused before its effect could be wrong."""
        if order.operation not in TRADES:
            return super().resized(order, factor)
        perp = order.operation is OperationType.PERP_TRADE
        lot = market_config(self.config(), self.name(), str(order.pair), perp=perp).lot
        lots = max(round(order.amount * factor / lot), 1)
        return order.model_copy(update={"amount": lots_to_quantity(lots, lot)})

    def test_trade_is_never_a_step_of_an_atomic_group(self, case: Case) -> None:
        """Such an order cannot be built; a withdrawal is refused or executes, but is never half done."""
        for order in case.orders:
            fields = {"execution_mode": "atomic", "atomic_group_id": "g", "sequence_in_group": 0}
            if order.operation in TRADES:
                with pytest.raises(ValueError, match="never in an atomic group"):
                    Order.model_validate(order.model_dump() | fields)
                continue
            steps = [*case.orders, order.model_copy(update={"amount": 1e30, "operation_id": "impossible"})]
            _, after = self.transact(group(steps), case.ledger, case.market, case.tick)
            assert after == case.ledger

    def test_size_that_is_no_whole_number_of_lots_is_refused_with_ven_007(self, trade: Case) -> None:
        """A real exchange would reject it before it trades; nothing is rounded silently."""
        (order,) = trade.orders
        odd = order.model_copy(update={"amount": order.amount * (1.0 + 1.234567e-7)})
        (handshake,), after = self.transact((odd,), trade.ledger, trade.market, trade.tick)
        assert (handshake.status, handshake.error_code) == (ExecutionStatus.FAILED, "VEN-007")
        assert after == trade.ledger

    def test_trade_is_refused_beyond_its_slippage_tolerance(self, market_order: Case) -> None:
        """The fill is worse than the market price by the venue's cost; an order that accepts less is refused."""
        self.assert_refused_beyond_tolerance(market_order)

    def test_limit_order_fills_at_its_limit_or_better(self, limit_order: Case) -> None:
        """The limit is the order's own protection, whatever the market price is."""
        (order,) = limit_order.orders
        (handshake,), _ = self.transact((order,), limit_order.ledger, limit_order.market, limit_order.tick)
        filled, limit = float(str(handshake.execution_details["fill_price"])), float(str(order.price))
        assert filled <= limit if order.side is OrderSide.BUY else filled >= limit

    def test_trade_pays_taker_fee_and_slippage_of_its_notional(self, trade: Case) -> None:
        """Both in the money that the trade settles in, by the rates of the venue's configuration."""
        (order,) = trade.orders
        perp = order.operation is OperationType.PERP_TRADE
        price = trade.market[f"{'perp' if perp else 'spot'}:{self.name()}:{order.pair}"]
        notional = order.amount * price
        cost = trade_cost(self.config(), self.name(), str(order.pair), notional, perp=perp)
        (handshake,), _ = self.transact((order,), trade.ledger, trade.market, trade.tick)
        sign = 1.0 if order.side is OrderSide.BUY else -1.0
        fee = notional * (1.0 + sign * cost.slippage) * cost.fee_rate
        key = f"{self.name()}:BaseToken:USDT"
        assert handshake.costs["fees"] == {key: pytest.approx(fee, rel=1e-12)}
        # the fill and the market price differ in a few digits alone
        assert handshake.costs["slippage"] == {key: pytest.approx(notional * cost.slippage, rel=1e-9)}

    def assert_refused_beyond_tolerance(self, trade: Case) -> None:
        """The trade of a case, accepting next to no slippage, is refused."""
        (order,) = trade.orders
        strict = order.model_copy(update={"slippage_tolerance": 1e-6})
        (handshake,), after = self.transact((strict,), trade.ledger, trade.market, trade.tick)
        assert (handshake.status, handshake.error_code) == (ExecutionStatus.FAILED, "VEN-009")
        assert after == trade.ledger
