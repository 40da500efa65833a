"""A catalogue as it was known at an instant: what a run must not need more than, if it does not look ahead."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

from basis.models.errors import InputError
from basis.models.market import FeedKind
from basis.venues.data.sample import MARKER

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from basis.models.market import Feed

_BARS = {FeedKind.BAR, FeedKind.CLOSE, FeedKind.HIGH, FeedKind.LOW}
_KNOWN_AT_START = {"timestamp", "open"}
"""Fields of a bar that are known before it ends."""


def write_known_at(source: Path, target: Path, feeds: Iterable[Feed], moment_ms: int) -> None:
    """Copy the series that the feeds read, cut to what was known at an instant.

    Rows stamped later are left out; of a bar that had not ended, only the open is left and the rest is null, so that a run
    that reads it stops with DATA-002.

    Args:
        source: catalogue.
        target: folder of the copy; made where needed.
        feeds: what a run reads.
        moment_ms: the instant, Unix ms.

    Raises:
        InputError: DATA-001, a series is missing.
    """
    # Imported here, not at the top: half a second that only this needs to pay.
    import pyarrow as pa  # noqa: PLC0415
    import pyarrow.compute as pc  # noqa: PLC0415
    import pyarrow.parquet as pq  # noqa: PLC0415

    chosen = list(feeds)
    bar_period = {feed.series: feed.period_s for feed in chosen if feed.kind in _BARS}
    for series in sorted({feed.series for feed in chosen}):
        path = source / f"{series}.parquet"
        if not path.is_file():
            raise InputError("DATA-001", f"series {series}: no such file {path}", "market_data")
        table = pq.read_table(path)
        stamps = table.column("timestamp").cast(pa.timestamp("ms", tz="UTC")).cast(pa.int64())
        table = table.filter(pc.less_equal(stamps, moment_ms))
        if series in bar_period:
            kept = table.column("timestamp").cast(pa.timestamp("ms", tz="UTC")).cast(pa.int64())
            ended = pc.less_equal(kept, moment_ms - 1000 * bar_period[series])
            for place, field in enumerate(table.schema):
                if field.name not in _KNOWN_AT_START:
                    cut = pc.if_else(ended, table.column(place), pa.scalar(None, field.type))
                    table = table.set_column(place, field, cut)
        copy = target / f"{series}.parquet"
        copy.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(table, copy)
    if (source / MARKER).is_file():
        shutil.copy(source / MARKER, target / MARKER)
