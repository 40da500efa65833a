"""Curves of a run: which there are, their values, and a picture of them that is no longer than a screen is wide."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from basis.models.errors import InputError
from basis.results import extract
from basis.results.core import columns as names
from basis.results.core import m4
from basis.results.lines import EventFile

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from basis.models.messages import RunMetadata
    from basis.results.cache import ColumnCache
    from basis.results.directories import RunDir
    from basis.results.models import ColumnInfo

    Floats = NDArray[np.float64]

MAX_COLUMNS = 100
"""Columns of one answer."""
MAX_POINTS = 5_000
"""``points`` of one answer; there are at most three times as many."""
_COMPONENT = "curves"


class Table(NamedTuple):
    """Columns over the same ticks."""

    ticks: NDArray[np.int64]
    columns: dict[str, Floats]
    """Name -> values; NaN where not defined."""


class Picture(NamedTuple):
    """Columns over one x axis, few enough to draw."""

    table: Table
    total_ticks: int
    """Ticks on disk."""
    first_tick: int
    last_tick: int
    whole: bool
    """True where no tick of the range was left out."""


def available(run: RunDir, metadata: RunMetadata) -> tuple[ColumnInfo, ...]:
    """Columns that a run has, read from some lines of each file."""
    found: list[str] = []
    for group in extract.GROUPS.values():
        with EventFile(run.event_file(group.event_type)) as file:
            if file.size:
                of_group = extract.shape_of(file, group).names
                found += names.EQUITY_COLUMNS if group.name == "equity" else of_group
    return names.describe(found, metadata.share_class, names.triggers(metadata.config))


def read(cache: ColumnCache, run: RunDir, metadata: RunMetadata, wanted: Sequence[str]) -> Table:
    """Values of columns at every tick; of a run that goes on up to the last tick that all of them have.

    Raises:
        InputError: CONFIG-003, no such column.
        ComponentError: LOG-004, the log is damaged.
    """
    groups = {name: names.group_of(name) for name in wanted}
    frames = {group: cache.get(run, metadata, group) for group in dict.fromkeys(groups.values()) if group}
    unknown = [name for name, group in groups.items() if group is None or name not in frames[group].columns]
    if unknown:
        known = ", ".join(column.name for column in available(run, metadata)) or "none yet: it has no tick on disk"
        raise InputError(
            "CONFIG-003", f"columns: no column {unknown[0]!r:.100} in this run; there are {known}", _COMPONENT
        )
    length = min((frame.height for frame in frames.values()), default=0)
    columns = {name: frames[group][name].to_numpy()[:length] for name, group in groups.items() if group}
    ticks = next(iter(frames.values()))[extract.TICK].to_numpy()[:length] if frames else np.zeros(0, dtype=np.int64)
    return Table(ticks, columns)


def picture(table: Table, points: int, start_tick: int | None = None, end_tick: int | None = None) -> Picture:
    """A stretch of a table by M4.

    Args:
        table: of one column at least.
        points: wanted; there are at most three times as many.
        start_tick: first tick of the stretch.
        end_tick: last tick of it.

    Raises:
        InputError: CONFIG-003, the stretch is empty though the run is not.
    """
    total = len(table.ticks)
    low = 0 if start_tick is None else int(np.searchsorted(table.ticks, start_tick))
    high = total if end_tick is None else int(np.searchsorted(table.ticks, end_tick, side="right"))
    if total and low >= high:
        has = f"{table.ticks[0]} to {table.ticks[-1]}"
        message = f"start_tick {start_tick} to end_tick {end_tick} holds no tick: the run has {has}"
        raise InputError("CONFIG-003", message, _COMPONENT)
    if not total:
        return Picture(table, 0, 0, 0, whole=True)
    ticks = table.ticks[low:high]
    columns = {name: values[low:high] for name, values in table.columns.items()}
    places, whole = m4.union(list(columns.values()), points)
    picked = Table(ticks[places], {name: values[places] for name, values in columns.items()})
    return Picture(picked, total, int(ticks[0]), int(ticks[-1]), whole)


def times_ms(ticks: NDArray[np.int64], metadata: RunMetadata) -> NDArray[np.int64]:
    """Time of ticks, milliseconds since the epoch."""
    start = round(metadata.start_time.timestamp() * 1000)
    return start + ticks * (1000 * time_step_s(metadata.config))


def time_step_s(config: Mapping[str, Any]) -> int:
    """Seconds between two ticks."""
    return int(config.get("time_step_s") or 3600)
