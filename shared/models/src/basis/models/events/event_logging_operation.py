"""EventLoggingOperationEvent."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from basis.models.base import NonNegative
from basis.models.events.base import DomainEvent


class EventLoggingOperationEvent(DomainEvent):
    """What the event-logger itself did: one line for each file that it sealed."""

    event_type: ClassVar[str] = "event_logger_operations"
    title: ClassVar[str] = "What the event-logger itself did"

    operation_type: str
    """``seal``."""
    event_type_logged: str = Field(alias="event_type")
    """Event type that was written."""
    success: bool
    """True where the file holds as many events as the run published."""
    events_count: int = Field(ge=0)
    """Events in the file."""
    file_path: str
    """File, relative to the run's directory."""
    error_code: str | None
    """Code of the error registry where it failed."""
    error_message: str | None
    """What went wrong."""
    duration_ms: NonNegative
    """Wall-clock duration, ms; not part of the canonical log."""
