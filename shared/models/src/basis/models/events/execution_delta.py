"""ExecutionDeltaEvent."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from basis.models.base import FrozenModel, NonNegative
from basis.models.events.base import DomainEvent
from basis.models.operations import OperationType, SettlementKind


class ExecutionDelta(FrozenModel):
    """One applied change."""

    instrument_key: str
    """Instrument."""
    delta_amount: float
    """Signed change that was applied to the portfolio."""
    source: str
    """``execution`` or the settlement that caused it."""
    price: float | None
    """Price of the instrument's asset in the share class at the tick."""
    fee: NonNegative
    """Fee inside delta_amount, in the instrument's token."""


class Posting(FrozenModel):
    """One leg of a double entry."""

    account: str
    """Instrument key, or a counter-account: ``market:<venue>``, ``fees:<venue>``, ``gas:ethereum``, ``slippage:<venue>``,
    ``funding:<venue>``, ``interest:<venue>``, ``rewards:<venue>``, ``liquidation:<venue>``, ``client``."""
    token: str
    """Unit of the amount: a token, or for a perp its symbol."""
    amount: float
    """Signed; positive into the account."""


class ExecutionDeltaEvent(DomainEvent):
    """What was applied to the portfolio, once per operation_id."""

    event_type: ClassVar[str] = "execution_deltas"
    title: ClassVar[str] = "What was applied to the portfolio"

    source_operation_id: str
    """Operation that caused it, or the id of the settlement."""
    operation_type: OperationType | SettlementKind
    """What the operation did, or what the venue did on its own."""
    deltas: tuple[ExecutionDelta, ...] = Field(min_length=1)
    """The changes."""
    postings: tuple[Posting, ...] = ()
    """The same as double entry: every change against a named counter-account; sums to zero for each token."""
