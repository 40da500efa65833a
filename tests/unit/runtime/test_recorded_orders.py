"""Orders in a run's record: found there to the last field, by whoever is asked to send them."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from basis.models.messages import OrdersRequest, RunRecord, RunStatus, Trading, Window
from basis.models.order import Order
from basis.runtime import codec, recorded_orders
from basis.testkit.runs import CID, market_row, mode_config, portfolio, run_ref

CONFIG = mode_config("btc_basis")
MARKET = market_row(CONFIG)
STATUS = RunStatus(
    correlation_id=CID, strategy="btc_basis", status="running", progress=0.0, ticks=0, total_ticks=0, started_at=None
)


def order(number: int = 0, amount: float = 0.1, **fields: Any) -> Order:
    values: dict[str, Any] = {
        "operation_id": f"{CID}-00000007-{number:03d}",
        "operation": "perp_trade",
        "venue": "binance",
        "amount": amount,
        "side": "buy",
        "pair": "BTCUSDT",
        "price": 60_000.1,
        "expected_deltas": {"binance:Perp:BTCUSDT": amount},
        "operation_details": {"reduce_only": True, "levels": [1, 2.5, None, "x"]},
        "strategy_intent": "rebalance",
        "strategy_id": "btc_basis",
    }
    return Order.model_validate(values | fields)


def request(*orders: Order) -> OrdersRequest:
    return OrdersRequest(
        run=run_ref(CONFIG),
        tick=7,
        orders=orders,
        ledger={},
        portfolio=portfolio({}, market=MARKET, capital=1.0),
        window=Window(first_tick=7, ticks=1, market={}, balances={}, settlements=b""),
    )


def record(*orders: Order) -> bytes:
    trading = None
    if orders:
        field = recorded_orders.written(request(*orders))
        trading = Trading(tick=7, orders=field, window="", reference_equity=None, pending_withdrawal=0.0)
    return RunRecord(status=STATUS, trading=trading, run_mode="live").model_dump_json().encode()


def arrived(found: Order) -> Order:
    """As the venues have it: twice over the bus."""
    return codec.decode(codec.encode(codec.decode(codec.encode(found), Order)), Order)


def test_what_is_written_is_read() -> None:
    assert recorded_orders.read(recorded_orders.written(request(order()))) == request(order())


def test_orders_on_record_are_found() -> None:
    kept = record(order(0), order(1))
    assert recorded_orders.are_in(kept, [arrived(order(0)), arrived(order(1))])
    assert recorded_orders.are_in(kept, [arrived(order(1))])


@pytest.mark.parametrize(
    "asked",
    [order(1), order(amount=0.2), order(side="sell"), order(price=60_000.2), order(operation_details={})],
    ids=["another", "amount", "side", "price", "details"],
)
def test_the_same_id_is_not_enough(asked: Order) -> None:
    assert not recorded_orders.are_in(record(order()), [arrived(asked)])
    assert not recorded_orders.are_in(record(order()), [arrived(order()), arrived(asked)])


def test_nothing_under_way_and_no_record() -> None:
    assert not recorded_orders.are_in(record(), [order()])
    with pytest.raises(msgspec.DecodeError):
        recorded_orders.are_in(b"", [order()])


def test_an_intent_keeps_an_order_as_it_came() -> None:
    """Intents are JSON and messages are not: where they differed, an order would look like another engine's."""
    assert Order.model_validate_json(order().model_dump_json()) == arrived(order())
