"""Starting services: any set of them on one bus in one process, or one process each. The composition root."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from basis.models.base import document_fields
from basis.models.errors import InputError
from basis.runtime import bus as subjects
from basis.runtime import health, telemetry
from basis.runtime.bus import Bus
from basis.runtime.clock import SystemClock

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from basis.event_logger.service import Sink
    from basis.runtime.settings import Settings

_log = logging.getLogger(__name__)


@asynccontextmanager
async def running(names: Sequence[str], settings: Settings) -> AsyncIterator[Bus]:
    """Services on one bus while the context is open.

    Args:
        names: of ``basis.runtime.bus.SERVICES``; the gateway is an HTTP server of its own and not among them.
        settings: of the process.

    Raises:
        ComponentError: BUS-001, no NATS.
    """
    telemetry.install("-".join(names))
    clock = SystemClock()
    bus = Bus(settings, "+".join(names))
    await bus.connect()
    sink: Sink | None = None
    beating = asyncio.create_task(health.beat(bus, settings))
    try:
        for name in names:
            _register(name, bus, settings, clock)
        if "event-logger" in names:
            from basis.event_logger import service as event_logger  # noqa: PLC0415 - each process loads only its own

            sink = await event_logger.serve(bus, settings, clock)
        await bus.start()
        yield bus
    finally:
        beating.cancel()
        if sink is not None:
            await sink.stop()
        await bus.stop()


def _register(name: str, bus: Bus, settings: Settings, clock: SystemClock) -> None:
    # imports are local so that a service's process loads nothing of the others
    if name == "venues":
        from basis.venues import service as venues  # noqa: PLC0415

        venues.register(bus, settings)
    elif name == "monitors":
        from basis.monitors import service as monitors  # noqa: PLC0415

        monitors.register(bus, clock)
    elif name == "execution":
        from basis.execution import service as execution  # noqa: PLC0415

        execution.register(bus)
    elif name == "strategy":
        from basis.strategy import service as strategy  # noqa: PLC0415

        strategy.register(bus, clock)
    elif name != "event-logger":
        known = ", ".join(subjects.SERVICES)
        raise InputError("CONFIG-003", f"unknown service {name!r}; known: {known}", "cli")


async def serve_until_told(name: str, settings: Settings) -> None:
    """One service, as the main job of a process, until SIGTERM or SIGINT."""
    told = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, told.set)
    if name == "gateway":
        document_fields()  # before the models of the API are defined
        from basis.gateway.app import serve  # noqa: PLC0415

        await serve(settings, told)
        return
    async with running((name,), settings):
        _log.info("%s is ready, pid %d", name, os.getpid())
        await told.wait()
        _log.info("%s is told to stop", name)


def child_environment(settings: Settings) -> dict[str, str]:
    """Environment that gives a child process the same settings."""
    values = settings.model_dump(mode="json", exclude_none=True)
    return dict(os.environ) | {f"BASIS_{name.upper()}": str(value) for name, value in values.items()}


def command_of(name: str) -> list[str]:
    """Command line that runs one service."""
    return [sys.executable, "-m", "basis.cli", "service", name]
