"""Real fills against what was expected: within the slippage that the order accepts on its notional, whatever the margin is in."""

from __future__ import annotations

import pytest

from basis.models.execution import ExecutionHandshake
from basis.models.order import Order
from basis.monitors.core.plan import compile_plan
from basis.monitors.core.position_update_handler import update
from basis.testkit.runs import START, custom_config, market_row, portfolio

MARK = 40_000.0
LINEAR = ("binance:Perp:BTCUSDT", "binance:BaseToken:USDT", 1.0, 40_000.0)
"""Perp, its margin, quantity, notional in units of the margin."""
INVERSE = ("binance:Perp:BTCUSD", "binance:BaseToken:BTC", 40_000.0, 1.0)


@pytest.mark.parametrize(("perp", "margin", "quantity", "notional"), [LINEAR, INVERSE])
@pytest.mark.parametrize(("part", "agrees"), [(0.004, True), (-0.004, True), (0.008, False)])
def test_margin_may_be_off_by_the_slippage_of_the_notional(
    perp: str, margin: str, quantity: float, notional: float, part: float, *, agrees: bool
) -> None:
    config = custom_config([perp, margin], share_class="BTC" if margin.endswith("BTC") else "USDT", asset="BTC")
    pair = perp.rpartition(":")[2]
    row = market_row(config) | {f"perp:binance:{pair}": MARK}
    expected = -0.001 * notional
    actual = expected + part * notional
    order = Order.model_validate(
        {
            "operation_id": "one",
            "operation": "perp_trade",
            "venue": "binance",
            "pair": pair,
            "side": "buy",
            "amount": quantity,
            "price": MARK,
            "slippage_tolerance": 0.005,
            "strategy_intent": "entry_full",
            "strategy_id": "test",
            "expected_deltas": {perp: quantity, margin: expected},
        }
    )
    filled = ExecutionHandshake.model_validate(
        {
            "operation_id": "one",
            "status": "confirmed",
            "actual_deltas": {perp: quantity, margin: actual},
            "submitted_at": START,
            "executed_at": START,
            "simulated": False,
        }
    )
    before = portfolio({margin: 10 * notional}, market=row, capital=10 * notional)
    held = {perp: quantity, margin: 10 * notional + actual}
    found = update(compile_plan(config), before, [order], [filled], held)
    assert [one.instrument_key for one in found.differences] == ([] if agrees else [margin])


def test_position_that_is_closed_in_decimals_is_closed() -> None:
    """0.1 + 0.2 - 0.3 leaves 6e-17 in floats: an order of that would be refused at every tick."""
    perp, margin, _, notional = LINEAR
    config = custom_config([perp, margin])
    row = market_row(config) | {"perp:binance:BTCUSDT": MARK}
    before = portfolio({margin: 10 * notional, perp: 0.1 + 0.2}, market=row, capital=10 * notional)
    order, filled = closing(perp, 0.3)
    found = update(compile_plan(config), before, [order], [filled], {margin: 10 * notional, perp: 0.0})
    assert found.portfolio.positions[perp] == 0.0
    assert found.differences == ()


def closing(perp: str, amount: float) -> tuple[Order, ExecutionHandshake]:
    """An order that sells so much, filled as expected."""
    order = Order.model_validate(
        {
            "operation_id": "two",
            "operation": "perp_trade",
            "venue": "binance",
            "pair": perp.rpartition(":")[2],
            "side": "sell",
            "amount": amount,
            "price": MARK,
            "strategy_intent": "exit_full",
            "strategy_id": "test",
            "expected_deltas": {perp: -amount},
        }
    )
    filled = {
        "operation_id": "two",
        "status": "confirmed",
        "actual_deltas": {perp: -amount},
        "submitted_at": START,
        "executed_at": START,
        "simulated": False,
    }
    return order, ExecutionHandshake.model_validate(filled)
