"""OperationExecutionEvent."""

from __future__ import annotations

from typing import ClassVar

from pydantic import AwareDatetime, Field, JsonValue

from basis.models.base import FrozenModel, NonNegative
from basis.models.events.base import DomainEvent
from basis.models.operations import ExecutionStatus, OperationType


class PositionDelta(FrozenModel):
    """Change of one instrument by one operation."""

    instrument_key: str
    """Instrument."""
    delta: float
    """Signed change of the venue's ledger, net of fees."""
    expected: float
    """What the order expected."""


class OperationExecutionEvent(DomainEvent):
    """What the venue did."""

    event_type: ClassVar[str] = "operation_executions"
    title: ClassVar[str] = "What the venue did"

    operation_id: str
    """Identity of the operation."""
    order_id: str
    """Identity of the order."""
    operation_type: OperationType
    """What was to be done."""
    venue: str
    """Venue that executed it."""
    status: ExecutionStatus
    """Outcome."""
    source_venue: str | None
    """Venue that the source token left."""
    target_venue: str | None
    """Venue that the target token arrived at."""
    source_token: str | None
    """Token given."""
    target_token: str | None
    """Token received."""
    operation_details: dict[str, JsonValue]
    """What it executed with: index, price, gas units."""
    position_deltas: tuple[PositionDelta, ...]
    """Change of each instrument; empty unless confirmed."""
    executed_amount: NonNegative
    """Part of the order's amount that was executed; 0 unless confirmed."""
    fee_amount: NonNegative
    """Fee and gas, in fee_currency."""
    fee_currency: str | None
    """Token that the fee was paid in."""
    error_code: str | None
    """Code of the error registry where it failed."""
    error_message: str | None
    """What the venue said."""
    atomic_group_id: str | None
    """Group that executed as one transaction."""
    sequence_in_group: int | None = Field(ge=0)
    """Place in the group, from 0."""
    submitted_at: AwareDatetime
    """When it was sent."""
    executed_at: AwareDatetime | None
    """When it took effect."""
    execution_time_ms: NonNegative
    """Wall-clock duration of the venue's answer, ms; not part of the canonical log."""
    venue_metadata: dict[str, JsonValue]
    """Venue's own ids."""
    simulated: bool
    """True where no real venue was asked."""
