"""Ports for the clock and for ids: the only places where time and randomness enter the system."""

from __future__ import annotations

import asyncio
import os
import struct
import time
import uuid
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from pathlib import Path

_LONGEST_NAP_S = 1.0
"""A wall clock may be set while someone waits for it: it is looked at this often."""


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

    async def until(self, moment: datetime) -> None:
        """Wait for a time of the wall clock; at once where it has passed."""
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

    async def until(self, moment: datetime) -> None:
        """Wait on the event loop."""
        while (left := (moment - self.now()).total_seconds()) > 0.0:  # noqa: ASYNC110 - time sets no event
            await asyncio.sleep(min(left, _LONGEST_NAP_S))


class SimulatedClock(SystemClock):
    """The machine's clock for stamps, but no waiting: in a backtest no engine time passes between two queries."""

    async def sleep(self, seconds: float) -> None:
        """Give way once, whatever was asked."""
        del seconds
        await asyncio.sleep(0)


class SharedClock(SystemClock):
    """Time as a file tells it: several processes share it, and whoever waits for a time brings it about.

    For accelerated runs against local counterparts: the engine's wait for its next tick moves the time there at once, and
    every process that reads the file is there, too. Patience and back-off stay real.

    Args:
        file: epoch seconds, a float64, little-endian; made by :meth:`set`.
    """

    def __init__(self, file: Path) -> None:
        self._file = file
        self._number = -1

    def now(self) -> datetime:
        """The file's time, UTC."""
        return datetime.fromtimestamp(struct.unpack("<d", os.pread(self._open(os.O_RDWR), 8, 0))[0], UTC)

    def set(self, moment: datetime) -> None:
        """Make it that time for everyone."""
        # eight bytes in place: a reader sees the old time or the new one
        os.pwrite(self._open(os.O_RDWR | os.O_CREAT), struct.pack("<d", moment.timestamp()), 0)

    def _open(self, flags: int) -> int:
        """The file, held open: every request to every local counterpart asks for the time."""
        if self._number < 0:
            self._number = os.open(self._file, flags, 0o644)
        return self._number

    def __del__(self) -> None:
        if self._number >= 0:
            os.close(self._number)

    async def until(self, moment: datetime) -> None:
        """Give way once, and be there; time never goes back."""
        await asyncio.sleep(0)
        if moment > self.now():
            self.set(moment)


def clock_of(file: Path | None) -> SystemClock:
    """The clock of a process: the machine's, or a shared one where its settings name a file."""
    return SystemClock() if file is None else SharedClock(file)


def new_correlation_id() -> str:
    """A fresh run id: uuid4 hex."""
    return uuid.uuid4().hex
