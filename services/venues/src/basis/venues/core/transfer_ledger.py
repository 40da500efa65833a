"""Transfers on their way between venues: what left, what is in flight, what arrived. Pure.

Value in flight is counted once: what has left a source is in ``transit`` until its target says that it arrived, and an arrival
takes out of transit no more than is there for it. An arrival is matched to a departure by its transaction where both know it,
else to the oldest one of the same token and target with the same amount, one without a known transaction first (what an exchange
calls the transaction of a withdrawal is not always what the chain shows). One that matches nothing is no transfer of ours.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import TYPE_CHECKING

from pydantic import AwareDatetime, Field

from basis.models.base import FrozenModel, NonNegative, Positive
from basis.models.errors import ComponentError
from basis.models.instruments import TOKEN_DECIMALS

if TYPE_CHECKING:
    from collections.abc import Mapping

_COMPONENT = "transfer_ledger"
AMOUNT_TOLERANCE = 1e-8
"""Largest accepted difference of what was announced and what arrived, tokens: the smallest unit of an exchange, or of the
token on chain where that is larger (:func:`tolerance`)."""


def tolerance(token: str) -> float:
    """Largest accepted difference of an amount that left and the one that arrived, tokens."""
    return max(AMOUNT_TOLERANCE, 10.0 ** -TOKEN_DECIMALS.get(token, 8))


class TransferState(StrEnum):
    """How far a transfer is."""

    IN_FLIGHT = "in_flight"
    """It left its source; its target has not seen it."""
    ARRIVED = "arrived"
    """Its target has it."""


class PendingTransfer(FrozenModel):
    """One transfer."""

    operation_id: str = Field(min_length=1, max_length=128)
    """Operation that sent it; there is one transfer for each."""
    source: str
    """Venue that it left."""
    target: str
    """Venue that it goes to."""
    token: str
    """Token."""
    sent: Positive
    """What left the source, tokens, the fee inside."""
    arriving: Positive
    """What the target will get, tokens."""
    left_at: AwareDatetime
    """When it left."""
    transaction: str | None = None
    """Transaction hash, as soon as somebody knows it."""
    state: TransferState = TransferState.IN_FLIGHT
    """How far it is."""
    arrived_at: AwareDatetime | None = None
    """When it arrived; None before."""
    arrival_id: str | None = None
    """The target's own id of the arrival; None before."""

    @property
    def fee(self) -> float:
        """What the source charged, tokens."""
        return self.sent - self.arriving


class Arrival(FrozenModel):
    """What a target saw arrive."""

    id: str = Field(min_length=1)
    """The target's own id of it; the same arrival has the same id however often it is reported."""
    target: str
    """Venue that it arrived at."""
    token: str
    """Token."""
    amount: Positive
    """Tokens."""
    at: AwareDatetime
    """When it could be used."""
    transaction: str | None = None
    """Transaction hash where the target says it."""


@dataclass(frozen=True)
class TransferLedger:
    """All transfers, by operation. Immutable: every change is another ledger."""

    transfers: Mapping[str, PendingTransfer] = field(default_factory=dict)
    """operation_id -> transfer, in the sequence in which they left."""

    def depart(self, transfer: PendingTransfer) -> TransferLedger:
        """A transfer has left its source. The same operation again changes nothing.

        Raises:
            ComponentError: ENGINE-002, the operation is known with another amount, token or route; more arrives than left.
        """
        if transfer.arriving > transfer.sent:
            message = f"{transfer.operation_id}: {transfer.arriving!r} would arrive of {transfer.sent!r} that left"
            raise ComponentError("ENGINE-002", message, _COMPONENT)
        known = self.transfers.get(transfer.operation_id)
        if known is not None:
            same = ("source", "target", "token", "sent", "arriving")
            if any(getattr(known, name) != getattr(transfer, name) for name in same):
                message = f"{transfer.operation_id} left twice, and not alike"
                raise ComponentError("ENGINE-002", message, _COMPONENT)
            return self.identify(transfer.operation_id, transfer.transaction)
        fresh = transfer.model_copy(update={"state": TransferState.IN_FLIGHT, "arrived_at": None, "arrival_id": None})
        return TransferLedger({**self.transfers, transfer.operation_id: fresh})

    def identify(self, operation_id: str, transaction: str | None) -> TransferLedger:
        """The transaction of a transfer has become known.

        Raises:
            ComponentError: ENGINE-002, no such transfer, or it has another transaction.
        """
        known = self.transfers.get(operation_id)
        if known is None:
            raise ComponentError("ENGINE-002", f"{operation_id} is no transfer", _COMPONENT)
        if transaction is None or known.transaction == transaction:
            return self
        if known.transaction is not None:
            message = f"{operation_id} went by {known.transaction}, not by {transaction}"
            raise ComponentError("ENGINE-002", message, _COMPONENT)
        return self._with(known.model_copy(update={"transaction": transaction}))

    def match(self, arrival: Arrival) -> PendingTransfer | None:
        """The transfer in flight that an arrival ends; None where it is none of ours, or was counted before."""
        if any(one.arrival_id == arrival.id and one.target == arrival.target for one in self.transfers.values()):
            return None
        flying = [
            one
            for one in self.transfers.values()
            if one.state is TransferState.IN_FLIGHT and (one.target, one.token) == (arrival.target, arrival.token)
        ]
        if arrival.transaction is not None:
            by_transaction = [one for one in flying if one.transaction == arrival.transaction]
            if by_transaction:
                return by_transaction[0]
        alike = (one for one in flying if abs(one.arriving - arrival.amount) <= tolerance(arrival.token))
        known = arrival.transaction is not None
        return min(alike, key=lambda one: (known and one.transaction is not None, one.left_at), default=None)

    def arrive(self, arrival: Arrival) -> tuple[TransferLedger, PendingTransfer | None]:
        """Something has arrived; the ledger after, and the transfer that it ends: None where it ends none.

        Raises:
            ComponentError: ENGINE-002, it is the transaction of a transfer with another amount.
        """
        found = self.match(arrival)
        if found is None:
            return self, None
        if abs(found.arriving - arrival.amount) > tolerance(found.token):
            message = (
                f"{found.operation_id}: {arrival.amount!r} {found.token} arrived, {found.arriving!r} were on the way"
            )
            raise ComponentError("ENGINE-002", message, _COMPONENT)
        done = found.model_copy(
            update={
                "state": TransferState.ARRIVED,
                "arrived_at": max(arrival.at, found.left_at),
                "arrival_id": arrival.id,
                "transaction": found.transaction or arrival.transaction,
            }
        )
        return self._with(done), done

    def in_flight(self) -> dict[str, float]:
        """``transit:BaseToken:<token>`` -> what is on its way; tokens without any are left out."""
        parts: dict[str, list[float]] = {}
        for one in self.transfers.values():
            if one.state is TransferState.IN_FLIGHT:
                parts.setdefault(f"transit:BaseToken:{one.token}", []).append(one.arriving)
        return {key: math.fsum(amounts) for key, amounts in sorted(parts.items())}

    def overdue(self, now: datetime, patience_s: NonNegative) -> tuple[PendingTransfer, ...]:
        """Transfers in flight for longer than that, oldest first."""
        late = (
            one
            for one in self.transfers.values()
            if one.state is TransferState.IN_FLIGHT and (now - one.left_at).total_seconds() > patience_s
        )
        return tuple(sorted(late, key=lambda one: one.left_at))

    def forget_arrived(self, before: datetime) -> TransferLedger:
        """Without transfers that arrived before a moment: a ledger does not grow for ever."""
        kept = {name: one for name, one in self.transfers.items() if one.arrived_at is None or one.arrived_at >= before}
        return TransferLedger(kept)

    def _with(self, transfer: PendingTransfer) -> TransferLedger:
        return TransferLedger({**self.transfers, transfer.operation_id: transfer})
