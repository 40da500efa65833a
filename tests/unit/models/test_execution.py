"""Order and ExecutionHandshake: every rule of behaviour.md section 2."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from basis.models.execution import ExecutionHandshake
from basis.models.operations import TRADES, ExecutionStatus, OperationType, StrategyIntent
from basis.models.order import Order
from basis.runtime import codec
from basis.testkit import strategies as bst

NOW = datetime(2024, 5, 12, tzinfo=UTC)


def order(**changes: Any) -> Order:
    fields: dict[str, Any] = {
        "operation_id": "op-1",
        "operation": "supply",
        "venue": "aave_v3",
        "amount": 10.0,
        "strategy_intent": "entry_full",
        "strategy_id": "pure_lending_usdt",
    }
    return Order.model_validate(fields | changes)


def trade(**changes: Any) -> Order:
    fields = {"operation": "spot_trade", "venue": "binance", "pair": "BTCUSDT", "side": "buy"}
    return order(**(fields | changes))


def handshake(**changes: Any) -> ExecutionHandshake:
    fields: dict[str, Any] = {
        "operation_id": "op-1",
        "status": "confirmed",
        "actual_deltas": {"wallet:BaseToken:USDT": -10.0},
        "submitted_at": NOW,
        "executed_at": NOW,
        "simulated": True,
    }
    return ExecutionHandshake.model_validate(fields | changes)


class TestOrder:
    def test_minimal_order_is_sequential_market_without_expectations(self) -> None:
        found = order()
        assert (found.order_type, found.execution_mode, found.expected_deltas) == ("market", "sequential", {})
        assert found.slippage_tolerance == 0.005

    @pytest.mark.parametrize("amount", [0.0, -1.0, float("nan"), float("inf")])
    def test_amount_not_above_zero_raises(self, amount: float) -> None:
        with pytest.raises(ValidationError, match="amount"):
            order(amount=amount)

    @pytest.mark.parametrize("operation", sorted(TRADES))
    @pytest.mark.parametrize("missing", ["pair", "side"])
    def test_trade_without_pair_or_side_raises(self, operation: OperationType, missing: str) -> None:
        with pytest.raises(ValidationError, match="needs pair and side"):
            trade(operation=operation, **{missing: None})

    @pytest.mark.parametrize("operation", sorted(set(OperationType) - TRADES))
    def test_side_on_an_operation_that_is_no_trade_raises(self, operation: OperationType) -> None:
        with pytest.raises(ValidationError, match="takes no side"):
            order(operation=operation, side="buy")

    def test_limit_order_without_price_raises(self) -> None:
        with pytest.raises(ValidationError, match="limit order needs a price"):
            trade(order_type="limit")

    def test_limit_order_with_price_is_accepted(self) -> None:
        assert trade(order_type="limit", price=60_000.0).price == 60_000.0

    @pytest.mark.parametrize("missing", ["atomic_group_id", "sequence_in_group"])
    def test_atomic_order_without_group_or_sequence_raises(self, missing: str) -> None:
        group = {"execution_mode": "atomic", "atomic_group_id": "g", "sequence_in_group": 0}
        with pytest.raises(ValidationError, match="needs atomic_group_id and sequence_in_group"):
            order(**(group | {missing: None}))

    @pytest.mark.parametrize("field", [{"atomic_group_id": "g"}, {"sequence_in_group": 0}])
    def test_sequential_order_with_a_group_raises(self, field: dict[str, Any]) -> None:
        with pytest.raises(ValidationError, match="are for execution_mode atomic"):
            order(**field)

    @pytest.mark.parametrize("operation", sorted(TRADES))
    def test_cex_order_in_an_atomic_group_raises(self, operation: OperationType) -> None:
        with pytest.raises(ValidationError, match="never in an atomic group"):
            trade(operation=operation, execution_mode="atomic", atomic_group_id="g", sequence_in_group=0)

    def test_negative_sequence_in_group_raises(self) -> None:
        with pytest.raises(ValidationError, match="sequence_in_group"):
            order(execution_mode="atomic", atomic_group_id="g", sequence_in_group=-1)

    @pytest.mark.parametrize(
        ("side", "stop", "price", "target"),
        [
            ("buy", 90.0, 100.0, 110.0),
            ("sell", 110.0, 100.0, 90.0),
            ("buy", 90.0, None, 110.0),
            ("sell", 110.0, 100.0, None),
            ("buy", None, 100.0, 110.0),
        ],
    )
    def test_exits_in_the_right_order_are_accepted(
        self, side: str, stop: float | None, price: float | None, target: float | None
    ) -> None:
        found = trade(side=side, stop_loss=stop, price=price, take_profit=target)
        assert (found.stop_loss, found.take_profit) == (stop, target)

    @pytest.mark.parametrize(
        ("side", "stop", "price", "target"),
        [
            ("buy", 110.0, 100.0, 90.0),
            ("buy", 100.0, 100.0, 110.0),
            ("buy", 90.0, 100.0, 100.0),
            ("buy", 110.0, None, 90.0),
            ("sell", 90.0, 100.0, 110.0),
            ("sell", 100.0, 100.0, 90.0),
            ("sell", 90.0, 100.0, None),
            ("sell", None, 100.0, 110.0),
        ],
    )
    def test_exits_in_the_wrong_order_raise(
        self, side: str, stop: float | None, price: float | None, target: float | None
    ) -> None:
        with pytest.raises(ValidationError, match=r"stop < price < target|target < price < stop"):
            trade(side=side, stop_loss=stop, price=price, take_profit=target)

    def test_exits_on_an_operation_that_is_no_trade_raise(self) -> None:
        with pytest.raises(ValidationError, match="are for trades"):
            order(stop_loss=1.0)

    @pytest.mark.parametrize("key", ["USDT", "wallet:USDT", "wallet:Token:USDT", "Wallet:BaseToken:USDT", "a:b:c:d"])
    def test_expected_delta_on_a_malformed_key_raises(self, key: str) -> None:
        with pytest.raises(ValidationError, match="venue:type:symbol"):
            order(expected_deltas={key: 1.0})

    @pytest.mark.parametrize("value", [float("nan"), float("inf")])
    def test_expected_delta_that_is_not_finite_raises(self, value: float) -> None:
        with pytest.raises(ValidationError):
            order(expected_deltas={"wallet:BaseToken:USDT": value})

    @pytest.mark.parametrize("intent", ["enter", "", "ENTRY_FULL"])
    def test_unknown_intent_raises(self, intent: str) -> None:
        with pytest.raises(ValidationError, match="strategy_intent"):
            order(strategy_intent=intent)

    def test_the_seven_intents_of_behaviour_section_2(self) -> None:
        names = "entry_full entry_partial exit_partial exit_full sell_dust rebalance risk_override"
        assert {str(intent) for intent in StrategyIntent} == set(names.split())

    def test_the_twelve_operations_of_behaviour_section_2(self) -> None:
        names = (
            "spot_trade perp_trade supply borrow repay withdraw stake unstake swap transfer flash_borrow flash_repay"
        )
        assert {str(found) for found in OperationType} == set(names.split())

    @pytest.mark.parametrize("tolerance", [-0.01, 1.01])
    def test_slippage_tolerance_outside_zero_to_one_raises(self, tolerance: float) -> None:
        with pytest.raises(ValidationError, match="slippage_tolerance"):
            order(slippage_tolerance=tolerance)

    @pytest.mark.parametrize("length", [0, 129])
    def test_operation_id_of_impossible_length_raises(self, length: int) -> None:
        with pytest.raises(ValidationError, match="operation_id"):
            order(operation_id="x" * length)

    def test_unknown_field_raises(self) -> None:
        with pytest.raises(ValidationError, match="amonut"):
            order(amonut=1.0)

    def test_order_is_frozen(self) -> None:
        with pytest.raises(ValidationError, match="frozen"):
            order().amount = 2.0  # type: ignore[misc]

    @given(bst.orders())
    def test_any_order_survives_json_and_the_wire(self, found: Order) -> None:
        assert Order.model_validate_json(found.model_dump_json()) == found
        assert codec.decode(codec.encode(found), Order) == found


class TestExecutionHandshake:
    def test_confirmed_without_executed_at_raises(self) -> None:
        with pytest.raises(ValidationError, match="needs executed_at"):
            handshake(executed_at=None)

    @pytest.mark.parametrize("status", ["pending", "failed", "rolled_back"])
    def test_unconfirmed_with_deltas_raises(self, status: str) -> None:
        with pytest.raises(ValidationError, match="moves nothing"):
            handshake(status=status, error_code="VEN-009")

    @pytest.mark.parametrize("status", ["failed", "rolled_back"])
    def test_refused_without_error_code_raises(self, status: str) -> None:
        with pytest.raises(ValidationError, match="needs an error_code"):
            handshake(status=status, actual_deltas={})

    def test_pending_needs_no_error_code(self) -> None:
        assert handshake(status="pending", actual_deltas={}, executed_at=None).error_code is None

    def test_fee_without_currency_raises(self) -> None:
        with pytest.raises(ValidationError, match="needs a fee_currency"):
            handshake(fee_amount=0.1)

    def test_negative_fee_raises(self) -> None:
        with pytest.raises(ValidationError, match="fee_amount"):
            handshake(fee_amount=-0.1, fee_currency="USDT")

    def test_executed_before_submitted_raises(self) -> None:
        with pytest.raises(ValidationError, match="before submitted_at"):
            handshake(executed_at=NOW - timedelta(seconds=1))

    def test_naive_time_raises(self) -> None:
        with pytest.raises(ValidationError, match="submitted_at"):
            handshake(submitted_at=NOW.replace(tzinfo=None))

    def test_malformed_delta_key_raises(self) -> None:
        with pytest.raises(ValidationError, match="venue:type:symbol"):
            handshake(actual_deltas={"USDT": 1.0})

    @given(value=bst.not_finite())
    def test_delta_that_is_not_finite_raises(self, value: float) -> None:
        with pytest.raises(ValidationError):
            handshake(actual_deltas={"wallet:BaseToken:USDT": value})

    def test_the_four_outcomes(self) -> None:
        assert {str(status) for status in ExecutionStatus} == {"confirmed", "pending", "failed", "rolled_back"}

    @given(bst.handshakes())
    def test_any_handshake_survives_json_and_the_wire(self, found: ExecutionHandshake) -> None:
        assert ExecutionHandshake.model_validate_json(found.model_dump_json()) == found
        assert codec.decode(codec.encode(found), ExecutionHandshake) == found

    @given(found=bst.handshakes(), status=st.sampled_from(ExecutionStatus))
    def test_only_confirmed_handshakes_move_anything(self, found: ExecutionHandshake, status: ExecutionStatus) -> None:
        if status is not ExecutionStatus.CONFIRMED and found.actual_deltas:
            with pytest.raises(ValidationError):
                ExecutionHandshake.model_validate(found.model_dump() | {"status": status, "error_code": "VEN-009"})
        assert found.status is ExecutionStatus.CONFIRMED or not found.actual_deltas
