"""Real fills against the market row."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from basis.models.errors import ComponentError
from basis.models.execution import ExecutionHandshake
from basis.models.messages import Settlement
from basis.models.operations import SettlementKind
from basis.models.order import Order
from basis.venues.core.live_fills import closed_on_the_row, on_the_row

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


@pytest.mark.parametrize(
    ("pair", "margin", "gained"),
    [
        ("BTCUSDT", "binance:BaseToken:USDT", -0.5 * 1000.0),
        ("BTCUSD", "binance:BaseToken:BTC", -0.5 * (1 / 39e3 - 1 / 40e3)),
    ],
)
def test_exit_at_the_venue_is_settled_from_the_row_to_its_fill(pair: str, margin: str, gained: float) -> None:
    """A long of a half, stopped at 39,000 while the row is at 40,000 again: the monitors had marked it up."""
    perp = f"binance:Perp:{pair}"
    stop = Settlement.model_validate(
        {
            "tick": 0,
            "venue": "binance",
            "kind": "stop_loss",
            "deltas": {perp: -0.5, margin: -0.001},
            "details": {"symbol": pair, "fill_price": 39_000.0},
        }
    )
    found = closed_on_the_row(stop, {f"perp:binance:{pair}": 40_000.0})
    assert found.deltas == {perp: -0.5, margin: pytest.approx(gained - 0.001, rel=1e-12)}
    funding = stop.model_copy(update={"kind": SettlementKind.FUNDING})
    assert closed_on_the_row(funding, {}) is funding
