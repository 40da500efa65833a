"""Transfers on their way: value is counted once, whatever is reported in whatever sequence and how often."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from basis.models.errors import ComponentError
from basis.venues.core.transfer_ledger import Arrival, PendingTransfer, TransferLedger

START = datetime(2025, 1, 1, tzinfo=UTC)
VENUES = ("wallet", "binance", "bybit")


def departure(
    number: int, source: str, target: str, units: int, fee: int, *, transaction: str | None = None
) -> PendingTransfer:
    return PendingTransfer(
        operation_id=f"op-{number}",
        source=source,
        target=target,
        token="USDT",
        sent=float(units + fee),
        arriving=float(units),
        left_at=START + timedelta(minutes=number),
        transaction=transaction,
    )


def arrival(transfer: PendingTransfer, *, transaction: str | None = None) -> Arrival:
    return Arrival(
        id=f"arrival-{transfer.operation_id}",
        target=transfer.target,
        token=transfer.token,
        amount=transfer.arriving,
        at=transfer.left_at + timedelta(minutes=10),
        transaction=transaction,
    )


@st.composite
def histories(draw: st.DrawFn) -> list[tuple[str, PendingTransfer]]:
    """Transfers with few different amounts, so that they are mixed up where they can be; events repeated and shuffled."""
    count = draw(st.integers(1, 8))
    transfers = []
    for number in range(count):
        source, target = draw(st.permutations(VENUES))[:2]
        known = draw(st.booleans())
        transfers.append(
            departure(
                number,
                source,
                target,
                draw(st.sampled_from((100, 250))),
                draw(st.integers(0, 2)),
                transaction=f"0x{number}" if known else None,
            )
        )
    events = [("depart", one) for one in transfers]
    for one in transfers:
        for _ in range(draw(st.integers(0, 3))):
            place = draw(st.integers(events.index(("depart", one)) + 1, len(events)))
            events.insert(place, ("arrive", one))
        for _ in range(draw(st.integers(0, 1))):
            events.append(("depart", one))
    return events


@given(events=histories())
@settings(max_examples=300)
def test_value_is_counted_once_at_every_moment(events: list[tuple[str, PendingTransfer]]) -> None:
    """Source + transit + target + fees never change, by whatever the ledger says moved."""
    held = dict.fromkeys(VENUES, 1e6)
    fees = 0.0
    ledger = TransferLedger()
    left: set[str] = set()
    for what, transfer in events:
        if what == "depart":
            if transfer.operation_id not in left:
                held[transfer.source] -= transfer.sent
                fees += transfer.fee
                left.add(transfer.operation_id)
            ledger = ledger.depart(transfer)
        else:
            ledger, done = ledger.arrive(arrival(transfer, transaction=transfer.transaction))
            if done is not None:
                assert (done.target, done.arriving) == (transfer.target, transfer.arriving)
                held[done.target] += done.arriving
        flying = sum(ledger.in_flight().values())
        assert flying >= 0.0
        assert sum(held.values()) + flying + fees == pytest.approx(3e6, abs=1e-6)
    for transfer in ledger.transfers.values():
        ledger, _ = ledger.arrive(arrival(transfer, transaction=transfer.transaction))
    assert ledger.in_flight() == {}


@given(events=histories())
def test_nothing_arrives_twice(events: list[tuple[str, PendingTransfer]]) -> None:
    """The same arrival ends one transfer, however often it is reported."""
    ledger, ended = TransferLedger(), []
    for what, transfer in events:
        if what == "depart":
            ledger = ledger.depart(transfer)
        else:
            for _ in range(2):
                ledger, done = ledger.arrive(arrival(transfer, transaction=transfer.transaction))
                ended += [done.operation_id] if done else []
    assert len(ended) == len(set(ended))


def test_transaction_decides_before_amount_and_age() -> None:
    old, new = departure(1, "wallet", "binance", 100, 0), departure(2, "wallet", "binance", 100, 0, transaction="0xb")
    ledger = TransferLedger().depart(old).depart(new)
    ledger, done = ledger.arrive(arrival(new, transaction="0xb"))
    assert done is not None
    assert done.operation_id == "op-2"
    assert ledger.in_flight() == {"transit:BaseToken:USDT": 100.0}
    ledger, done = ledger.identify("op-1", "0xa").arrive(arrival(old, transaction="0xother"))
    # exchanges do not always call a transaction what the chain calls it; were it a stranger's of the same size, ours would be
    # taken for the stranger's when it comes: what is in flight and what was put in are right in the end either way
    assert done is not None
    assert done.operation_id == "op-1"
    assert ledger.in_flight() == {}
    assert ledger.arrive(arrival(old, transaction="0xa").model_copy(update={"id": "late"}))[1] is None


def test_stranger_changes_nothing() -> None:
    ledger = TransferLedger().depart(departure(1, "wallet", "binance", 100, 0))
    for change in ({"amount": 99.0}, {"token": "ETH"}, {"target": "bybit"}):
        stranger = arrival(departure(1, "wallet", "binance", 100, 0)).model_copy(update=change)
        after, done = ledger.arrive(stranger)
        assert (after, done) == (ledger, None)


def test_known_transaction_with_another_amount_stops() -> None:
    sent = departure(1, "wallet", "binance", 100, 0, transaction="0xa")
    less = arrival(sent, transaction="0xa").model_copy(update={"amount": 99.0})
    with pytest.raises(ComponentError, match=r"99\.0 USDT arrived"):
        TransferLedger().depart(sent).arrive(less)


def test_contradictions_stop() -> None:
    sent = departure(1, "wallet", "binance", 100, 0, transaction="0xa")
    ledger = TransferLedger().depart(sent)
    with pytest.raises(ComponentError, match="left twice"):
        ledger.depart(departure(1, "wallet", "binance", 250, 0))
    with pytest.raises(ComponentError, match="not by 0xb"):
        ledger.identify("op-1", "0xb")
    with pytest.raises(ComponentError, match="no transfer"):
        ledger.identify("op-2", "0xb")
    with pytest.raises(ComponentError, match="would arrive"):
        TransferLedger().depart(sent.model_copy(update={"arriving": 101.0}))


def test_overdue_and_forgotten() -> None:
    one, two = departure(1, "wallet", "binance", 100, 0), departure(2, "bybit", "wallet", 250, 1)
    ledger = TransferLedger().depart(two).depart(one)
    assert [late.operation_id for late in ledger.overdue(START + timedelta(hours=2), 3600)] == ["op-1", "op-2"]
    assert ledger.overdue(START + timedelta(minutes=3), 3600) == ()
    ledger, _ = ledger.arrive(arrival(one))
    assert list(ledger.forget_arrived(START + timedelta(days=1)).transfers) == ["op-2"]
