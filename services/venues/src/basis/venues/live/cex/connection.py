"""One exchange's connection: questions that are repeated, orders that are not, and errors that are ours."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, TypeVar

from basis.venues.live import lease
from basis.venues.live.cex.clients import make_client
from basis.venues.live.cex.errors import classify
from basis.venues.live.cex.scrub import Scrubber
from basis.venues.live.errors import Fatal, LiveVenueError, Retryable

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from basis.models.live_cex_config import CexLiveConfig
    from basis.runtime.clock import Clock
    from basis.venues.live.cex.clients import Credentials

T = TypeVar("T")
_MOST_PATIENCE_S = 30.0
"""Longest wait for a rate limit that a question sits out, seconds."""

_CLOSINGS = 3


class Connection:
    """A ccxt client, and how it is asked.

    Args:
        venue: binance, bybit or okx.
        config: how.
        credentials: keys; None for public data alone.
        clock: time that requests are stamped with, and patience.
    """

    def __init__(self, venue: str, config: CexLiveConfig, credentials: Credentials | None, clock: Clock) -> None:
        self.venue = venue
        self.config = config
        self.clock = clock
        self.scrub = Scrubber(credentials or ())
        self.client: Any = make_client(venue, config, credentials, self.now_ms)
        self.opened_ms = 0
        """When it was opened: no request of an earlier process is younger."""
        self.left_at = float("-inf")
        """When it last let go of a request that changes something, seconds of the machine's monotonic clock."""

    def __repr__(self) -> str:
        return f"Connection({self.venue!r})"

    def now_ms(self) -> int:
        """Our clock, milliseconds since the epoch."""
        return round(self.clock.now().timestamp() * 1000)

    async def open(self) -> None:
        """Check the clock, load the markets.

        Raises:
            LiveVenueError: VEN-011 the clocks differ; VEN-002, VEN-003 no answer.
        """
        self.opened_ms = self.now_ms()
        await self.check_clock()
        await self.ask("load markets", self.client.load_markets)

    async def close(self) -> None:
        """Let go of connections."""
        for _ in range(_CLOSINGS):
            await self.client.close()
            await asyncio.sleep(0)
            if self.client.session is None:  # what ccxt still had in hand may have opened another
                return

    async def check_clock(self) -> int:
        """How much the exchange's clock is ahead of ours, milliseconds.

        Raises:
            Fatal: VEN-011, more than may be, beyond what the answer's way explains.
        """
        before = self.now_ms()
        theirs = int(await self.ask("time", self.client.fetch_time))
        after = self.now_ms()
        ahead = theirs - (before + after) // 2
        most = self.config.max_clock_skew_ms
        if abs(ahead) > most + (after - before) // 2:
            message = f"the exchange's clock is {ahead} ms ahead of ours, at most {most} ms are accepted: set the clock"
            raise Fatal("VEN-011", message, self.venue)
        return ahead

    async def ask(self, what: str, call: Callable[..., Any], *args: Any, **fields: Any) -> Any:
        """Ask what changes nothing; again where that may help.

        Raises:
            LiveVenueError: Retryable when patience is at an end, else what the exchange said.
        """
        wait = self.config.retry_wait_s
        for left in range(self.config.reads - 1, -1, -1):
            failure = await self._try(what, call, args, fields, sending=False)
            if not isinstance(failure, LiveVenueError):
                return failure
            failure = await self._late(failure)
            if not isinstance(failure, Retryable) or left == 0:
                raise failure
            told = self._retry_after_s() if failure.error_code == "VEN-006" else 0.0
            if told > _MOST_PATIENCE_S:  # a ban: asking on would prolong it
                raise failure
            await asyncio.sleep(max(wait, told))  # of the machine: the engine's clock may stand still
            wait *= 2
        raise AssertionError  # the last of the tries returns or raises

    def _retry_after_s(self) -> float:
        """How long the exchange says to wait, seconds; 0 where it says nothing."""
        headers = {str(name).lower(): value for name, value in (self.client.last_response_headers or {}).items()}
        try:
            return max(float(headers.get("retry-after", 0.0)), 0.0)
        except ValueError:
            return 0.0

    async def send(self, what: str, call: Callable[..., Any], *args: Any, **fields: Any) -> Any:
        """Ask for something, once, and only while nobody else can have taken over.

        Raises:
            LiveVenueError: by what it proves.
        """
        await lease.renew()
        self.left_at = time.monotonic()
        with lease.leaving():
            found = await self._try(what, call, args, fields, sending=True)
        if isinstance(found, LiveVenueError):
            raise await self._late(found)
        return found

    async def _late(self, failure: LiveVenueError) -> LiveVenueError:
        """A stamp that an exchange refuses: a clock that is wrong stops everything, a request that was slow may be repeated.

        Raises:
            Fatal: VEN-011, the clocks differ.
        """
        if failure.error_code != "VEN-011":
            return failure
        await self.check_clock()
        message = f"{failure.message}: the clocks agree, it was under way for too long (recv_window_ms)"
        return Retryable("VEN-002", message, self.venue)

    async def _try(self, what: str, call: Callable[..., Any], args: Any, fields: Any, *, sending: bool) -> Any:
        """The answer, or the failure: returned, so that no traceback and no context holds what ccxt said."""
        try:
            return await call(*args, **fields)
        except LiveVenueError as failure:
            return failure
        except Exception as error:  # noqa: BLE001 - the edge to ccxt: a KeyError of its parsers proves as little as a timeout
            return classify(error, sending=sending, venue=self.venue, scrub=self.scrub, what=what)


async def together(*calls: Coroutine[Any, Any, T]) -> list[T]:
    """Answers of all, in sequence. Where one fails the others are cancelled: nothing goes on asking behind the caller's back."""
    tasks = [asyncio.ensure_future(call) for call in calls]
    try:
        return list(await asyncio.gather(*tasks))
    except BaseException:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        raise


def utc(ms: float) -> datetime:
    """A stamp of an exchange."""
    return datetime.fromtimestamp(ms / 1000, UTC)
