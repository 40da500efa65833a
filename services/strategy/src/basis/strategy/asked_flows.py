"""Deposits and withdrawals that were asked for while a backtest runs, until its loop takes them up."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from basis.models.errors import ComponentError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from basis.models.messages import Control


class AskedFlows:
    """Requests that wait, and whoever waits for their answer.

    Args:
        correlation_id: run.
    """

    def __init__(self, correlation_id: str) -> None:
        self._cid = correlation_id
        self._waiting: dict[str, tuple[Control, asyncio.Future[None]]] = {}
        self._closed = False

    def __bool__(self) -> bool:
        """True while a request waits."""
        return bool(self._waiting)

    async def ask(self, request: Control) -> None:
        """Wait until a request is on record; asked again under its id it counts once.

        Raises:
            ComponentError: RUN-003, the run has ended; BUS-002, another engine goes on with it.
        """
        if self._closed:
            raise self._ended()
        future = asyncio.get_running_loop().create_future()
        _, future = self._waiting.setdefault(request.request_id, (request, future))
        await asyncio.shield(future)

    def requests(self) -> tuple[Control, ...]:
        """Those that wait, in the order in which they were asked for."""
        return tuple(request for request, _ in self._waiting.values())

    def confirm(self, requests: Sequence[Control]) -> None:
        """These are on record: they survive the engine."""
        for request in requests:
            _, future = self._waiting.pop(request.request_id)
            future.set_result(None)

    def hand_over(self) -> None:
        """The run goes on with another engine, which does not know of those that wait."""
        self._close(ComponentError("BUS-002", f"the engine of run {self._cid} changes: ask again", "engine"))

    def end(self) -> None:
        """The run has ended."""
        self._close(self._ended())

    def _close(self, error: ComponentError) -> None:
        self._closed = True
        for _, future in self._waiting.values():
            future.set_exception(error)
        self._waiting = {}

    def _ended(self) -> ComponentError:
        return ComponentError("RUN-003", f"run {self._cid} has ended", "engine")
