"""The catalogue: a folder of Parquet files, one series each, and the market that a run reads of it.

Layout: ``docs/reference/market-data-format.md``. What counts as known at a tick: ``basis.venues.core.availability``.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from basis.models.market import Feed, FeedKind
from basis.venues.core.availability import Rows, columns, fault, iso_ms, require_no_signal_gap, span
from basis.venues.data import cache
from basis.venues.data.cache import TIMESTAMP

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    FloatArray = NDArray[np.float64]
    Columns = Mapping[str, NDArray[Any]]

_CHECK_TICKS = 4096
"""Ticks that a check holds in memory at a time."""
_NEEDS_ENDED_BAR = frozenset({FeedKind.CLOSE, FeedKind.HIGH, FeedKind.LOW})
_NAME = re.compile(r"[A-Za-z0-9_]+(?:/[A-Za-z0-9_]+)*")
_FIELD = re.compile(r"[A-Za-z0-9_]+")


class Series(NamedTuple):
    """One Parquet file, read and found sound."""

    sha256: str
    """SHA-256 of the file."""
    columns: Columns
    """``timestamp`` (int64 ms, sorted, unique) and the fields asked for that exist (float64, NaN for null)."""
    fields: tuple[str, ...]
    """Names of all its numeric fields, sorted."""


@dataclass(frozen=True)
class Market:
    """The feeds of a run over the series of one catalogue; immutable, safe to share between threads."""

    feeds: tuple[Feed, ...]
    """Feeds, one a column."""
    rows: Mapping[str, Rows]
    """Column -> its rows."""
    series_sha256: Mapping[str, str]
    """Series used -> SHA-256 of its file."""
    notes: tuple[str, ...] = ()
    """What a reader of a result must know of how the series were made, beside :func:`describe`."""

    @cached_property
    def data_sha256(self) -> str:
        """SHA-256 over the lines ``<series> <sha256 of its file>``, sorted by series."""
        lines = "".join(f"{name} {digest}\n" for name, digest in sorted(self.series_sha256.items()))
        return hashlib.sha256(lines.encode()).hexdigest()

    def columns(self, start_ms: int, step_ms: int, ticks: int) -> dict[str, FloatArray]:
        """Column -> value at each of ``ticks`` ticks from ``start_ms`` on, float64, shape (ticks,), all finite.

        The same tick gets the same bits whatever window it is read in.

        Raises:
            InputError: DATA-00x, see :func:`basis.venues.core.availability.columns`.
        """
        return columns(self.feeds, self.rows, start_ms, step_ms, ticks)

    def coverage(self, step_s: int) -> tuple[int, int]:
        """First and last tick that all feeds reach to, ms, on multiples of ``step_s``; gaps within are :meth:`check`'s.

        Raises:
            InputError: DATA-001, the series have no tick in common, or none of them sets a bound.
        """
        (first, first_by), (last, last_by) = self._bounds()
        step_ms = 1000 * step_s
        first_tick, last_tick = -(-first // step_ms) * step_ms, last // step_ms * step_ms
        if first_tick > last_tick:
            raise fault(
                "DATA-001",
                f"no tick of {step_s} s in common: {first_by} begins at {iso_ms(first)}, "
                f"{last_by} ends at {iso_ms(last)}",
            )
        return first_tick, last_tick

    def check(self, start_ms: int, end_ms: int, step_ms: int) -> None:
        """Refuse what :meth:`columns` would refuse at any tick of [start, end]; memory is flat in the range.

        Raises:
            InputError: DATA-001, the range reaches outside the data; names what there is and which series limits it.
                DATA-004, signals stop for longer than they count. DATA-00x as :meth:`columns`.
        """
        if start_ms > end_ms:
            raise fault("DATA-001", f"start {iso_ms(start_ms)} is after end {iso_ms(end_ms)}")
        (first, first_by), (last, last_by) = self._bounds()
        if start_ms < first or end_ms > last:
            raise fault(
                "DATA-001",
                f"asked for {iso_ms(start_ms)} to {iso_ms(end_ms)}, available is {iso_ms(first)} to {iso_ms(last)}: "
                f"{first_by} begins there, {last_by} ends there",
            )
        for feed in self.feeds:
            require_no_signal_gap(feed, self.rows[feed.column], start_ms, end_ms)
        total = (end_ms - start_ms) // step_ms + 1
        for done in range(0, total, _CHECK_TICKS):
            self.columns(start_ms + done * step_ms, step_ms, min(_CHECK_TICKS, total - done))

    def _bounds(self) -> tuple[tuple[int, str], tuple[int, str]]:
        """Latest beginning and earliest end of all feeds, ms, each with the series that sets it."""
        spans = [(span(feed, self.rows[feed.column]), feed.series) for feed in self.feeds]
        firsts = [(found.first_ms, series) for found, series in spans if found.first_ms is not None]
        lasts = [(found.last_ms, series) for found, series in spans if found.last_ms is not None]
        if not firsts or not lasts:
            raise fault("DATA-001", "no series says from when to when there is data: only payments are read")
        return max(firsts, key=lambda bound: bound[0]), min(lasts, key=lambda bound: bound[0])


@dataclass(frozen=True)
class Catalogue:
    """A folder of series, and where their memory-mapped columns are kept."""

    root: Path
    """Folder of the catalogue; series ``oracle/usdt_usd`` is ``oracle/usdt_usd.parquet`` below it."""
    cache_dir: Path | None = None
    """Folder of the column cache; made when needed, safe to delete; None or not writable: done without."""

    def open(self, feeds: tuple[Feed, ...]) -> Market:
        """Read what the feeds need.

        Raises:
            InputError: DATA-001 missing file or field, DATA-002 file not readable, not sorted or with duplicates; names
                the file, and what there is or when.
        """
        read = {name: self.series(name, fields) for name, fields in fields_by_series(feeds).items()}
        return assemble(feeds, read)

    def series(self, name: str, fields: Sequence[str]) -> Series:
        """Read one series, from the cache where it is there.

        Args:
            name: e.g. ``oracle/usdt_usd``.
            fields: fields wanted; those that the file lacks are left out of the answer.

        Raises:
            InputError: as :meth:`open`.
        """
        if _NAME.fullmatch(name) is None:
            raise fault("DATA-001", f"{name!r} is not a series: expected names of letters, digits and _ parted by /")
        path = self.root / f"{name}.parquet"
        try:
            digest = cache.file_sha256(path)
            if (hit := self._cached(digest, fields)) is not None:
                return hit
            content = path.read_bytes()
        except FileNotFoundError as error:
            raise fault("DATA-001", f"series {name}: no such file {path}") from error
        except OSError as error:
            raise fault("DATA-001", f"series {name}: {path} cannot be read: {error.strerror}") from error
        # hashed again: the file may have been replaced since
        digest = hashlib.sha256(content).hexdigest()
        columns = _parse(content, path)
        # NumPy maps no empty file, and there is nothing to gain
        if self.cache_dir is not None and len(columns[TIMESTAMP]) and cache.store(self.cache_dir, digest, columns):
            hit = self._cached(digest, fields)
        return hit or Series(digest, columns, tuple(sorted(field for field in columns if field != TIMESTAMP)))

    def _cached(self, digest: str, fields: Sequence[str]) -> Series | None:
        found = None if self.cache_dir is None else cache.load(self.cache_dir, digest, fields)
        return None if found is None else Series(digest, *found)


def fields_by_series(feeds: Iterable[Feed]) -> dict[str, list[str]]:
    """Series -> fields that the feeds read of it, both sorted."""
    wanted: dict[str, set[str]] = {}
    for feed in feeds:
        wanted.setdefault(feed.series, set()).update(_fields(feed))
    return {name: sorted(fields) for name, fields in sorted(wanted.items())}


def assemble(feeds: Iterable[Feed], read: Mapping[str, Series]) -> Market:
    """The market of feeds whose series have been read.

    Raises:
        InputError: DATA-001, a series lacks a field; names those that it has.
    """
    chosen = tuple(feeds)
    rows = {feed.column: _rows(feed, read[feed.series]) for feed in chosen}
    return Market(chosen, rows, {feed.series: read[feed.series].sha256 for feed in chosen})


def describe(market: Market, start_ms: int | None = None) -> tuple[str, ...]:
    """How the data was read where there was a choice, one note each, for the metadata of a result.

    Args:
        market: feeds and rows.
        start_ms: first tick, ms; with it, a first row that stands in for what comes before it is noted.
    """
    notes = []
    for feed in market.feeds:
        if feed.kind is FeedKind.INDEX:
            notes.append(f"{feed.column}: interpolated geometrically between snapshots of {feed.series}")
        elif feed.kind is FeedKind.REWARD:
            notes.append(f"{feed.column}: paid at the stamps of {feed.series}; no row and no value mean no payment")
        if feed.max_staleness_s is not None:
            notes.append(f"{feed.column}: values of {feed.series} count for up to {feed.max_staleness_s} s")
        if feed.lead_s and start_ms is not None and start_ms < market.rows[feed.column].times[0]:
            first = iso_ms(market.rows[feed.column].times[0])
            notes.append(f"{feed.column}: until {first} the first row of {feed.series} stands for the ticks before it")
        if feed.kind in _NEEDS_ENDED_BAR and start_ms is not None:
            ends = int(market.rows[feed.column].times[0]) + 1000 * feed.period_s
            if start_ms < ends:
                notes.append(f"{feed.column}: until {iso_ms(ends)} the open of the first bar of {feed.series} stands")
    return (*notes, *market.notes)


def _fields(feed: Feed) -> tuple[str, ...]:
    """Fields of the file that a feed reads, in the sequence of :class:`Rows`."""
    if feed.kind in {FeedKind.BAR, FeedKind.CLOSE}:
        return ("open", "close")
    return (feed.field, "close", "open") if feed.kind in {FeedKind.HIGH, FeedKind.LOW} else (feed.field,)


def _rows(feed: Feed, series: Series) -> Rows:
    for field in _fields(feed):
        if field not in series.fields:
            known = ", ".join(series.fields) or "none"
            raise fault("DATA-001", f"series {feed.series} has no field {field!r} for {feed.column}; it has: {known}")
    values = [series.columns[field] for field in _fields(feed)]
    return Rows(series.columns[TIMESTAMP], *values)


def _parse(content: bytes, path: Path) -> dict[str, NDArray[Any]]:
    """Timestamp as int64 ms and every numeric field as float64 of a Parquet file.

    Raises:
        InputError: DATA-002, not Parquet, or its timestamps are not usable; names the file.
    """
    # Imported here: it takes half a second, and a run whose series are cached has no use for it.
    import pyarrow as pa  # noqa: PLC0415
    import pyarrow.parquet as pq  # noqa: PLC0415

    try:
        table = pq.read_table(pa.BufferReader(content))
    except (pa.ArrowException, OSError) as error:
        raise fault("DATA-002", f"{path}: not readable as Parquet: {' '.join(str(error).split())}") from error
    columns = {TIMESTAMP: _timestamps(table, path)}
    for place, field in enumerate(table.schema):
        numeric = pa.types.is_floating(field.type) or pa.types.is_integer(field.type)
        if field.name != TIMESTAMP and numeric and _FIELD.fullmatch(field.name):
            values = table.column(place).cast(pa.float64(), safe=False)
            columns[field.name] = np.ascontiguousarray(values.to_numpy(), dtype=np.float64)
    return columns


def _timestamps(table: Any, path: Path) -> NDArray[np.int64]:
    import pyarrow as pa  # noqa: PLC0415

    if table.column_names.count(TIMESTAMP) != 1:
        raise fault("DATA-002", f"{path}: no column {TIMESTAMP!r}; it has: {', '.join(table.column_names)}")
    stamps = table.column(TIMESTAMP)
    if not pa.types.is_timestamp(stamps.type) or stamps.type.tz is None:
        raise fault("DATA-002", f"{path}: {TIMESTAMP} is {stamps.type}, expected timestamp[ms, tz=UTC]")
    if stamps.null_count:
        raise fault("DATA-002", f"{path}: {TIMESTAMP} is null in {stamps.null_count} rows")
    try:
        in_ms = stamps.cast(pa.timestamp("ms", tz="UTC"))
    except pa.ArrowInvalid as error:
        raise fault("DATA-002", f"{path}: {TIMESTAMP} is finer than milliseconds") from error
    times = np.ascontiguousarray(in_ms.cast(pa.int64()).to_numpy(), dtype=np.int64)
    falling = np.flatnonzero(np.diff(times) <= 0)
    if len(falling):
        place = int(falling[0])
        what = "twice" if times[place] == times[place + 1] else f"after {iso_ms(times[place])}, so not sorted"
        raise fault("DATA-002", f"{path}: row stamped {iso_ms(times[place + 1])} comes {what}")
    return times
