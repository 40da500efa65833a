"""Curves made when a run is sealed, so that nobody has to wait for them; one run at a time, beside all else."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from typing import TYPE_CHECKING, Final

from basis.models.errors import ComponentError
from basis.models.messages import RunSealed
from basis.results.core.metrics import warm
from basis.runtime import codec, subjects

if TYPE_CHECKING:
    from basis.gateway.run_list import RunList
    from basis.runtime.bus import Bus

_WAITING: Final = 64
"""Runs that may wait; what is more is made when somebody asks for it."""
_NEWEST: Final = 3
"""Runs that are prepared without a word of theirs, the newest."""
_LOOK_EVERY_S: Final = 1.0
"""How often it is looked for them, where there is nothing else to do."""
_LOOKS_AT_OPEN: Final = 10
"""Every so many looks it is seen whether runs that went on have ended: that reads the times of all of them."""
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
        self._seen = -1
        self._open = False
        self._looks = 0
        self._prepared: set[str] = set()

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

    async def _work(self) -> None:
        await asyncio.to_thread(warm)
        while True:
            try:
                async with asyncio.timeout(_LOOK_EVERY_S):
                    correlation_id = await self._queue.get()
            except TimeoutError:
                await self._look()
                continue
            try:
                await self._runs.read(self._runs.results.prepare, correlation_id)
            except ComponentError as error:  # a log that is elsewhere, or damaged: who asks for the run hears of it
                _log.info("curves of %s are not prepared: %s", correlation_id, error)
            except Exception:  # noqa: BLE001 - the next run must be prepared all the same
                _log.exception("curves of %s are not prepared", correlation_id)

    async def _look(self) -> None:
        """Find the newest runs that nobody told of: those of before the start, and of other clusters on the same logs."""
        with contextlib.suppress(ComponentError, asyncio.QueueFull):
            stamp = await self._runs.read(self._runs.results.registry.changed_at)
            self._looks += 1
            if stamp == self._seen and not (self._open and self._looks % _LOOKS_AT_OPEN == 0):
                return
            on_disk = await self._runs.read(self._runs.results.registry.summaries)
            self._seen = stamp
            self._open = any(run.status == "running" for run in on_disk.values())
            ended = sorted((run.ended_at, cid) for cid, run in on_disk.items() if run.ended_at is not None)
            newest = [cid for _, cid in ended[: -_NEWEST - 1 : -1]]
            for correlation_id in newest:
                if correlation_id not in self._prepared:
                    self._queue.put_nowait(correlation_id)
            self._prepared = set(newest)
