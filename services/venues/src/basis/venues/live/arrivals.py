"""Whose an arrival is: the end of a transfer of ours, which is taken out of transit, or capital of the client's (ADR 0029).

The record of a run's transfers is in the bucket ``trading``, so that another replica, or this one after a restart, knows what is
on its way. A transfer is written down before execution hears that it left; an arrival, before the tick that it belongs to.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

from nats.js.errors import KeyNotFoundError, KeyWrongLastSequenceError

from basis.models.base import FrozenModel
from basis.models.instruments import CLIENT
from basis.models.operations import ExecutionStatus, OperationType, SettlementKind
from basis.runtime import codec, subjects
from basis.venues.core.transfer_ledger import Arrival, PendingTransfer, TransferLedger
from basis.venues.live.bucket import Bucket

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from basis.models.execution import ExecutionHandshake
    from basis.models.messages import Settlement
    from basis.models.order import Order
    from basis.runtime.bus import Bus

_TRANSIT: Final = "transit:BaseToken:"
_KEPT: Final = timedelta(days=7)
"""How long an arrival is known again."""
_HASH_LENGTH: Final = 66


class Record(FrozenModel):
    """Transfers of one run."""

    transfers: tuple[PendingTransfer, ...] = ()
    """In the sequence in which they left."""

    def ledger(self) -> TransferLedger:
        """To work with."""
        return TransferLedger({one.operation_id: one for one in self.transfers})


class Arrivals:
    """Transfers of any run.

    Args:
        bus: connection.
        now: wall clock.
    """

    def __init__(self, bus: Bus, now: Callable[[], datetime]) -> None:
        self._now = now
        self._bucket = Bucket(bus, subjects.KV_TRADING)

    async def note(
        self, correlation_id: str, orders: Sequence[Order], handshakes: Sequence[ExecutionHandshake]
    ) -> None:
        """Write down the transfers that have left; those that are known already change nothing."""
        left = [
            transfer
            for order, handshake in zip(orders, handshakes, strict=True)
            if (transfer := departed(order, handshake)) is not None
        ]
        if not left:
            return

        def depart(ledger: TransferLedger) -> TransferLedger:
            for transfer in left:
                ledger = ledger.depart(transfer)
            return ledger

        await self._change(correlation_id, depart)

    async def told(self, correlation_id: str, settlements: Sequence[Settlement]) -> list[Settlement]:
        """Settlements with each arrival as what it is; asked again it answers the same."""
        found = list(settlements)
        if not any(one.kind is SettlementKind.TRANSFER_ARRIVAL for one in found):
            return found

        def arrive(ledger: TransferLedger) -> TransferLedger:
            for place, settlement in enumerate(settlements):
                if settlement.kind is SettlementKind.TRANSFER_ARRIVAL:
                    ledger, found[place] = sort_out(ledger, settlement)
            return ledger.forget_arrived(self._now() - _KEPT)

        await self._change(correlation_id, arrive)
        return found

    async def _change(self, correlation_id: str, change: Callable[[TransferLedger], TransferLedger]) -> None:
        bucket = await self._bucket.open()
        key = f"{correlation_id}.transfers"
        while True:
            try:
                entry = await bucket.get(key)
                before, revision = codec.decode(entry.value or b"", Record), entry.revision or 0
            except KeyNotFoundError:
                before, revision = Record(), 0
            after = Record(transfers=tuple(change(before.ledger()).transfers.values()))
            if after == before:
                return
            try:
                await bucket.update(key, codec.encode(after), last=revision)
            except KeyWrongLastSequenceError:  # another replica was first: on what it left
                continue
            return


def departed(order: Order, handshake: ExecutionHandshake) -> PendingTransfer | None:
    """The transfer that an order began; None where it began none, or nothing of it is in transit."""
    if order.operation is not OperationType.TRANSFER or order.target_venue == CLIENT:
        return None
    in_transit = {key: delta for key, delta in handshake.actual_deltas.items() if key.startswith(_TRANSIT)}
    if handshake.status is not ExecutionStatus.CONFIRMED or not in_transit:
        return None
    ((key, arriving),) = in_transit.items()
    transaction = handshake.venue_metadata.get("transaction")
    return PendingTransfer(
        operation_id=order.operation_id,
        source=str(order.source_venue or order.venue),
        target=str(order.target_venue),
        token=key.removeprefix(_TRANSIT),
        sent=max(order.amount, arriving),
        arriving=arriving,
        left_at=handshake.executed_at or handshake.submitted_at,
        transaction=str(transaction) if transaction else None,
    )


def sort_out(ledger: TransferLedger, settlement: Settlement) -> tuple[TransferLedger, Settlement]:
    """An arrival as the end of a transfer, or as a deposit of the client's."""
    ((key, amount),) = ((key, delta) for key, delta in settlement.deltas.items() if not key.startswith(_TRANSIT))
    arrival = _arrival(settlement, key, amount)
    known = any(one.arrival_id == arrival.id and one.target == arrival.target for one in ledger.transfers.values())
    after, ended = (ledger, None) if known else ledger.arrive(arrival)
    if known or ended is not None:
        deltas = {key: amount, f"{_TRANSIT}{arrival.token}": -amount}
        return after, settlement.model_copy(update={"deltas": deltas})
    return after, settlement.model_copy(update={"kind": SettlementKind.DEPOSIT, "deltas": {key: amount}})


def _arrival(settlement: Settlement, key: str, amount: float) -> Arrival:
    details = settlement.details
    identity = str(details["id"])
    said = details.get("transaction") or identity.split(":", 1)[0]
    transaction = str(said) if str(said).startswith("0x") and len(str(said)) == _HASH_LENGTH else None
    stamp = details.get("at") or details.get("timestamp")
    at = datetime.fromisoformat(str(stamp)) if stamp else datetime.fromtimestamp(0, UTC)
    return Arrival(
        id=identity,
        target=key.split(":", 1)[0],
        token=key.rsplit(":", 1)[1],
        amount=amount,
        at=at,
        transaction=transaction,
    )
