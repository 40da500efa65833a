"""AtomicOperationGroupEvent."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from basis.models.base import FrozenModel, NonNegative
from basis.models.events.base import DomainEvent
from basis.models.operations import ExecutionStatus, OperationType


class GroupStep(FrozenModel):
    """One step of an atomic group."""

    operation_id: str
    """Identity of the operation."""
    operation_type: OperationType
    """What it does."""
    venue: str
    """Venue."""
    status: ExecutionStatus
    """Outcome; every step of a failed group reads rolled_back."""
    sequence_in_group: int = Field(ge=0)
    """Place in the group, from 0."""


class AtomicOperationGroupEvent(DomainEvent):
    """What became of an all-or-nothing group."""

    event_type: ClassVar[str] = "atomic_operation_groups"
    title: ClassVar[str] = "What became of an all-or-nothing group"

    atomic_group_id: str
    """Identity of the group."""
    total_operations: int = Field(ge=1)
    """Steps of the group."""
    operations: tuple[GroupStep, ...]
    """The steps, in order."""
    group_status: Literal["completed", "partial", "failed", "rolled_back"]
    """Outcome of the whole; partial is impossible on chain and stops the run."""
    total_gas_fees: NonNegative
    """Gas of the transaction, in the gas token."""
    execution_time_ms: NonNegative
    """Wall-clock duration, ms; not part of the canonical log."""
    rollback_triggered: bool
    """True where the transaction was undone."""
    rollback_reason: str | None
    """Step and reason that undid it."""
