"""Many readers of one run's status: one look at the run for all of them, and no queue that a slow one could fill."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

from basis.gateway.backtest_service import ENDED

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from basis.gateway.backtest_service import BacktestService
    from basis.models.messages import RunStatus


class StatusFeeds:
    """Feeds by run; one exists while somebody reads it.

    Args:
        backtests: what follows a run.
    """

    def __init__(self, backtests: BacktestService) -> None:
        self._backtests = backtests
        self._feeds: dict[str, _Feed] = {}

    def __len__(self) -> int:
        return len(self._feeds)

    async def follow(self, correlation_id: str) -> AsyncGenerator[RunStatus, None]:
        """Status of a run as it changes, until it has ended; a slow reader gets the latest, and misses steps.

        Raises:
            InputError: RUN-001, unknown.
        """
        feed = self._feeds.get(correlation_id)
        if feed is None or feed.over:
            feed = self._feeds[correlation_id] = _Feed(self._backtests, correlation_id)
        feed.readers += 1
        seen = 0
        try:
            while True:
                status, seen = await feed.after(seen)
                yield status
                if status.status in ENDED:
                    return
        finally:
            feed.readers -= 1
            if feed.readers == 0:
                if self._feeds.get(correlation_id) is feed:
                    del self._feeds[correlation_id]
                await feed.close()


class _Feed:
    """The latest status of one run, numbered."""

    def __init__(self, backtests: BacktestService, correlation_id: str) -> None:
        self.readers = 0
        self._latest: RunStatus | None = None
        self._number = 0
        self._news = asyncio.Event()
        self._reading = asyncio.create_task(self._read(backtests, correlation_id))

    @property
    def over(self) -> bool:
        """True once nothing comes any more."""
        return self._reading.done()

    async def _read(self, backtests: BacktestService, correlation_id: str) -> None:
        try:
            async with contextlib.aclosing(backtests.follow(correlation_id)) as statuses:
                async for status in statuses:
                    self._latest, self._number = status, self._number + 1
                    news, self._news = self._news, asyncio.Event()
                    news.set()
        finally:
            self._news.set()

    async def after(self, seen: int) -> tuple[RunStatus, int]:
        """The latest status, once it is another than the one of a number."""
        while self._number == seen:
            if self.over:
                self._reading.result()  # what went wrong, to every reader
                raise ConnectionError("the run is no longer followed")
            await self._news.wait()
            await asyncio.sleep(0)  # the task is done only after it has told of its end
        assert self._latest is not None
        return self._latest, self._number

    async def close(self) -> None:
        """Stop looking."""
        self._reading.cancel()
        await asyncio.wait({self._reading})
        if not self._reading.cancelled():
            self._reading.exception()  # told to the readers already
