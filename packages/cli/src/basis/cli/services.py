"""Starting services: any set of them on one bus in one process, or one process each. The composition root."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import signal
import sys
from contextlib import asynccontextmanager
from importlib import import_module
from typing import TYPE_CHECKING

import uvloop

from basis.models.base import document_fields
from basis.models.errors import ComponentError, InputError
from basis.runtime import health, subjects, telemetry
from basis.runtime.bus import Bus
from basis.runtime.clock import SystemClock, clock_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from basis.event_logger.service import Sink
    from basis.runtime.settings import Settings

_log = logging.getLogger(__name__)


@asynccontextmanager
async def running(names: Sequence[str], settings: Settings) -> AsyncIterator[Bus]:
    """Services on one bus while the context is open.

    Args:
        names: of ``basis.runtime.subjects.SERVICES``; the gateway is an HTTP server of its own and not among them.
        settings: of the process.

    Raises:
        ComponentError: BUS-001, no NATS.
    """
    telemetry.install("-".join(names))
    clock = clock_of(settings.clock_file)
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


_MODULES = {
    "venues": "basis.venues.service",
    "monitors": "basis.monitors.service",
    "execution": "basis.execution.service",
    "strategy": "basis.strategy.service",
    "event-logger": "basis.event_logger.service",
}


def preload(names: Sequence[str]) -> None:
    """Import services and build their models now, so that forked children need not."""
    for name in names:
        if name in _MODULES:  # the gateway loads its own: its models are documented ones
            getattr(import_module(_MODULES[name]), "warm", _nothing_to_warm)()


def _nothing_to_warm() -> None:
    """For a service without models of its own."""


def _register(name: str, bus: Bus, settings: Settings, clock: SystemClock) -> None:
    # imports are local so that a service's process loads nothing of the others
    if name not in _MODULES:
        known = ", ".join(subjects.SERVICES)
        raise InputError("CONFIG-003", f"unknown service {name!r}; known: {known}", "cli")
    if name != "event-logger":  # its sink has a life of its own, see running()
        import_module(_MODULES[name]).register(bus, settings, clock)


def main_of(name: str, settings: Settings) -> int:
    """One service as the main job of this process; returns the exit code."""
    logging.basicConfig(
        level=settings.log_level, format=f"%(asctime)s %(levelname)s {name} %(name)s: %(message)s", stream=sys.stderr
    )
    gc.freeze()  # what is loaded now stays: the collector need not look at it again
    try:
        uvloop.run(serve_until_told(name, settings))
    except ComponentError as error:
        print(f"basis: {error}", file=sys.stderr)
        return 1
    return 0


async def serve_until_told(name: str, settings: Settings) -> None:
    """One service, until SIGTERM, or SIGINT where the process heeds it."""
    told = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, told.set)
    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
        loop.add_signal_handler(signal.SIGINT, told.set)
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
