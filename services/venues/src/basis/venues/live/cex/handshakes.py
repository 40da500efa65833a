"""Handshakes of a live exchange. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from basis.models.execution import ExecutionHandshake
from basis.models.operations import ExecutionStatus
from basis.venues.live.errors import UnknownOutcome

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from pydantic import JsonValue

    from basis.models.order import Order
    from basis.venues.live.cex.fills import Outcome
    from basis.venues.live.errors import LiveVenueError


def confirmed(
    order: Order, found: Outcome, submitted: datetime, now: datetime, metadata: Mapping[str, JsonValue]
) -> ExecutionHandshake:
    """It happened; ``executed_at`` is ours, the exchange's own time is in the metadata."""
    return ExecutionHandshake(
        operation_id=order.operation_id,
        status=ExecutionStatus.CONFIRMED,
        actual_deltas=found.deltas,
        execution_details=found.details,
        fee_amount=found.fee_amount,
        fee_currency=found.fee_currency,
        costs=found.costs,
        submitted_at=submitted,
        executed_at=max(now, submitted),
        venue_metadata={**metadata, "executed_ms": found.at_ms},
        simulated=False,
    )


def failed(order: Order, code: str, message: str, submitted: datetime) -> ExecutionHandshake:
    """The exchange proved that it did not happen, or it was never sent."""
    return ExecutionHandshake(
        operation_id=order.operation_id,
        status=ExecutionStatus.FAILED,
        error_code=code,
        error_message=message,
        submitted_at=submitted,
        simulated=False,
    )


def pending(order: Order, message: str, submitted: datetime, metadata: Mapping[str, JsonValue]) -> ExecutionHandshake:
    """It may have happened: to be resolved."""
    return ExecutionHandshake(
        operation_id=order.operation_id,
        status=ExecutionStatus.PENDING,
        error_code="VEN-010",
        error_message=message,
        submitted_at=submitted,
        venue_metadata=dict(metadata),
        simulated=False,
    )


def ended(
    order: Order, failure: LiveVenueError, submitted: datetime, metadata: Mapping[str, JsonValue]
) -> ExecutionHandshake:
    """What a failure to send proves."""
    if isinstance(failure, UnknownOutcome):
        return pending(order, failure.message, submitted, metadata)
    return failed(order, failure.error_code, failure.message, submitted)
