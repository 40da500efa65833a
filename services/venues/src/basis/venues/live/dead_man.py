"""The dead-man switch: where a live run's engine falls silent, the venues cancel its open orders.

New orders are refused meanwhile (``Gate.require_open``); once the engine is heard again, trading goes on by itself.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from typing import TYPE_CHECKING

from nats.errors import Error as NatsError
from nats.js.errors import KeyNotFoundError

from basis.models.errors import ComponentError
from basis.models.messages import RunRecord
from basis.runtime import subjects

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from basis.runtime.bus import Bus
    from basis.venues.live.gate import Heartbeats

_LOOK_S = 0.25
_STILL_S = 1.0
"""A pause between two looks that is longer by so much is no proof that an engine was silent."""
_log = logging.getLogger(__name__)


class DeadManSwitch:
    """Watches the live runs that this replica has worked for.

    Args:
        bus: for the record of a silent run: it may have ended.
        heartbeats: of the engines.
        cancel: cancels all open orders of a run.
        release: lets go of an ended run.
    """

    def __init__(
        self,
        bus: Bus,
        heartbeats: Heartbeats,
        cancel: Callable[[str], Awaitable[int]],
        release: Callable[[str], Awaitable[None]],
    ) -> None:
        self._bus = bus
        self._heartbeats = heartbeats
        self._cancel = cancel
        self._release = release
        self._limits: dict[str, float] = {}
        self._fired: set[str] = set()
        self._task: asyncio.Task[None] | None = None

    def watch(self, correlation_id: str, limit_s: float) -> None:
        """Watch a run from now on."""
        self._limits[correlation_id] = limit_s
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._run())

    def stop(self) -> None:
        """Watch no more."""
        if self._task is not None:
            self._task.cancel()

    async def _run(self) -> None:
        looked = time.monotonic()
        while self._limits:
            await asyncio.sleep(_LOOK_S)
            stood_still, looked = time.monotonic() - looked, time.monotonic()
            if stood_still > _LOOK_S + _STILL_S:
                # it was this process that did not listen: cancelling now would hit the orders of a replica that did
                for correlation_id in self._limits:
                    self._heartbeats.beat(correlation_id)
            for correlation_id, limit_s in tuple(self._limits.items()):
                if self._heartbeats.silence_s(correlation_id) <= limit_s:
                    self._fired.discard(correlation_id)
                elif correlation_id not in self._fired:
                    await self._silent(correlation_id)

    async def _silent(self, correlation_id: str) -> None:
        if await self._has_ended(correlation_id):
            del self._limits[correlation_id]
            self._heartbeats.forget(correlation_id)
            await self._release(correlation_id)
            return
        try:
            cancelled = await self._cancel(correlation_id)
        except ComponentError as error:
            _log.error(
                "run %s is silent and its orders could not be cancelled, will try again: %s", correlation_id, error
            )
            return
        self._fired.add(correlation_id)
        _log.error("the engine of run %s is silent: %d open orders cancelled, no new ones", correlation_id, cancelled)

    async def _has_ended(self, correlation_id: str) -> bool:
        with contextlib.suppress(KeyNotFoundError, NatsError, TimeoutError):
            entry = await (await self._bus.bucket(subjects.KV_RUNS)).get(correlation_id)
            record = RunRecord.model_validate_json(entry.value or b"")
            return record.status.status not in {"running", "queued"}
        return False
