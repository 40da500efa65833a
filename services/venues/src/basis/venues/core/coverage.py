"""Which range of ticks a run covers: what was asked, within what the data has. Pure."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from basis.models.errors import InputError
from basis.models.market import FeedKind

if TYPE_CHECKING:
    from collections.abc import Iterable

    from basis.models.market import Feed

_COMPONENT = "market_data"


def requested_range(
    start: datetime | None, end: datetime | None, covered_ms: tuple[int, int], step_s: int
) -> tuple[datetime, datetime]:
    """First and last tick of a run.

    Args:
        start: asked for; None takes the first tick that all series cover.
        end: asked for, itself a tick; None takes the last tick that all series cover.
        covered_ms: first and last tick that all series cover, Unix ms.
        step_s: seconds between two ticks.

    Raises:
        InputError: CONFIG-003, start not before end, or end not a whole number of steps after start. Whether the data
            covers the range is for ``Market.check`` to say.
    """
    first, last = (datetime.fromtimestamp(moment / 1000, UTC) for moment in covered_ms)
    begin, finish = start or first, end or last
    if begin >= finish:
        message = f"start {begin.isoformat()} is not before end {finish.isoformat()}"
        raise InputError("CONFIG-003", message, _COMPONENT)
    if (finish - begin).total_seconds() % step_s:
        message = f"{begin.isoformat()} to {finish.isoformat()} is not a whole number of ticks of {step_s} s"
        raise InputError("CONFIG-003", message, _COMPONENT)
    return begin, finish


def require_whole_bars(feeds: Iterable[Feed], start: datetime, step_s: int) -> None:
    """Highs and lows are read of whole bars between two ticks: ticks must be where bars begin.

    Args:
        feeds: of the run; only highs and lows are looked at.
        start: time of tick 0.
        step_s: seconds between two ticks.

    Raises:
        InputError: CONFIG-003, a bar would straddle a tick, and a take profit or stop loss in it be missed.
    """
    for feed in feeds:
        if feed.kind not in {FeedKind.HIGH, FeedKind.LOW}:
            continue
        if step_s % feed.period_s or int(start.timestamp()) % feed.period_s:
            message = (
                f"{feed.column}: ticks of {step_s} s from {start.isoformat()} cut through bars of {feed.period_s} s"
            )
            raise InputError("CONFIG-003", message, _COMPONENT)
