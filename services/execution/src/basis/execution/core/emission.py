"""What the tight loop did, as events. Pure but for the logger it fills."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from basis.execution.core.batches import group_status, is_confirmed
from basis.models.events import Slot, execution_key
from basis.models.operations import ExecutionStatus
from basis.runtime.timeline import iso

if TYPE_CHECKING:
    from collections.abc import Sequence

    from basis.execution.core.batches import Transaction
    from basis.models.execution import ExecutionHandshake
    from basis.models.order import Order
    from basis.runtime.domain_events import DomainEventLogger


class Pass(NamedTuple):
    """One pass of the tight loop over one transaction."""

    transaction: Transaction
    handshakes: tuple[ExecutionHandshake, ...]
    reconciled: bool | None
    """None where there was nothing to reconcile."""
    attempts: int
    """Comparisons made."""
    failure: str | None
    """Why the run must stop."""
    execution_ms: float
    reconciliation_ms: float


class Batch(NamedTuple):
    """The batch that a pass belongs to."""

    tick: int
    stamp: str
    batch_id: str
    total_orders: int
    max_retries: int


def emit_executions(done: Pass, batch: Batch, logger: DomainEventLogger) -> None:
    """Log an OperationExecutionEvent for each order, and the group's event where it is one."""
    pairs = zip(done.transaction.orders, done.handshakes, strict=True)
    for place, (order, handshake) in enumerate(pairs):
        key = execution_key(batch.tick, done.transaction.position + place, Slot.OPERATION)
        _emit_operation(key, order, handshake, done, batch, logger)
    if done.transaction.group_id is not None:
        _emit_group(done, batch, logger)


def _emit_operation(
    key: int, order: Order, handshake: ExecutionHandshake, done: Pass, batch: Batch, logger: DomainEventLogger
) -> None:
    confirmed = handshake.status is ExecutionStatus.CONFIRMED
    logger.log_operation_execution(
        key,
        batch.stamp,
        operation_id=order.operation_id,
        order_id=order.operation_id,
        operation_type=order.operation,
        venue=order.venue,
        status=handshake.status,
        source_venue=order.source_venue,
        target_venue=order.target_venue,
        source_token=order.source_token,
        target_token=order.target_token,
        operation_details=handshake.execution_details,
        position_deltas=[
            {"instrument_key": key, "delta": delta, "expected": order.expected_deltas.get(key, 0.0)}
            for key, delta in handshake.actual_deltas.items()
        ],
        executed_amount=order.amount if confirmed else 0.0,
        fee_amount=handshake.fee_amount,
        fee_currency=handshake.fee_currency,
        error_code=handshake.error_code,
        error_message=handshake.error_message,
        atomic_group_id=order.atomic_group_id,
        sequence_in_group=order.sequence_in_group,
        submitted_at=iso(handshake.submitted_at),
        executed_at=iso(handshake.executed_at) if handshake.executed_at is not None else None,
        execution_time_ms=done.execution_ms,
        venue_metadata=handshake.venue_metadata,
        simulated=handshake.simulated,
    )


def _emit_group(done: Pass, batch: Batch, logger: DomainEventLogger) -> None:
    status = group_status(done.handshakes)
    logger.log_atomic_operation_group(
        execution_key(batch.tick, done.transaction.position, Slot.GROUP),
        batch.stamp,
        atomic_group_id=done.transaction.group_id,
        total_operations=len(done.transaction.orders),
        operations=[
            {
                "operation_id": order.operation_id,
                "operation_type": order.operation,
                "venue": order.venue,
                "status": handshake.status,
                "sequence_in_group": order.sequence_in_group,
            }
            for order, handshake in zip(done.transaction.orders, done.handshakes, strict=True)
        ],
        group_status=status,
        total_gas_fees=sum(handshake.fee_amount for handshake in done.handshakes),
        execution_time_ms=done.execution_ms,
        rollback_triggered=status == "rolled_back",
        rollback_reason=_reason(done.handshakes),
    )


def emit_tight_loop(done: Pass, batch: Batch, logger: DomainEventLogger) -> None:
    """Log a TightLoopExecutionEvent for each order of the transaction."""
    success = is_confirmed(done.handshakes)
    for place, (order, handshake) in enumerate(zip(done.transaction.orders, done.handshakes, strict=True)):
        number = done.transaction.position + place
        logger.log_tight_loop_execution(
            execution_key(batch.tick, number, Slot.TIGHT_LOOP),
            batch.stamp,
            batch_id=batch.batch_id,
            order_number=number + 1,
            total_orders=batch.total_orders,
            order_id=order.operation_id,
            operation_id=order.operation_id,
            execution_success=success,
            execution_status=handshake.status,
            reconciliation_success=done.reconciled,
            reconciliation_attempts=done.attempts,
            retry_attempts=max(done.attempts - 1, 0),
            max_retries=batch.max_retries,
            execution_time_ms=done.execution_ms,
            reconciliation_time_ms=done.reconciliation_ms,
            total_time_ms=done.execution_ms + done.reconciliation_ms,
            system_failure_triggered=done.failure is not None,
            failure_reason=done.failure or _reason(done.handshakes),
        )


def _reason(handshakes: Sequence[ExecutionHandshake]) -> str | None:
    return next((handshake.error_message for handshake in handshakes if handshake.error_message), None)
