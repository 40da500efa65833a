"""Orders with what became of them: order, handshake, comparison and atomic group joined. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from basis.models.events.base import TICK_SPAN
from basis.results.models import OrderItem, ReconciliationShort

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence


def joined(
    orders: Iterable[Mapping[str, Any]],
    executions: Iterable[Mapping[str, Any]],
    reconciliations: Iterable[Mapping[str, Any]],
) -> list[OrderItem]:
    """One item an order.

    Args:
        orders: OrderEvents.
        executions: OperationExecutionEvents of their ticks.
        reconciliations: ReconciliationEvents of their ticks; one of an atomic group counts for each of its orders.
    """
    done = {event["operation_id"]: event for event in executions}
    compared: dict[str, list[Mapping[str, Any]]] = {}
    for event in reconciliations:
        compared.setdefault(event["trigger_source"], []).append(event)
    items = []
    for order in orders:
        group = order["atomic_group_id"]
        checks = compared.get(order["operation_id"]) or (compared.get(group) if group else None) or []
        items.append(_item(order, done.get(order["operation_id"]), checks))
    return items


def _item(
    order: Mapping[str, Any], execution: Mapping[str, Any] | None, checks: Sequence[Mapping[str, Any]]
) -> OrderItem:
    expected = dict(order["expected_deltas"])
    actual = {delta["instrument_key"]: delta["delta"] for delta in execution["position_deltas"]} if execution else {}
    confirmed = execution is not None and execution["status"] == "confirmed"
    keys = dict.fromkeys([*expected, *actual]) if confirmed else {}
    found = execution or {}
    return OrderItem(
        order=order["order"],
        tick=order["order"] // TICK_SPAN,
        timestamp=order["timestamp"],
        order_id=order["order_id"],
        operation_id=order["operation_id"],
        operation_type=order["operation_type"],
        venue=order["venue"],
        source_venue=order["source_venue"],
        target_venue=order["target_venue"],
        source_token=order["source_token"],
        target_token=order["target_token"],
        amount=order["amount"],
        intent=order["strategy_intent"],
        status=found.get("status"),
        expected_deltas=expected,
        actual_deltas=actual,
        difference={key: actual.get(key, 0.0) - expected.get(key, 0.0) for key in keys},
        executed_amount=found.get("executed_amount"),
        fee_amount=found.get("fee_amount"),
        fee_currency=found.get("fee_currency"),
        error_code=found.get("error_code"),
        error_message=found.get("error_message"),
        atomic_group_id=order["atomic_group_id"],
        sequence_in_group=order["sequence_in_group"],
        reconciliation=_short(checks),
        execution_details=found.get("operation_details", {}),
    )


def _short(checks: Sequence[Mapping[str, Any]]) -> ReconciliationShort | None:
    if not checks:
        return None
    last = max(checks, key=lambda event: int(event["order"]))
    return ReconciliationShort(success=last["success"], attempts=len(checks), mismatches=list(last["mismatches"]))
