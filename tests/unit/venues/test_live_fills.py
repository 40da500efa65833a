"""Real fills against the market row."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from basis.models.errors import ComponentError
from basis.models.execution import ExecutionHandshake
from basis.models.order import Order
from basis.venues.core.live_fills import on_the_row

NOW = datetime(2024, 1, 1, tzinfo=UTC)
BUY = Order.model_validate(
    {
        "operation_id": "spot-1",
        "operation": "spot_trade",
        "venue": "binance",
        "amount": 2.0,
        "side": "buy",
        "pair": "BTCUSDT",
        "strategy_intent": "entry_full",
        "strategy_id": "hand_made",
    }
)


def filled(**details: float) -> ExecutionHandshake:
    """A fill of half of the order, ten above the row."""
    values = {
        "operation_id": "spot-1",
        "status": "confirmed",
        "submitted_at": NOW,
        "executed_at": NOW,
        "simulated": False,
    }
    return ExecutionHandshake.model_validate(values | {"execution_details": {"fill_price": 110.0} | details})


def test_slippage_of_a_partial_fill_counts_what_was_filled() -> None:
    """One of two ordered, ten dearer than the row: ten lost, not twenty."""
    found = on_the_row(BUY, filled(filled_amount=1.0), {"spot:binance:BTCUSDT": 100.0})
    assert found.costs == {"slippage": {"binance:BaseToken:USDT": 10.0}}


def test_spot_fill_of_unknown_size_stops() -> None:
    """The ordered amount is never taken for the filled one."""
    with pytest.raises(ComponentError, match="without filled_amount"):
        on_the_row(BUY, filled(), {"spot:binance:BTCUSDT": 100.0})
