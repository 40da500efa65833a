"""Which modes a catalogue can feed, from when to when, and every fault that stands in the way."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from basis.models.errors import InputError
from basis.runtime import config_loader
from basis.venues.core.availability import require_no_signal_gap, span
from basis.venues.data.catalogue import Catalogue, Market, Series, assemble, fields_by_series

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

    from basis.models.config import RunConfig
    from basis.models.market import Feed

_SCAN_TICKS = 4096
_LOCATE_TICKS = 24
"""Where a stretch is faulty it is scanned again in pieces of this many ticks, each of which names one fault."""


@dataclass(frozen=True)
class Fault:
    """One reason why a mode cannot be fed."""

    code: str
    """DATA-00x."""
    series: str
    """Series concerned, e.g. ``oracle/usdt_usd``."""
    message: str
    """What is wrong, where and when."""


@dataclass(frozen=True)
class ModeReport:
    """What a catalogue is worth to one mode."""

    mode: str
    """Name of the mode."""
    ok: bool
    """True where every tick from first to last can be fed."""
    first: datetime | None
    """First tick that all series reach to; None where a series cannot be read, or there is no tick in common."""
    last: datetime | None
    """Last tick that all series reach to."""
    faults: tuple[Fault, ...]
    """Every fault found, by series; a series with many has one for each piece of 24 ticks."""
    series: tuple[str, ...]
    """Series that the mode reads, sorted."""


def check_catalogue(root: Path, configs: Path, cache_dir: Path | None = None) -> list[ModeReport]:
    """Check every mode's series, sorted by mode. Faults of the data are reported, never raised.

    Args:
        root: the catalogue.
        configs: folder of modes, venues and share classes.
        cache_dir: column cache; None reads the files themselves.

    Raises:
        InputError: CONFIG-00x, a configuration is not valid.
    """
    runs = {mode: config_loader.load(configs, mode).config for mode in config_loader.mode_names(configs)}
    every_feed = [feed for run in runs.values() for feed in run.feeds()]
    read, unreadable = _read(Catalogue(root, cache_dir), every_feed)
    return [_report(run, read, unreadable) for run in runs.values()]


def _read(catalogue: Catalogue, feeds: Iterable[Feed]) -> tuple[dict[str, Series], dict[str, Fault]]:
    """All series once: those that can be read, and why the others cannot."""
    read: dict[str, Series] = {}
    unreadable: dict[str, Fault] = {}
    for name, fields in fields_by_series(feeds).items():
        try:
            read[name] = catalogue.series(name, fields)
        except InputError as error:
            unreadable[name] = Fault(error.error_code, name, error.message)
    return read, unreadable


def _report(run: RunConfig, read: Mapping[str, Series], unreadable: Mapping[str, Fault]) -> ModeReport:
    feeds = run.feeds()
    series = tuple(fields_by_series(feeds))
    faults = [unreadable[name] for name in series if name in unreadable]
    whole, lacking = _assembled([feed for feed in feeds if feed.series in read], read)
    faults += lacking
    first_ms, last_ms = None, None
    try:
        first_ms, last_ms = whole.coverage(run.time_step_s)
    except InputError as error:
        # with series missing it would only be a consequence
        if not faults:
            faults.append(Fault(error.error_code, ", ".join(series), error.message))
    if first_ms is not None and last_ms is not None:
        for feed in whole.feeds:
            faults += _scan(assemble([feed], read), first_ms, last_ms, 1000 * run.time_step_s)
    is_whole = len(whole.feeds) == len(feeds)
    first, last = (_utc(moment) if is_whole else None for moment in (first_ms, last_ms))
    return ModeReport(run.mode, not faults, first, last, tuple(dict.fromkeys(faults)), series)


def _assembled(feeds: Iterable[Feed], read: Mapping[str, Series]) -> tuple[Market, list[Fault]]:
    """Market of the feeds that have their field and at least one row, and what the others lack."""
    sound, faults = [], []
    for feed in feeds:
        try:
            span(feed, assemble([feed], read).rows[feed.column])
        except InputError as error:
            faults.append(Fault(error.error_code, feed.series, error.message))
        else:
            sound.append(feed)
    return assemble(sound, read), faults


def _scan(market: Market, first_ms: int, last_ms: int, step_ms: int) -> Iterator[Fault]:
    """Faults of a market of one feed between two ticks, each named once."""
    (feed,) = market.feeds
    seen: set[str] = set()
    for start, end in _pieces(first_ms, last_ms, step_ms, _SCAN_TICKS):
        if _fault(market, start, end, step_ms) is None:
            continue
        for begin, until in _pieces(start, end, step_ms, _LOCATE_TICKS):
            found = _fault(market, begin, until, step_ms)
            if found is not None and found.message not in seen:
                seen.add(found.message)
                yield Fault(found.error_code, feed.series, found.message)


def _fault(market: Market, first_ms: int, last_ms: int, step_ms: int) -> InputError | None:
    try:
        for feed in market.feeds:
            require_no_signal_gap(feed, market.rows[feed.column], first_ms, last_ms)
        market.columns(first_ms, step_ms, (last_ms - first_ms) // step_ms + 1)
    except InputError as error:
        return error
    return None


def _pieces(first_ms: int, last_ms: int, step_ms: int, ticks: int) -> Iterator[tuple[int, int]]:
    """Stretches of so many ticks, first and last tick of each."""
    for start in range(first_ms, last_ms + 1, ticks * step_ms):
        yield start, min(start + (ticks - 1) * step_ms, last_ms)


def _utc(moment_ms: int | None) -> datetime | None:
    return None if moment_ms is None else datetime.fromtimestamp(moment_ms / 1000, UTC)
