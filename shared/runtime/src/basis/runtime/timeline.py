"""Ticks to times: the one place that knows how the two convert."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from functools import lru_cache

from basis.models.messages import RunRef

_DAY_S = 86_400
_EPOCH = date(1970, 1, 1).toordinal()


def tick_time(run: RunRef, tick: int) -> datetime:
    """Engine time of a tick."""
    return run.start + timedelta(seconds=run.time_step_s * tick)


def iso(moment: datetime) -> str:
    """ISO 8601, UTC, with offset; the same text as :func:`tick_stamps` for whole seconds."""
    return moment.astimezone(UTC).isoformat()


def tick_stamps(run: RunRef, first_tick: int, ticks: int) -> tuple[str, ...]:
    """ISO 8601 stamps of consecutive ticks, e.g. ``2024-05-12T00:00:00+00:00``."""
    return _stamps(int(run.start.timestamp()) + run.time_step_s * first_tick, run.time_step_s, ticks)


@lru_cache(maxsize=8)
def _stamps(begin: int, step_s: int, ticks: int) -> tuple[str, ...]:
    """Kept for who asks next: in one process the engine and the monitors stamp the same window."""
    stamps: list[str] = []
    while len(stamps) < ticks:  # day by day
        days, second = divmod(begin + step_s * len(stamps), _DAY_S)
        day = date.fromordinal(_EPOCH + days).isoformat()
        place = second // step_s
        stamps += [day + time for time in _times(step_s, second % step_s)[place : place + ticks - len(stamps)]]
    return tuple(stamps)


@lru_cache(maxsize=8)
def _times(step_s: int, first_s: int) -> tuple[str, ...]:
    """The part of a stamp after the date, for each tick of a day."""
    return tuple(f"T{s // 3600:02d}:{s // 60 % 60:02d}:{s % 60:02d}+00:00" for s in range(first_s, _DAY_S, step_s))


def operation_id(run: RunRef, tick: int, number: int) -> str:
    """Identity of the n-th operation of a tick: a pure function of (correlation_id, tick, n)."""
    return f"{run.correlation_id}-{tick:08d}-{number:03d}"


def atomic_group_id(run: RunRef, tick: int, number: int) -> str:
    """Identity of the n-th atomic group of a tick."""
    return f"{run.correlation_id}-{tick:08d}-g{number:02d}"


def settlement_id(run: RunRef, tick: int, number: int) -> str:
    """Identity of the n-th settlement of a tick."""
    return f"{run.correlation_id}-{tick:08d}-s{number:02d}"
