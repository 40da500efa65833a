"""ExecutionDeltaEvent."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from basis.models.base import FrozenModel, NonNegative
from basis.models.events.base import DomainEvent
from basis.models.operations import OperationType


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


class ExecutionDeltaEvent(DomainEvent):
    """What was applied to the portfolio, once per operation_id."""

    event_type: ClassVar[str] = "execution_deltas"
    title: ClassVar[str] = "What was applied to the portfolio"

    source_operation_id: str
    """Operation that caused it."""
    operation_type: OperationType
    """What the operation did."""
    deltas: tuple[ExecutionDelta, ...] = Field(min_length=1)
    """The changes."""
