"""A hand-made market: Parquet files for every feed of a configuration, at the feeds' own cadence."""

from __future__ import annotations

from datetime import UTC, timedelta
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from basis.models.market import FeedKind
from basis.testkit.runs import START, typical_value

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime
    from pathlib import Path

    from numpy.typing import NDArray

    from basis.models.config import RunConfig
    from basis.models.market import Feed


def write_market(
    root: Path,
    config: RunConfig,
    *,
    days: int = 5,
    start: datetime = START,
    seed: int = 1,
    columns: Mapping[str, NDArray[np.float64]] | None = None,
) -> Path:
    """Write a catalogue that feeds a configuration from a day before ``start`` to a day after its end.

    Args:
        root: folder, made where needed.
        config: whose feeds.
        days: length of the run.
        start: time of tick 0.
        seed: of the random walks.
        columns: market column -> values of its own, repeated to length, in place of a walk.
    """
    rng = np.random.default_rng(seed)
    series: dict[str, dict[str, NDArray[np.float64]]] = {}
    stamps: dict[str, list[datetime]] = {}
    for feed in config.feeds():
        period = timedelta(seconds=feed.period_s)
        count = int(timedelta(days=days + 2) / period) + 1
        begin = start - timedelta(days=1)
        stamps.setdefault(feed.series, [(begin + n * period).astimezone(UTC) for n in range(count)])
        given = (columns or {}).get(feed.column)
        values = np.resize(given, count) if given is not None else _values(feed, count, rng)
        fields = series.setdefault(feed.series, {})
        fields[feed.field] = values
        if feed.kind is FeedKind.BAR:
            fields["close"] = np.append(values[1:], values[-1])
    for name, fields in series.items():
        path = root / f"{name}.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        times = pa.array(stamps[name], type=pa.timestamp("ms", tz="UTC"))
        pq.write_table(pa.table({"timestamp": times, **fields}), path)
    return root


def _values(feed: Feed, count: int, rng: np.random.Generator) -> NDArray[np.float64]:
    typical = typical_value(feed.column)
    if feed.kind is FeedKind.INDEX:
        return np.asarray(typical * np.exp(np.cumsum(np.abs(rng.normal(1e-4, 5e-5, count)))))
    if feed.kind in {FeedKind.EVENT, FeedKind.REWARD}:
        return np.asarray(typical * rng.normal(1.0, 0.3, count))
    if feed.column.endswith(":USDT"):
        return np.asarray(typical * np.exp(rng.normal(0.0, 1e-4, count)))
    return np.asarray(typical * np.exp(np.cumsum(rng.normal(0.0, 0.005, count))))
