"""Ports for the clock and for ids: the only places where time and randomness enter the system."""

from __future__ import annotations

import asyncio
import time
import uuid
from datetime import UTC, datetime
from typing import Protocol


class Clock(Protocol):
    """Wall clock and patience."""

    def now(self) -> datetime:
        """Wall clock, UTC."""
        ...

    def monotonic(self) -> float:
        """Seconds of a clock that never goes back; for durations."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Wait."""
        ...


class SystemClock:
    """The machine's clock."""

    def now(self) -> datetime:
        """Wall clock, UTC."""
        return datetime.now(UTC)

    def monotonic(self) -> float:
        """Seconds of a clock that never goes back."""
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        """Wait on the event loop."""
        await asyncio.sleep(seconds)


class SimulatedClock(SystemClock):
    """The machine's clock for stamps, but no waiting: in a backtest no engine time passes between two queries."""

    async def sleep(self, seconds: float) -> None:
        """Give way once, whatever was asked."""
        del seconds
        await asyncio.sleep(0)


def new_correlation_id() -> str:
    """A fresh run id: uuid4 hex."""
    return uuid.uuid4().hex
