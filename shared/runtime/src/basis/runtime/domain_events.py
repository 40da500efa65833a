"""DomainEventLogger: the producing side of the event log, one ``log_*`` method for each event type.

Lines are built as plain dicts and written by orjson (a pydantic model a line would cost ten times as much); the first
line of each type in each batch, and every line of the rare types, is validated against its model.

A line begins with what differs between two equal runs (correlation_id, pid, real_utc_time), then ``order`` and
``timestamp``: the canonical log is a cut, not a parse.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass
from datetime import UTC
from itertools import accumulate
from typing import TYPE_CHECKING, Any

import orjson
from pydantic import ValidationError

from basis.models.errors import ComponentError
from basis.models.events import EVENT_MODELS
from basis.runtime import bus, codec, column_lines, packing, subjects
from basis.runtime.column_lines import Each

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import datetime

EVERY_TICK = frozenset({"positions", "exposures", "risk_assessments", "pnl_calculations", "strategy_decisions"})
"""Event types of every tick: sampled, not validated line by line."""


@dataclass(frozen=True, slots=True)
class EventBatch:
    """Lines of one event type that belong together, in order."""

    event_type: str
    payload: bytes
    """NDJSON, each line complete."""
    first_order: int
    last_order: int
    count: int


def warm(*event_types: str) -> None:
    """Build the models of event types now, rather than within the first window of a run."""
    codec.warm(*(EVENT_MODELS[name] for name in event_types))


class DomainEventLogger:
    """Collects the event lines of one run in one handler; :meth:`drain` hands them over.

    Args:
        correlation_id: run.
        pid: process id of the run's engine at its start.
        now: wall clock; read once, all lines of one collection carry it.
    """

    def __init__(self, correlation_id: str, pid: int, now: datetime) -> None:
        # microseconds even where they are 0: the length of lines decides where messages are cut, and must not vary
        stamp = now.astimezone(UTC).isoformat(timespec="microseconds")
        head = {"correlation_id": correlation_id, "pid": pid, "real_utc_time": stamp}
        self._head = orjson.dumps(head)[:-1] + b","
        self._correlation_id = correlation_id
        self._lines: dict[str, list[bytes]] = {}
        self._unsorted: set[str] = set()
        self._texts = column_lines.Texts()

    def _add(self, event_type: str, order: int, timestamp: str, fields: dict[str, Any]) -> None:
        body = orjson.dumps({"order": order, "timestamp": timestamp, **fields})
        lines = self._lines.get(event_type)
        if lines is None:
            lines = self._lines[event_type] = []
        line = self._head + body[1:]
        if not lines or event_type not in EVERY_TICK:
            _validate(event_type, line)
        lines.append(line)

    def write_columns(
        self,
        event_type: str,
        orders: Sequence[int],
        stamps: Sequence[str],
        fields: Mapping[str, Any],
        *,
        in_sequence: bool = True,
    ) -> None:
        """Log many events from columns: the same lines as one ``log_*`` call for each, at a tenth of the cost.

        Args:
            event_type: type of all of them.
            orders: order key of each, ascending.
            stamps: ISO 8601 time of each.
            fields: the event's fields, nested as in the event; a float array holds one value for each, an ``Each`` any
                value for each, a ``Chosen`` one of a few for each, all else is the same in all of them.
            in_sequence: False where lines of the type that come later belong between these.

        Raises:
            ComponentError: LOG-001, an array holds NaN or infinity, or the first line does not fit the event's model.
        """
        if not orders:
            return
        shape: dict[str, Any] = {"order": Each(orders), "timestamp": Each(stamps), **fields}
        lines = column_lines.lines(self._head, shape, len(orders), event_type, self._texts)
        _validate(event_type, lines[0])
        self._lines.setdefault(event_type, []).extend(lines)
        if not in_sequence:
            self._unsorted.add(event_type)

    def log_position_snapshot(
        self,
        order: int,
        timestamp: str,
        *,
        positions: Mapping[str, float],
        total_value_usd: float,
        position_type: str,
        trigger_source: str,
    ) -> None:
        """Positions; see :class:`basis.models.events.PositionSnapshot`."""
        self._add(
            "positions",
            order,
            timestamp,
            {
                "positions": positions,
                "total_value_usd": total_value_usd,
                "position_type": position_type,
                "trigger_source": trigger_source,
            },
        )

    def log_exposure_snapshot(
        self,
        order: int,
        timestamp: str,
        *,
        net_delta_usd: float,
        asset_exposures: Mapping[str, Mapping[str, float]],
        total_value_usd: float,
        share_class_value: float,
    ) -> None:
        """Exposures; see :class:`basis.models.events.ExposureSnapshot`."""
        self._add(
            "exposures",
            order,
            timestamp,
            {
                "net_delta_usd": net_delta_usd,
                "asset_exposures": asset_exposures,
                "total_value_usd": total_value_usd,
                "share_class_value": share_class_value,
            },
        )

    def log_risk_assessment(
        self,
        order: int,
        timestamp: str,
        *,
        health_factor: float | None,
        ltv_ratio: float | None,
        liquidation_threshold: float | None,
        margin_usage: float | None,
        risk_level: str,
        warnings: Sequence[str],
        breaches: Sequence[str],
    ) -> None:
        """Risk; see :class:`basis.models.events.RiskAssessment`."""
        self._add(
            "risk_assessments",
            order,
            timestamp,
            {
                "health_factor": health_factor,
                "ltv_ratio": ltv_ratio,
                "liquidation_threshold": liquidation_threshold,
                "margin_usage": margin_usage,
                "risk_level": risk_level,
                "warnings": warnings,
                "breaches": breaches,
            },
        )

    def log_pnl_calculation(
        self,
        order: int,
        timestamp: str,
        *,
        realized_pnl: float,
        unrealized_pnl: float,
        total_pnl: float,
        fees_paid: float,
        funding_received: float,
        pnl_by_venue: Mapping[str, float],
        pnl_by_asset: Mapping[str, float],
        attribution: Mapping[str, float],
        attribution_gap: float,
    ) -> None:
        """PnL; see :class:`basis.models.events.PnLCalculation`."""
        self._add(
            "pnl_calculations",
            order,
            timestamp,
            {
                "realized_pnl": realized_pnl,
                "unrealized_pnl": unrealized_pnl,
                "total_pnl": total_pnl,
                "fees_paid": fees_paid,
                "funding_received": funding_received,
                "pnl_by_venue": pnl_by_venue,
                "pnl_by_asset": pnl_by_asset,
                "attribution": attribution,
                "attribution_gap": attribution_gap,
            },
        )

    def log_strategy_decision(
        self,
        order: int,
        timestamp: str,
        *,
        decision_type: str,
        trigger_source: str,
        orders_generated: int,
        action_taken: str,
        reasoning: str,
        market_conditions: Mapping[str, Any],
        portfolio_state: Mapping[str, Any],
        risk_level: str,
        constraints_violated: Sequence[str],
    ) -> None:
        """Decision; see :class:`basis.models.events.StrategyDecision`."""
        self._add(
            "strategy_decisions",
            order,
            timestamp,
            {
                "decision_type": decision_type,
                "trigger_source": trigger_source,
                "orders_generated": orders_generated,
                "action_taken": action_taken,
                "reasoning": reasoning,
                "market_conditions": market_conditions,
                "portfolio_state": portfolio_state,
                "risk_level": risk_level,
                "constraints_violated": constraints_violated,
            },
        )

    def log_order(self, order: int, timestamp: str, **fields: Any) -> None:
        """Order; fields of :class:`basis.models.events.OrderEvent`."""
        self._add("orders", order, timestamp, fields)

    def log_operation_execution(self, order: int, timestamp: str, **fields: Any) -> None:
        """Execution; fields of :class:`basis.models.events.OperationExecutionEvent`."""
        self._add("operation_executions", order, timestamp, fields)

    def log_atomic_operation_group(self, order: int, timestamp: str, **fields: Any) -> None:
        """Atomic group; fields of :class:`basis.models.events.AtomicOperationGroupEvent`."""
        self._add("atomic_operation_groups", order, timestamp, fields)

    def log_execution_delta(self, order: int, timestamp: str, **fields: Any) -> None:
        """Applied deltas; fields of :class:`basis.models.events.ExecutionDeltaEvent`."""
        self._add("execution_deltas", order, timestamp, fields)

    def log_reconciliation(self, order: int, timestamp: str, **fields: Any) -> None:
        """Reconciliation; fields of :class:`basis.models.events.ReconciliationEvent`."""
        self._add("reconciliations", order, timestamp, fields)

    def log_tight_loop_execution(self, order: int, timestamp: str, **fields: Any) -> None:
        """Tight loop; fields of :class:`basis.models.events.TightLoopExecutionEvent`."""
        self._add("tight_loop_executions", order, timestamp, fields)

    def log_event_logging_operation(self, order: int, timestamp: str, **fields: Any) -> None:
        """Event-logger; fields of :class:`basis.models.events.EventLoggingOperationEvent`."""
        self._add("event_logger_operations", order, timestamp, fields)

    def take(self) -> dict[str, tuple[bytes, ...]]:
        """All lines so far, by event type, for another logger to publish (:meth:`absorb`); empties this one."""
        lines, self._lines = self._lines, {}
        return {event_type: tuple(found) for event_type, found in lines.items()}

    def absorb(self, lines: Mapping[str, Sequence[bytes]]) -> None:
        """Take over lines of another logger; :meth:`drain` sorts each type by order key."""
        for event_type, found in lines.items():
            self._lines.setdefault(event_type, []).extend(found)
            self._unsorted.add(event_type)

    def drain(self) -> list[EventBatch]:
        """All lines so far, by event type, split into messages of about ``subjects.EVENT_MESSAGE_BYTES``; empties the logger.

        The split depends on the lines alone, so a repeat gives the same messages under the same ids.
        """
        for event_type in self._unsorted:
            self._lines[event_type].sort(key=_order_of)
        batches = [batch for event_type, lines in self._lines.items() for batch in _split(event_type, lines)]
        self._lines = {}
        self._unsorted = set()
        return batches

    def stream_messages(self, batches: Iterable[EventBatch]) -> list[bus.StreamMessage]:
        """Batches as messages of the event stream; ids are a pure function of (run, type, first order, last order)."""
        found = []
        for batch in batches:
            payload, encoding = packing.packed(batch.payload)
            name = f"{self._correlation_id}.{batch.event_type}.{batch.first_order}.{batch.last_order}"
            headers = {
                subjects.HEADER_MSG_ID: name,
                subjects.HEADER_ORDERS: f"{batch.first_order}:{batch.last_order}:{batch.count}",
            }
            found.append(
                bus.StreamMessage(subjects.events(self._correlation_id, batch.event_type), payload, headers | encoding)
            )
        return found


async def publish(target: bus.Bus, logger: DomainEventLogger) -> dict[str, int]:
    """Drain a logger into the event stream; returns event type -> count once JetStream has them all."""
    batches = logger.drain()
    await target.publish_stream(logger.stream_messages(batches))
    counts: dict[str, int] = {}
    for batch in batches:
        counts[batch.event_type] = counts.get(batch.event_type, 0) + batch.count
    return counts


def _order_of(line: bytes) -> int:
    start = line.index(b'"order":') + 8
    return int(line[start : line.index(b",", start)])


def _split(event_type: str, lines: list[bytes]) -> Iterable[EventBatch]:
    """Cut lines into messages of at most EVENT_MESSAGE_BYTES; a longer line is a message of its own."""
    ends = list(accumulate(map(len, lines)))
    begin, sent = 0, 0
    while begin < len(lines):
        place = max(bisect_right(ends, sent + subjects.EVENT_MESSAGE_BYTES, lo=begin), begin + 1)
        if ends[place - 1] - sent >= subjects.MAX_MESSAGE_BYTES:
            raise ComponentError(
                "LOG-002", f"one {event_type} event of {len(lines[begin])} bytes", "domain_event_logger"
            )
        yield _batch(event_type, lines[begin:place])
        begin, sent = place, ends[place - 1]


def _batch(event_type: str, lines: list[bytes]) -> EventBatch:
    return EventBatch(event_type, b"\n".join((*lines, b"")), _order_of(lines[0]), _order_of(lines[-1]), len(lines))


def _validate(event_type: str, line: bytes) -> None:
    try:
        EVENT_MODELS[event_type].model_validate_json(line)
    except ValidationError as error:
        raise ComponentError("LOG-001", f"{event_type} event is malformed: {error}", "domain_event_logger") from error
