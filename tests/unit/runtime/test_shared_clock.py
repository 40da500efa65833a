"""A clock that a file tells: whoever waits for a time brings it about, for everyone."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from basis.runtime.clock import SharedClock, SystemClock, clock_of

if TYPE_CHECKING:
    from pathlib import Path

BEGIN = datetime(2024, 5, 12, 8, tzinfo=UTC)


async def test_time_moves_for_everyone_and_never_back(tmp_path: Path) -> None:
    ours, theirs = SharedClock(tmp_path / "clock"), clock_of(tmp_path / "clock")
    ours.set(BEGIN)
    assert theirs.now() == BEGIN
    await ours.until(BEGIN + timedelta(seconds=60))
    assert theirs.now() == BEGIN + timedelta(seconds=60)
    await theirs.until(BEGIN)
    assert ours.now() == BEGIN + timedelta(seconds=60)


async def test_the_machines_clock_waits() -> None:
    clock = clock_of(None)
    assert type(clock) is SystemClock
    moment = clock.now() + timedelta(seconds=0.05)
    await clock.until(moment)
    assert clock.now() >= moment
    await clock.until(moment)  # has passed: at once
