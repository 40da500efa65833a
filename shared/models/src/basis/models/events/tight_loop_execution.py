"""TightLoopExecutionEvent."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from basis.models.base import NonNegative
from basis.models.events.base import DomainEvent
from basis.models.operations import ExecutionStatus


class TightLoopExecutionEvent(DomainEvent):
    """One pass of the tight loop: order, venue, handshake, reconcile."""

    event_type: ClassVar[str] = "tight_loop_executions"
    title: ClassVar[str] = "One pass of the tight loop"

    batch_id: str
    """All orders of one tick."""
    order_number: int = Field(ge=1)
    """Place of the order in the batch, from 1."""
    total_orders: int = Field(ge=1)
    """Orders in the batch."""
    order_id: str
    """Identity of the order."""
    operation_id: str
    """Identity of the operation."""
    execution_success: bool
    """True where the venue confirmed."""
    execution_status: ExecutionStatus
    """Outcome."""
    reconciliation_success: bool | None
    """True where the positions agree; None where there was nothing to reconcile."""
    reconciliation_attempts: int = Field(ge=0)
    """Comparisons made."""
    retry_attempts: int = Field(ge=0)
    """Re-queries made."""
    max_retries: int = Field(ge=0)
    """Re-queries allowed."""
    execution_time_ms: NonNegative
    """Wall-clock duration of the venue's answer, ms; not part of the canonical log."""
    reconciliation_time_ms: NonNegative
    """Wall-clock duration of the reconciliation, ms; not part of the canonical log."""
    total_time_ms: NonNegative
    """Wall-clock duration of the pass, ms; not part of the canonical log."""
    system_failure_triggered: bool
    """True where the run was stopped with EXEC-004."""
    failure_reason: str | None
    """Why it failed."""
