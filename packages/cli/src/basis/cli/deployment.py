"""Where a command's services come from: this process, processes of our own, or a cluster that already runs."""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from basis.cli import services
from basis.models.errors import ComponentError
from basis.runtime import bus as subjects
from basis.runtime.bus import Bus

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from basis.runtime.settings import Settings


@asynccontextmanager
async def embedded(settings: Settings) -> AsyncIterator[Bus]:
    """All services that a run needs, in this process, on one bus."""
    async with services.running(subjects.RUN_CRITICAL, settings) as bus:
        yield bus


@asynccontextmanager
async def processes(settings: Settings) -> AsyncIterator[Bus]:
    """All services that a run needs, one process each."""
    environment = services.child_environment(settings.model_copy(update={"log_level": "WARNING"}))
    children = [
        subprocess.Popen(  # noqa: ASYNC220 - our own command; started once, at the beginning
            services.command_of(name), env=environment, start_new_session=True
        )
        for name in subjects.RUN_CRITICAL
    ]
    bus = Bus(settings, "cli")
    watching = asyncio.create_task(_watch(children))
    try:
        await bus.connect()
        await bus.start()
        yield bus
    finally:
        watching.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await watching
        await bus.stop()
        for child in children:
            child.terminate()
        for child in children:
            await asyncio.to_thread(_end, child)


async def _watch(children: list[subprocess.Popen[bytes]]) -> None:
    """Complain at once about a child that ends on its own; the run itself fails by its own time-outs."""
    while True:
        for name, child in zip(subjects.RUN_CRITICAL, children, strict=True):
            if child.poll() is not None:
                raise ComponentError("ENGINE-001", f"the service {name} ended with {child.returncode}", "cli")
        await asyncio.sleep(0.2)


def _end(child: subprocess.Popen[bytes]) -> None:
    try:
        child.wait(timeout=15)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()


@asynccontextmanager
async def cluster(settings: Settings) -> AsyncIterator[Bus]:
    """A connection to services that already run elsewhere."""
    bus = Bus(settings, "cli")
    await bus.connect()
    try:
        await bus.start()
        yield bus
    finally:
        await bus.stop()
