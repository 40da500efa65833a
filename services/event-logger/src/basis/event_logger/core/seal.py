"""What a seal says: the event-logger's own events, and the final ``run_metadata.json``."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from basis.event_logger.core.plan import event_path
from basis.models.events import EventLoggingOperationEvent, Phase, order_key
from basis.models.messages import FileSeal, RunEnd, RunMetadata, RunSealed
from basis.runtime.domain_events import DomainEventLogger
from basis.runtime.timeline import iso

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

OPERATIONS = EventLoggingOperationEvent.event_type
"""Event type of the event-logger's own events."""


class Inspected(NamedTuple):
    """A file as it is on disk."""

    seal: FileSeal
    duration_ms: float
    """Time that reading it took, ms."""


def differences(end: RunEnd, files: Mapping[str, Inspected]) -> dict[str, str]:
    """Event types whose files do not hold what the run says that it published -> in words."""
    types = sorted({*end.counts, *_types(files)} - {OPERATIONS})
    found = {name: _count(files, name) for name in types}
    return {
        name: f"{name}: {found[name]} events in the file, {end.counts.get(name, 0)} published"
        for name in types
        if found[name] != end.counts.get(name, 0)
    }


def operation_lines(end: RunEnd, files: Mapping[str, Inspected], now: datetime) -> bytes:
    """One EventLoggingOperationEvent line for each event type that was written or should have been."""
    logger = DomainEventLogger(end.correlation_id, end.pid, now)
    wrong = differences(end, files)
    written = {name for name, count in end.counts.items() if count} | _types(files)
    for place, name in enumerate(sorted(written - {OPERATIONS})):
        path = event_path(name)
        logger.log_event_logging_operation(
            order_key(end.last_tick, Phase.LOGGING, place),
            iso(end.timestamp),
            operation_type="seal",
            event_type=name,
            success=name not in wrong,
            events_count=_count(files, name),
            file_path=path,
            error_code="LOG-005" if name in wrong else None,
            error_message=wrong.get(name),
            duration_ms=round(files[path].duration_ms, 3) if path in files else 0.0,
        )
    return b"".join(batch.payload for batch in logger.drain())


def sealed_metadata(
    running: RunMetadata, end: RunEnd, files: Mapping[str, Inspected], event_hash: str, now: datetime
) -> RunMetadata:
    """``run_metadata.json`` of a sealed run."""
    wrong = differences(end, files)
    return running.model_copy(
        update={
            "status": end.status,
            "ended_at": end.ended_at,
            "ticks": end.ticks,
            "counts": {name: _count(files, name) for name in sorted(_types(files))},
            "files": {path: files[path].seal for path in sorted(files)},
            "event_hash": event_hash,
            "result": end.result,
            "error_code": end.error_code,
            "error": end.error,
            "sealed_at": now,
            "seal_error": f"LOG-005: {'; '.join(wrong.values())}" if wrong else None,
        }
    )


def sealed_message(metadata: RunMetadata, log_directory: str) -> RunSealed:
    """What the engine hears of a sealed run."""
    assert metadata.event_hash is not None, "a run is told of once it is sealed"
    return RunSealed(
        correlation_id=metadata.correlation_id,
        log_directory=log_directory,
        event_hash=metadata.event_hash,
        counts=metadata.counts,
        error_code="LOG-005" if metadata.seal_error else None,
        error=metadata.seal_error,
    )


def _types(files: Mapping[str, Inspected]) -> set[str]:
    return {path[len("events/") : -len(".jsonl")] for path in files if path.startswith("events/")}


def _count(files: Mapping[str, Inspected], event_type: str) -> int:
    found = files.get(event_path(event_type))
    return 0 if found is None else found.seal.count
