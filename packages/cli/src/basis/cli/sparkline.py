"""A curve in one line of a terminal; :func:`equity_of` reads the fifty lines of a run's log that one needs."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

    from basis.models.messages import RunOutcome

BLOCKS: Final = "▁▂▃▄▅▆▇█"
_POINTS = 50


def draw(values: Sequence[float]) -> str:
    """One block a value, the lowest value as the lowest block; empty where there is none.

    Raises:
        ValueError: a value is not finite.
    """
    if not values:
        return ""
    if not all(map(math.isfinite, values)):
        raise ValueError("a sparkline needs finite values")
    low = min(values) / 2.0  # halves first: the difference of two large floats may overflow
    span = max(values) / 2.0 - low
    if span <= 0.0:
        return BLOCKS[0] * len(values)
    return "".join(BLOCKS[round((value / 2.0 - low) / span * (len(BLOCKS) - 1))] for value in values)


def equity_of(outcome: RunOutcome) -> tuple[float, ...]:
    """Equity of a run at places spread evenly over its log; empty where the log is not on this machine."""
    from basis.results.lines import EventFile  # noqa: PLC0415 - only where a person reads

    if outcome.log_directory is None:
        return ()
    with EventFile(Path(outcome.log_directory) / "events" / "exposures.jsonl") as file:
        return tuple(float(file.parse(line)["share_class_value"]) for line in file.sample(_POINTS))
