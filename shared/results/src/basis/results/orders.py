"""Orders of a run page by page, and one order with everything about it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from basis.models.errors import InputError
from basis.models.events.base import TICK_SPAN
from basis.results.core.timeline import joined
from basis.results.events import between
from basis.results.lines import EventFile, order_of
from basis.results.models import OrderDetail, OrderPage

if TYPE_CHECKING:
    from basis.models.messages import RunMetadata
    from basis.results.directories import RunDir
    from basis.results.models import OrderItem

MAX_LIMIT: Final = 500
"""Orders of one page."""
_OF_AN_OPERATION: Final = (
    "orders",
    "operation_executions",
    "execution_deltas",
    "positions",
    "reconciliations",
    "tight_loop_executions",
    "atomic_operation_groups",
)
_COMPONENT = "orders"


def page(run: RunDir, metadata: RunMetadata, after: int = -1, limit: int = 100) -> OrderPage:
    """Orders by order key.

    Args:
        run: directory.
        metadata: of the run.
        after: order key of the OrderEvent after which the page begins.
        limit: most orders.

    Raises:
        ComponentError: LOG-004, a line is no event.
    """
    with EventFile(run.event_file("orders")) as file:
        lines: list[dict[str, Any]] = []
        more = False
        for line in file.lines(file.offset_of(after + 1)):
            if len(lines) >= limit:
                more = True
                break
            lines.append(file.parse(line))
        total = metadata.counts.get("orders", 0) if metadata.sealed_at else count_lines(file)
    items = _joined(run, lines)
    return OrderPage(items=items, next=items[-1].order if more else None, total=total)


def detail(run: RunDir, operation_id: str) -> OrderDetail:
    """One order, every event that carries its operation, and its atomic group.

    Raises:
        InputError: RUN-001, no such operation.
        ComponentError: LOG-004, a line is no event.
    """
    order = _find(run, operation_id)
    (item,) = _joined(run, [order])
    first = item.tick * TICK_SPAN
    wanted = operation_id.encode()
    events: list[dict[str, Any]] = []
    for name in _OF_AN_OPERATION:
        with EventFile(run.event_file(name)) as file:
            for line in file.lines(file.offset_of(first), file.offset_of(first + TICK_SPAN)):
                if _is_about(line, wanted):
                    events.append({"type": name, "order": order_of(line, file.path), "event": file.parse(line)})
    events.sort(key=lambda event: int(event["order"]))
    group = None
    if item.atomic_group_id is not None:
        groups = between(run, "atomic_operation_groups", first, first + TICK_SPAN)
        group = next((event for event in groups if event["atomic_group_id"] == item.atomic_group_id), None)
    return OrderDetail(**item.model_dump(), events=events, group=group)


def _is_about(line: bytes, operation_id: bytes) -> bool:
    return b'"' + operation_id + b'"' in line


def _find(run: RunDir, operation_id: str) -> dict[str, Any]:
    wanted = operation_id.encode()
    with EventFile(run.event_file("orders")) as file:
        for line in file.lines():
            if _is_about(line, wanted) and (event := file.parse(line))["operation_id"] == operation_id:
                return event
    raise InputError("RUN-001", f"run {run.correlation_id} has no order {operation_id!r:.100}", _COMPONENT)


def _joined(run: RunDir, orders: list[dict[str, Any]]) -> list[OrderItem]:
    if not orders:
        return []
    first = orders[0]["order"] // TICK_SPAN * TICK_SPAN
    end = (orders[-1]["order"] // TICK_SPAN + 1) * TICK_SPAN
    executions = between(run, "operation_executions", first, end)
    return joined(orders, executions, between(run, "reconciliations", first, end))


def count_lines(file: EventFile) -> int:
    """Lines of a file."""
    return sum(block.count(b"\n") for block in file.blocks())
