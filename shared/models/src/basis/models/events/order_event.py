"""OrderEvent."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from basis.models.base import Positive
from basis.models.events.base import DomainEvent
from basis.models.operations import OperationType, StrategyIntent


class OrderEvent(DomainEvent):
    """What the strategy ordered."""

    event_type: ClassVar[str] = "orders"
    title: ClassVar[str] = "What the strategy ordered"

    order_id: str
    """Identity of the order; one order is one operation, so it equals operation_id."""
    operation_id: str
    """Identity of the operation at the venue."""
    operation_type: OperationType
    """What to do."""
    venue: str
    """Venue that executes it."""
    source_venue: str | None
    """Venue that the source token leaves."""
    target_venue: str | None
    """Venue that the target token arrives at."""
    source_token: str | None
    """Token given."""
    target_token: str | None
    """Token received."""
    amount: Positive
    """Size, as in the Order."""
    expected_deltas: dict[str, float]
    """Instrument key -> expected signed change."""
    strategy_intent: StrategyIntent
    """Why it was ordered."""
    strategy_id: str
    """Mode that ordered it."""
    atomic_group_id: str | None
    """Group that executes as one transaction."""
    sequence_in_group: int | None = Field(ge=0)
    """Place in the group, from 0."""
