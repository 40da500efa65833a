"""Which range of ticks a run covers: what was asked, within what the data has. Pure."""

from __future__ import annotations

from datetime import UTC, datetime

from basis.models.errors import InputError

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
