"""StructuredLogger: component logs of a run, through NATS to the sink, as JSON lines.

Each line holds engine time, wall clock, level, component, message, and for errors the code and the stack trace. The same
line goes to the process's own log on stderr.
"""

from __future__ import annotations

import hashlib
import logging
from typing import TYPE_CHECKING, Any, Final

import orjson

from basis.models.messages import LogLine
from basis.runtime import subjects
from basis.runtime.bus import StreamMessage
from basis.runtime.timeline import iso

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import datetime

    from basis.models.errors import ComponentError
    from basis.runtime.bus import Bus
    from basis.runtime.clock import Clock

COMPONENTS: Final = (
    "api",
    "strategy_manager",
    "execution_manager",
    "position_monitor",
    "exposure_monitor",
    "risk_monitor",
    "pnl_monitor",
    "position_update_handler",
)
"""Components with a log of their own in every run's directory: ``<component>.log``."""

_stderr = logging.getLogger("basis.run")


class StructuredLogger:
    """Logs of one component, for any run.

    Args:
        bus: where lines go.
        component: one of :data:`COMPONENTS`.
        clock: wall clock of the lines.
    """

    def __init__(self, bus: Bus, component: str, clock: Clock) -> None:
        if component not in COMPONENTS:
            raise ValueError(f"component {component!r} has no log; known: {', '.join(COMPONENTS)}")
        self._bus = bus
        self._component = component
        self._clock = clock

    async def debug(self, correlation_id: str, engine_time: datetime, message: str, **fields: Any) -> None:
        """For developers."""
        await self._write("DEBUG", correlation_id, engine_time, message, fields)

    async def info(self, correlation_id: str, engine_time: datetime, message: str, **fields: Any) -> None:
        """What happened."""
        await self._write("INFO", correlation_id, engine_time, message, fields)

    async def warning(self, correlation_id: str, engine_time: datetime, message: str, **fields: Any) -> None:
        """What may need a look."""
        await self._write("WARNING", correlation_id, engine_time, message, fields)

    async def error(
        self, correlation_id: str, engine_time: datetime, error: ComponentError, stack_trace: str, **fields: Any
    ) -> None:
        """What went wrong: level ERROR, or CRITICAL where the error's severity is."""
        line = self.error_line(correlation_id, engine_time, error, stack_trace, **fields)
        await publish_lines(self._bus, correlation_id, (line,))

    def line(self, level: str, correlation_id: str, engine_time: datetime, message: str, **fields: Any) -> LogLine:
        """A line that is published later, with others (:func:`publish_lines`)."""
        stable = {
            "timestamp": iso(engine_time),
            "level": level,
            "component": self._component,
            "correlation_id": correlation_id,
            "message": message,
            **fields,
        }
        # the id leaves the wall clock out: a repeated request logs once
        digest = hashlib.blake2b(orjson.dumps(stable, option=orjson.OPT_SORT_KEYS), digest_size=16).hexdigest()
        text = orjson.dumps({"real_utc_time": iso(self._clock.now()), **stable}) + b"\n"
        _stderr.log(logging.getLevelNamesMapping()[level], "%s %s: %s", correlation_id[:8], self._component, message)
        return LogLine(component=self._component, digest=digest, line=text)

    def error_line(
        self, correlation_id: str, engine_time: datetime, error: ComponentError, stack_trace: str, **fields: Any
    ) -> LogLine:
        """As :meth:`error`, published later."""
        level = "CRITICAL" if error.severity == "CRITICAL" else "ERROR"
        details = {"error_code": error.error_code, "stack_trace": stack_trace, **fields}
        return self.line(level, correlation_id, engine_time, str(error), **details)

    async def _write(
        self, level: str, correlation_id: str, engine_time: datetime, message: str, fields: dict[str, Any]
    ) -> None:
        await publish_lines(
            self._bus, correlation_id, (self.line(level, correlation_id, engine_time, message, **fields),)
        )


async def publish_lines(bus: Bus, correlation_id: str, lines: Iterable[LogLine]) -> None:
    """Publish log lines of a run, one message a component; returns once JetStream has them."""
    by_component: dict[str, list[LogLine]] = {}
    for line in lines:
        by_component.setdefault(line.component, []).append(line)
    await bus.publish_stream(
        StreamMessage(
            subjects.logs(correlation_id, component),
            b"".join(line.line for line in found),
            {subjects.HEADER_MSG_ID: f"{correlation_id}.log.{component}.{_digest(found)}"},
        )
        for component, found in by_component.items()
    )


def _digest(lines: Sequence[LogLine]) -> str:
    if len(lines) == 1:
        return lines[0].digest
    return hashlib.blake2b("".join(line.digest for line in lines).encode(), digest_size=16).hexdigest()
