"""Curves made when a run is sealed, so that nobody has to wait for them; one run at a time, beside all else."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from typing import TYPE_CHECKING, Final

from basis.models.errors import ComponentError
from basis.models.messages import RunSealed
from basis.results.core.metrics import warm
from basis.runtime import bus as subjects
from basis.runtime import codec

if TYPE_CHECKING:
    from basis.gateway.run_list import RunList
    from basis.runtime.bus import Bus

_WAITING: Final = 64
"""Runs that may wait; what is more is made when somebody asks for it."""
_AT_START: Final = 3
"""Runs that are prepared at the start, the newest."""
_log = logging.getLogger(__name__)


class Preparer:
    """Hears of sealed runs and extracts their columns.

    Args:
        runs: whose cache is filled.
    """

    def __init__(self, runs: RunList) -> None:
        self._runs = runs
        self._queue: asyncio.Queue[str] = asyncio.Queue(_WAITING)
        self._task: asyncio.Task[None] | None = None

    def start(self, bus: Bus) -> None:
        """Begin to listen; before the bus is started."""
        bus.listen(subjects.run_sealed(subjects.ANY_RUN), self._heard)
        self._task = asyncio.create_task(self._work())

    async def stop(self) -> None:
        """Finish the run in hand and end."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task})

    async def _heard(self, subject: str, payload: bytes) -> None:
        del subject
        with contextlib.suppress(asyncio.QueueFull, ComponentError):
            self._queue.put_nowait(codec.decode(payload, RunSealed).correlation_id)

    async def _newest(self) -> None:
        """The runs that somebody will look at first, after a start beside logs that are there already."""
        with contextlib.suppress(ComponentError):
            on_disk = await self._runs.read(self._runs.results.registry.summaries)
            ended = sorted((run.ended_at, cid) for cid, run in on_disk.items() if run.ended_at is not None)
            for _, correlation_id in ended[: -_AT_START - 1 : -1]:
                self._queue.put_nowait(correlation_id)

    async def _work(self) -> None:
        await asyncio.to_thread(warm)
        await self._newest()
        while True:
            correlation_id = await self._queue.get()
            try:
                await self._runs.read(self._runs.results.prepare, correlation_id)
            except ComponentError as error:  # a log that is elsewhere, or damaged: who asks for the run hears of it
                _log.info("curves of %s are not prepared: %s", correlation_id, error)
