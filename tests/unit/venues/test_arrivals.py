"""Whose an arrival is."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from basis.models.execution import ExecutionHandshake
from basis.models.messages import Settlement
from basis.models.operations import ExecutionStatus, OperationType, SettlementKind
from basis.models.order import Order
from basis.venues.core.transfer_ledger import TransferLedger
from basis.venues.live.arrivals import departed, sort_out

NOW = datetime(2024, 5, 12, tzinfo=UTC)
USDT = "binance:BaseToken:USDT"
TRANSIT = "transit:BaseToken:USDT"
HASHES = ["0x" + f"{number:064x}" for number in range(1, 9)]


def order(number: int, amount: float, target: str = "binance") -> Order:
    """A transfer from the wallet."""
    return Order.model_validate(
        {
            "operation_id": f"op-{number}",
            "operation": OperationType.TRANSFER,
            "venue": "wallet",
            "source_venue": "wallet",
            "target_venue": target,
            "source_token": "USDT",
            "amount": amount,
            "strategy_intent": "entry_full",
            "strategy_id": "test",
        }
    )


def handshake(number: int, arriving: float, transaction: str | None, **changes: Any) -> ExecutionHandshake:
    """It has left."""
    fields: dict[str, Any] = {
        "operation_id": f"op-{number}",
        "status": ExecutionStatus.CONFIRMED,
        "actual_deltas": {"wallet:BaseToken:USDT": -arriving, TRANSIT: arriving},
        "submitted_at": NOW,
        "executed_at": NOW + timedelta(seconds=number),
        "venue_metadata": {"transaction": transaction},
        "simulated": False,
    }
    return ExecutionHandshake.model_validate(fields | changes)


def arrival(number: int, amount: float, transaction: str | None = None) -> Settlement:
    """As an exchange tells it."""
    details: dict[str, Any] = {"id": f"d{number}", "at": NOW.isoformat(), "transaction": transaction, "amount": amount}
    deltas = {USDT: amount, TRANSIT: -amount}
    return Settlement(tick=3, venue="binance", kind=SettlementKind.TRANSFER_ARRIVAL, deltas=deltas, details=details)


def ledger_of(*amounts: float, hashes: bool = True) -> TransferLedger:
    found = TransferLedger()
    for number, amount in enumerate(amounts):
        left = departed(order(number, amount), handshake(number, amount, HASHES[number] if hashes else None))
        assert left is not None
        found = found.depart(left)
    return found


def test_the_end_of_a_transfer_comes_out_of_transit() -> None:
    ledger, told = sort_out(ledger_of(1000.0, 500.0), arrival(1, 500.0, HASHES[1]))
    assert (told.kind, told.deltas) == (SettlementKind.TRANSFER_ARRIVAL, {USDT: 500.0, TRANSIT: -500.0})
    assert ledger.in_flight() == {TRANSIT: 1000.0}


def test_what_no_transfer_of_ours_ends_is_the_clients_and_leaves_transit_alone() -> None:
    before = ledger_of(1000.0)
    ledger, told = sort_out(before, arrival(1, 250.0, HASHES[7]))
    assert (told.kind, told.deltas) == (SettlementKind.DEPOSIT, {USDT: 250.0})
    assert ledger == before
    assert sort_out(TransferLedger(), arrival(2, 250.0))[1].kind is SettlementKind.DEPOSIT


def test_the_same_arrival_asked_again_is_the_same() -> None:
    """A replica died between writing down the arrival and the tick."""
    ledger, first = sort_out(ledger_of(1000.0), arrival(1, 1000.0, HASHES[0]))
    again, second = sort_out(ledger, arrival(1, 1000.0, HASHES[0]))
    assert (again, second) == (ledger, first)


def test_another_name_for_the_transaction_does_not_hide_a_transfer() -> None:
    """An exchange may say another hash than the chain; and USDT has six decimals on chain, eight at an exchange."""
    ledger, told = sort_out(ledger_of(1000.0), arrival(1, 999.9999995, HASHES[5]))
    assert told.kind is SettlementKind.TRANSFER_ARRIVAL
    assert ledger.in_flight() == {}


@given(
    amounts=st.lists(st.sampled_from([100.0, 250.5, 1000.0]), min_size=1, max_size=5),
    others=st.lists(st.sampled_from([77.0, 250.5]), max_size=3),
    hashes=st.booleans(),
    data=st.data(),
)
def test_in_whatever_sequence_they_arrive_value_is_counted_once(
    amounts: list[float], others: list[float], hashes: bool, data: st.DataObject
) -> None:
    """The client's deposits among them: transit ends empty, and what was put in is what came from outside."""
    ledger = ledger_of(*amounts, hashes=hashes)
    ours = [arrival(number, amount, HASHES[number]) for number, amount in enumerate(amounts)]
    theirs = [arrival(100 + number, amount, "0x" + "f" * 63 + str(number)) for number, amount in enumerate(others)]
    held = {USDT: 0.0, TRANSIT: sum(amounts)}
    put_in = 0.0
    for one in data.draw(st.permutations([*ours, *theirs])):
        ledger, told = sort_out(ledger, one)
        for key, delta in told.deltas.items():
            held[key] += delta
        put_in += told.deltas[USDT] if told.kind is SettlementKind.DEPOSIT else 0.0
    assert held == pytest.approx({USDT: sum(amounts) + sum(others), TRANSIT: 0.0}, abs=1e-9)
    assert put_in == pytest.approx(sum(others), abs=1e-9)


@pytest.mark.parametrize(
    ("sent", "answer"),
    [
        (order(1, 5.0, "client"), handshake(1, 5.0, None)),
        (order(1, 5.0), handshake(1, 5.0, None, actual_deltas={"wallet:BaseToken:USDT": -5.0, USDT: 5.0})),
        (
            order(1, 5.0),
            handshake(1, 5.0, None, status="failed", error_code="VEN-008", executed_at=None, actual_deltas={}),
        ),
    ],
    ids=["to the client", "nothing is in transit", "it failed"],
)
def test_what_begins_no_transfer(sent: Order, answer: ExecutionHandshake) -> None:
    assert departed(sent, answer) is None
