"""DomainEventLogger: lines that validate, batches that are a pure function of the lines."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import orjson
import pytest

from basis.models.errors import ComponentError
from basis.models.events import EVENT_MODELS
from basis.runtime import subjects
from basis.runtime.domain_events import EVERY_TICK, DomainEventLogger

CID = "0123456789abcdef0123456789abcdef"
STAMP = "2024-05-12T00:00:00+00:00"
NOW = datetime(2024, 5, 12, 1, 2, 3, 456789, tzinfo=UTC)


def logger() -> DomainEventLogger:
    return DomainEventLogger(CID, 7, NOW)


def log_position(target: DomainEventLogger, order: int, **changed: Any) -> None:
    fields: dict[str, Any] = {
        "positions": {"wallet:BaseToken:USDT": 1.5},
        "total_value_usd": 1.5,
        "position_type": "simulated",
        "trigger_source": "full_loop",
    }
    target.log_position_snapshot(order, STAMP, **(fields | changed))


def log_operation(target: DomainEventLogger, order: int, **changed: Any) -> None:
    fields: dict[str, Any] = {
        "operation_type": "seal",
        "event_type": "positions",
        "success": True,
        "events_count": 1,
        "file_path": "events/positions.jsonl",
        "error_code": None,
        "error_message": None,
        "duration_ms": 0.5,
    }
    target.log_event_logging_operation(order, STAMP, **(fields | changed))


def test_every_event_type_has_its_method() -> None:
    methods = [name for name in dir(DomainEventLogger) if name.startswith("log_")]
    assert len(methods) == len(EVENT_MODELS)
    assert EVENT_MODELS.keys() >= EVERY_TICK


def test_a_line_begins_with_what_differs_between_equal_runs() -> None:
    target = logger()
    log_position(target, 42)
    (batch,) = target.drain()
    head = f'{{"correlation_id":"{CID}","pid":7,"real_utc_time":"2024-05-12T01:02:03.456789+00:00","order":42,'
    assert batch.payload.startswith(head.encode())
    assert batch.payload.endswith(b"}\n")
    event = EVENT_MODELS["positions"].model_validate_json(batch.payload)
    assert event.order == 42


def test_batches_and_messages() -> None:
    target = logger()
    for order in (1, 5, 9):
        log_position(target, order)
    log_operation(target, 11)
    batches = target.drain()
    assert [(one.event_type, one.first_order, one.last_order, one.count) for one in batches] == [
        ("positions", 1, 9, 3),
        ("event_logger_operations", 11, 11, 1),
    ]
    first, second = target.stream_messages(batches)
    assert first.subject == f"basis.{CID}.events.positions"
    assert first.headers == {subjects.HEADER_MSG_ID: f"{CID}.positions.1.9", subjects.HEADER_ORDERS: "1:9:3"}
    assert second.subject == f"basis.{CID}.events.event_logger_operations"
    assert target.drain() == [], "draining empties"


def test_large_batches_are_split_alike_each_time() -> None:
    def drained() -> list[Any]:
        target = logger()
        for order in range(3000):
            log_position(target, order)
        return target.drain()

    batches = drained()
    assert batches == drained()
    assert len(batches) > 1
    assert all(len(batch.payload) <= subjects.EVENT_MESSAGE_BYTES + 1000 for batch in batches)
    orders = [orjson.loads(line)["order"] for batch in batches for line in batch.payload.splitlines()]
    assert orders == list(range(3000))
    assert [batch.first_order for batch in batches[1:]] == [batch.last_order + 1 for batch in batches[:-1]]


def test_malformed_events_are_refused() -> None:
    with pytest.raises(ComponentError) as raised:
        log_operation(logger(), 1, events_count=-1)
    assert raised.value.error_code == "LOG-001"
    with pytest.raises(ComponentError):
        log_operation(logger(), 1, surprise=1)
    with pytest.raises(ComponentError):
        log_position(logger(), 1, total_value_usd=float("nan"))


def test_an_event_too_large_for_a_message_is_refused() -> None:
    target = logger()
    log_position(target, 1, trigger_source="x" * subjects.MAX_MESSAGE_BYTES)
    with pytest.raises(ComponentError) as raised:
        target.drain()
    assert raised.value.error_code == "LOG-002"
