"""What is known of a series at each tick: pure functions on arrays (behaviour.md section 1).

Every value depends on its own tick and on the rows around it, never on where a window begins or ends: a range read in
one piece or in many gives the same bits. Times are int64 milliseconds since 1970-01-01 UTC throughout.
"""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta
from itertools import chain, repeat
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from basis.models.errors import InputError
from basis.models.market import Feed, FeedKind

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from numpy.typing import NDArray

    FloatArray = NDArray[np.float64]
    IntArray = NDArray[np.int64]
    BoolArray = NDArray[np.bool_]

COMPONENT = "market_data"
"""Component that errors of market data name."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_POSITIVE = frozenset({FeedKind.BAR, FeedKind.INDEX, FeedKind.CLOSE, FeedKind.HIGH, FeedKind.LOW})
_OPEN_AND_CLOSE = frozenset({FeedKind.BAR, FeedKind.CLOSE})
_PRICE_PREFIXES = ("price_usd:", "oracle_price_eth:", "dex_price_eth:")


class Rows(NamedTuple):
    """What a feed reads of its series: parallel arrays, sorted by unique times."""

    times: IntArray
    """Stamps, shape (rows,)."""
    values: FloatArray
    """The feed's field (the open for BAR and CLOSE), shape (rows,); NaN where the file holds null."""
    closes: FloatArray | None = None
    """Closes of bars, shape (rows,); None where the feed is of no bars."""
    opens: FloatArray | None = None
    """Opens of bars, shape (rows,); HIGH and LOW only."""


class Span(NamedTuple):
    """Times that a feed can answer for, both ends included; None means without bound."""

    first_ms: int | None
    last_ms: int | None


def iso_ms(time_ms: int) -> str:
    """ISO 8601, UTC, with offset."""
    return (_EPOCH + timedelta(milliseconds=int(time_ms))).isoformat()


def fault(code: str, message: str) -> InputError:
    """An error of market data, to be raised by the caller."""
    return InputError(code, message, COMPONENT)


def span(feed: Feed, rows: Rows) -> Span:
    """Times that a feed can answer for, gaps aside.

    A snapshot counts for one period after the last row, though a single late one may be as old as ``staleness_s``.

    Raises:
        InputError: DATA-001, the series has no rows (rewards may be empty).
    """
    if feed.kind is FeedKind.REWARD:
        return Span(None, None)
    _require_rows(feed, rows)
    first, last, period_ms = int(rows.times[0]), int(rows.times[-1]), 1000 * feed.period_s
    match feed.kind:
        case FeedKind.INDEX:
            return Span(first, last)
        case FeedKind.EVENT:
            return Span(first - period_ms, last + period_ms)
        case FeedKind.SNAPSHOT | FeedKind.SIGNAL:
            return Span(first - 1000 * feed.lead_s, last + min(period_ms, 1000 * feed.staleness_s))
        case _:
            return Span(first, last + period_ms)


def columns(
    feeds: Iterable[Feed], rows: Mapping[str, Rows], start_ms: int, step_ms: int, ticks: int
) -> dict[str, FloatArray]:
    """Value of each feed at ``start_ms + step_ms * k`` for k in 0 .. ticks - 1.

    Args:
        feeds: column, series, kind and limits; feeds of one series share its stamps.
        rows: column -> its rows.
        start_ms: time of the first tick, ms.
        step_ms: distance of two ticks, ms, positive.
        ticks: how many, at least 1.

    Returns:
        Column -> float64, shape (ticks,), all finite.

    Raises:
        InputError: DATA-001 no data there yet or any more, DATA-002 null, NaN, infinite, price not positive, index
            falling, two events in one step, a signal out of bounds, DATA-003 stale, DATA-004 gap; names series, field and
            time.
    """
    if ticks < 1 or step_ms < 1:
        raise ValueError(f"ticks {ticks} and step_ms {step_ms} must be positive")
    moments = np.arange(start_ms, start_ms + ticks * step_ms, step_ms, dtype=np.int64)
    window = _Window(moments, step_ms, {})
    return {feed.column: _READERS[feed.kind](feed, rows[feed.column], window) for feed in feeds}


class _Window(NamedTuple):
    """Consecutive ticks."""

    moments: IntArray
    """Time of each tick, ms."""
    step_ms: int
    """Distance of two ticks, ms."""
    found: dict[str, NDArray[np.intp]]
    """Series -> index of the last row at or before each tick, and series with period -> number of bars that have ended:
    looked up once for all feeds of a series."""


def _snapshot(feed: Feed, rows: Rows, window: _Window) -> FloatArray:
    at = _row_at(feed, rows, window)
    stamps = rows.times[at]
    limit_ms = 1000 * feed.staleness_s
    ages = window.moments - stamps
    if ages.max() > limit_ms:
        place = int(np.argmax(ages > limit_ms))
        raise _stale(feed, int(window.moments[place]), int(ages[place]), int(stamps[place]))
    values = rows.values[at]
    _require_usable(feed, values, stamps)
    return values


def _index(feed: Feed, rows: Rows, window: _Window) -> FloatArray:
    at = _row_at(feed, rows, window)
    moments, last = window.moments, int(rows.times[-1])
    if moments[-1] > last:
        raise _after_last(feed, last, int(moments[np.argmax(moments > last)]))
    first_row = int(at[0])
    times, values = rows.times[first_row : at[-1] + 2], rows.values[first_row : at[-1] + 2]
    # At the last row of all there is no next one; nothing is interpolated there, so any distance and ratio will do.
    is_end = len(times) == at[-1] + 1 - first_row
    apart = np.append(np.diff(times), 1) if is_end else np.diff(times)
    since = moments - rows.times[at]
    if not _is_growing(feed, times, values):
        _require_growth(feed, rows, at, at + (since > 0))
    with np.errstate(all="ignore"):
        ratios = (values[1:] / values[:-1]).tolist()
    places = at - first_row
    each_ratio = chain.from_iterable(map(repeat, [*ratios, 1.0], np.bincount(places).tolist()))
    # math.pow, not np.power: its SIMD path may round differently by a value's place in the array. pow(x, 0) is 1 even
    # where x is NaN, so a snapshot is itself whatever follows it.
    powers = map(math.pow, each_ratio, (since / apart[places]).tolist())
    return values[places] * np.fromiter(powers, dtype=np.float64, count=len(moments))


def _is_growing(feed: Feed, times: IntArray, values: FloatArray) -> bool:
    """True where all these rows are sound, which is quicker to see than which of them a tick uses."""
    near = len(times) < 2 or bool(np.diff(times).max() <= 1000 * feed.staleness_s)
    # the order is false for NaN, and the two ends then bound all
    return near and bool((values[1:] >= values[:-1]).all() and values[0] > 0 and values[-1] < math.inf)


def _require_growth(feed: Feed, rows: Rows, at: NDArray[np.intp], then: NDArray[np.intp]) -> None:
    """Refuse gaps, unusable values and falling indices between the rows that ticks use, ``at`` and ``then``."""
    apart = rows.times[then] - rows.times[at]
    if apart.max() > 1000 * feed.staleness_s:
        place = int(np.argmax(apart > 1000 * feed.staleness_s))
        raise _gap(feed, int(rows.times[at[place]]), int(rows.times[then[place]]), feed.staleness_s)
    before, after = rows.values[at], rows.values[then]
    _require_usable(feed, before, rows.times[at])
    _require_usable(feed, after, rows.times[then])
    falling = after < before
    if falling.any():
        place = int(np.argmax(falling))
        raise fault(
            "DATA-002",
            f"{_where(feed)}: index falls from {before[place]} at {iso_ms(rows.times[at[place]])} "
            f"to {after[place]} at {iso_ms(rows.times[then[place]])}",
        )


def _bar(feed: Feed, rows: Rows, window: _Window) -> FloatArray:
    if rows.closes is None:
        raise ValueError(f"{feed.column}: a bar feed needs closes")
    at = _row_at(feed, rows, window)
    ended = _require_fresh_bar(feed, rows, window, at) >= 0
    values = rows.values[at]
    if ended.any():
        values[ended] = rows.closes[at[ended]]
    _require_usable(feed, values, rows.times[at])
    return values


def _require_fresh_bar(feed: Feed, rows: Rows, window: _Window, at: NDArray[np.intp]) -> IntArray:
    """Time since the end of the last bar that has begun, negative within it; refused where it is over the limit."""
    starts = rows.times[at]
    ages = window.moments - starts - 1000 * feed.period_s
    limit_ms = 1000 * feed.staleness_s
    if ages.max() > limit_ms:
        place = int(np.argmax(ages > limit_ms))
        if at[place] + 1 < len(rows.times):
            raise _gap(feed, int(starts[place]), int(rows.times[at[place] + 1]), feed.period_s + feed.staleness_s)
        raise _stale(feed, int(window.moments[place]), int(ages[place]), int(starts[place]))
    return ages


def _close(feed: Feed, rows: Rows, window: _Window) -> FloatArray:
    """The close of the last bar that has ended; before any has, the open of the first."""
    if rows.closes is None:
        raise ValueError(f"{feed.column}: a close feed needs closes")
    ended = _ended(feed, rows, window)
    _require_fresh_close(feed, rows, window, ended)
    values, stamps = _last_closes(rows.times, rows.values, rows.closes, ended)
    _require_usable(feed, values, stamps)
    return values


def _extreme(feed: Feed, rows: Rows, window: _Window) -> FloatArray:
    """The highest (or lowest) price of the bars within each step; where there is none, the last close.

    Bars that straddle a tick belong to no step: what of them lies in which step is not known.
    """
    if rows.closes is None or rows.opens is None:
        raise ValueError(f"{feed.column}: a high or low feed needs opens and closes")
    ended = _ended(feed, rows, window)
    _require_fresh_close(feed, rows, window, ended)
    begins = window.moments - window.step_ms
    first = np.searchsorted(rows.times, begins, side="left")
    _require_no_missing_bar(feed, rows, window, ended)
    values, stamps = _last_closes(rows.times, rows.opens, rows.closes, ended)
    some = np.flatnonzero(ended > first)
    if len(some):
        best = np.maximum if feed.kind is FeedKind.HIGH else np.minimum
        low, high = int(first[some[0]]), int(ended[some[-1]])
        # reduceat wants each end to be a place of the array: one more value, that no range reaches
        within = np.append(rows.values[low:high], np.nan)
        edges = np.column_stack((first[some], ended[some])).ravel() - low
        values[some] = best.reduceat(within, edges)[::2]
        stamps[some] = rows.times[first[some]]
    _require_usable(feed, values, stamps)
    return values


def _ended(feed: Feed, rows: Rows, window: _Window) -> NDArray[np.intp]:
    """How many bars have ended at each tick."""
    key = f"{feed.series} {feed.period_s}"
    found = window.found.get(key)
    if found is None:
        found = window.found[key] = np.searchsorted(rows.times, window.moments - 1000 * feed.period_s, side="right")
    return found


def _last_closes(
    times: IntArray, opens: FloatArray, closes: FloatArray, ended: NDArray[np.intp]
) -> tuple[FloatArray, IntArray]:
    """Close of the last bar that has ended at each tick, the first open before that, and the stamps of the rows read."""
    at = np.maximum(ended - 1, 0)
    values = closes[at]
    values[ended == 0] = opens[0]
    return values, times[at]


def _require_fresh_close(feed: Feed, rows: Rows, window: _Window, ended: NDArray[np.intp]) -> None:
    """Refuse where a bar feed is refused, and within the bar that follows a gap too long for it: its close is not yet."""
    begun = _row_at(feed, rows, window)
    _require_fresh_bar(feed, rows, window, begun)
    limit_ms = 1000 * (feed.period_s + feed.staleness_s)
    before = np.maximum(ended - 1, 0)
    apart = rows.times[begun] - rows.times[before]
    if apart.max() > limit_ms:
        place = int(np.argmax(apart > limit_ms))
        raise _gap(feed, int(rows.times[before[place]]), int(rows.times[begun[place]]), limit_ms // 1000)


def _require_no_missing_bar(feed: Feed, rows: Rows, window: _Window, ended: NDArray[np.intp]) -> None:
    """Refuse a step in which more bars are missing than the limit allows: their prices were never seen."""
    begun = np.searchsorted(rows.times, window.moments - window.step_ms, side="right")
    low, high = max(int(begun[0]) - 1, 0), int(ended[-1])
    limit_ms = 1000 * (feed.period_s + feed.staleness_s)
    wide = np.diff(rows.times[low:high]) > limit_ms
    if not wide.any():
        return
    before = np.concatenate(([0], np.cumsum(wide)))
    until, since = np.maximum(ended - 1 - low, 0), np.maximum(begun - 1 - low, 0)
    missing = before[until] > before[np.minimum(since, until)]
    if missing.any():
        place = int(np.argmax(missing))
        hole = low + int(np.flatnonzero(wide[since[place] :])[0] + since[place])
        raise _gap(feed, int(rows.times[hole]), int(rows.times[hole + 1]), feed.period_s + feed.staleness_s)


def _event(feed: Feed, rows: Rows, window: _Window) -> FloatArray:
    moments, step_ms = window.moments, window.step_ms
    _require_in_span(feed, rows, moments)
    edges = np.searchsorted(rows.times, np.append(moments[:1] - step_ms, moments), side="right")
    _require_no_missing_event(feed, rows, window.moments, step_ms, edges)
    counts = np.diff(edges)
    if counts.max() > 1:
        place = int(np.argmax(counts > 1))
        raise fault(
            "DATA-002",
            f"{_where(feed)}: {counts[place]} events in the step of {step_ms // 1000} s that ends at "
            f"{iso_ms(moments[place])}, expected at most one",
        )
    used = slice(int(edges[0]), int(edges[-1]))
    _require_usable(feed, rows.values[used], rows.times[used])
    values = np.zeros(len(moments))
    values[counts == 1] = rows.values[used]
    return values


def _event_mean(feed: Feed, rows: Rows, window: _Window) -> FloatArray:
    """Mean of the events within the lookback: one figure for each set of events, spread over the ticks that see it."""
    moments, reach_ms = window.moments, 1000 * (feed.lookback_s or 0)
    _require_in_span(feed, rows, moments)
    last = np.searchsorted(rows.times, moments, side="right")
    first = np.searchsorted(rows.times, moments - reach_ms, side="right")
    _require_no_missing_event(feed, rows, moments, reach_ms, np.array((first[0], last[-1])))
    empty = last == first
    if empty.any():
        place = int(np.argmax(empty))
        raise fault(
            "DATA-003", f"{_where(feed)}: no event in the {feed.lookback_s} s that end at {iso_ms(moments[place])}"
        )
    used = slice(int(first[0]), int(last[-1]))
    _require_usable(feed, rows.values[used], rows.times[used])
    # a new set of events begins where either end moves
    turns = np.flatnonzero(np.concatenate(([True], (np.diff(first) != 0) | (np.diff(last) != 0))))
    values = rows.values[used].tolist()
    ends = zip((first[turns] - used.start).tolist(), (last[turns] - used.start).tolist(), strict=True)
    # fsum rounds once, so that neither the window nor the sequence shows
    means = [math.fsum(values[low:high]) / (high - low) for low, high in ends]
    return np.repeat(np.array(means), np.diff(np.append(turns, len(moments))))


_SIGNAL_BOUNDS: Mapping[str, tuple[str, Callable[[FloatArray], BoolArray]]] = {
    "signal_side": ("-1 (short), 0 (neutral) or 1 (long)", lambda values: np.isin(values, (-1.0, 0.0, 1.0))),
    "signal_confidence": ("0 to 1", lambda values: (values >= 0.0) & (values <= 1.0)),
    "signal_sd": ("a number above 0", lambda values: values > 0.0),
}


def _signal(feed: Feed, rows: Rows, window: _Window) -> FloatArray:
    values = _snapshot(feed, rows, window)
    expected, within = _SIGNAL_BOUNDS.get(feed.column, ("", None))
    good = within(values) if within else np.True_
    if within and not good.all():
        place = int(np.argmin(good))
        stamp = rows.times[_row_at(feed, rows, window)[place]]
        what = f"is {values[place]}, expected {expected}"
        raise fault("DATA-002", f"{_where(feed)} {what} in the row stamped {iso_ms(stamp)}")
    return values


def require_no_signal_gap(feed: Feed, rows: Rows, start_ms: int, end_ms: int) -> None:
    """Refuse a stretch of time in which signals stop for longer than they count, whether or not a tick falls there.

    Args:
        feed: any; only signals are looked at.
        rows: its rows.
        start_ms: first tick, ms.
        end_ms: last tick, ms.

    Raises:
        InputError: DATA-004, names the rows on both sides of the gap.
    """
    if feed.kind is not FeedKind.SIGNAL:
        return
    first = max(int(np.searchsorted(rows.times, start_ms, side="right")) - 1, 0)
    near = rows.times[first : int(np.searchsorted(rows.times, end_ms, side="right")) + 1]
    wide = np.flatnonzero((np.diff(near) > 1000 * feed.staleness_s) & (near[:-1] + 1000 * feed.staleness_s < end_ms))
    if len(wide):
        raise _gap(feed, int(near[wide[0]]), int(near[wide[0] + 1]), feed.staleness_s)


def _require_in_span(feed: Feed, rows: Rows, moments: IntArray) -> None:
    first, last = span(feed, rows)
    if first is not None and moments[0] < first:
        raise _before_first(feed, first, int(moments[0]))
    if last is not None and moments[-1] > last:
        raise _after_last(feed, last, int(moments[np.argmax(moments > last)]))


def _require_no_missing_event(
    feed: Feed, rows: Rows, moments: IntArray, reach_ms: int, edges: NDArray[np.intp]
) -> None:
    """Refuse where (T - reach, T] touches the hole that a missing event leaves: from when it was due to the next event."""
    near = rows.times[max(int(edges[0]) - 1, 0) : int(edges[-1]) + 1]
    wide = np.flatnonzero(2 * np.diff(near) > 3 * 1000 * feed.period_s)
    for hole in wide:
        due, following = int(near[hole]) + 1000 * feed.period_s, int(near[hole + 1])
        if ((moments >= due) & (moments - reach_ms < following)).any():
            raise _gap(feed, int(near[hole]), following, feed.period_s)


def _reward(feed: Feed, rows: Rows, window: _Window) -> FloatArray:
    moments = window.moments
    values = np.zeros(len(moments))
    first, last = np.searchsorted(rows.times, (moments[0] - window.step_ms, moments[-1]), side="right")
    if first == last:
        return values
    paid, stamps = rows.values[first:last], rows.times[first:last]
    # The source leaves a field empty where that period paid nothing of it.
    paid = np.where(np.isnan(paid), 0.0, paid)
    _require_usable(feed, paid, stamps)
    # add.at adds row by row: the sum does not depend on the window
    np.add.at(values, np.searchsorted(moments, stamps, side="left"), paid)
    return values


_READERS: Mapping[FeedKind, Callable[[Feed, Rows, _Window], FloatArray]] = {
    FeedKind.SNAPSHOT: _snapshot,
    FeedKind.INDEX: _index,
    FeedKind.BAR: _bar,
    FeedKind.EVENT: _event,
    FeedKind.REWARD: _reward,
    FeedKind.CLOSE: _close,
    FeedKind.HIGH: _extreme,
    FeedKind.LOW: _extreme,
    FeedKind.EVENT_MEAN: _event_mean,
    FeedKind.SIGNAL: _signal,
}


def _row_at(feed: Feed, rows: Rows, window: _Window) -> NDArray[np.intp]:
    """Index of the last row stamped at or before each tick."""
    found = window.found.get(feed.series)
    if found is None:
        _require_rows(feed, rows)
        first = int(rows.times[0]) - 1000 * feed.lead_s
        if window.moments[0] < first:
            raise _before_first(feed, first, int(window.moments[0]))
        before = np.searchsorted(rows.times, window.moments, side="right") - 1
        found = window.found[feed.series] = np.maximum(before, 0)  # below 0 only within the lead
    return found


def _require_rows(feed: Feed, rows: Rows) -> None:
    if len(rows.times) == 0:
        raise fault("DATA-001", f"{_where(feed)}: the series has no rows")


def _require_usable(feed: Feed, values: FloatArray, stamps: IntArray) -> None:
    """Refuse null, NaN and infinity, and zero or less where the value is a price or an index."""
    good = np.isfinite(values)
    if _is_positive(feed):
        good &= values > 0
    if not good.all():
        place = int(np.argmin(good))
        bad = values[place]
        what = "is null or NaN" if np.isnan(bad) else f"is {bad}, expected a finite number"
        if np.isfinite(bad):
            what = f"is {bad}, expected a positive number"
        raise fault("DATA-002", f"{_where(feed)} {what} in the row stamped {iso_ms(stamps[place])}")


def _is_positive(feed: Feed) -> bool:
    return feed.kind in _POSITIVE or feed.column.startswith(_PRICE_PREFIXES)


def _where(feed: Feed) -> str:
    return f"{feed.series}: {'open/close' if feed.kind in _OPEN_AND_CLOSE else feed.field}"


def _before_first(feed: Feed, first_ms: int, moment_ms: int) -> InputError:
    return fault("DATA-001", f"{_where(feed)}: nothing known at {iso_ms(moment_ms)}, available from {iso_ms(first_ms)}")


def _after_last(feed: Feed, last_ms: int, moment_ms: int) -> InputError:
    return fault("DATA-001", f"{_where(feed)}: nothing known at {iso_ms(moment_ms)}, available until {iso_ms(last_ms)}")


def _stale(feed: Feed, moment_ms: int, age_ms: int, stamp_ms: int) -> InputError:
    return fault(
        "DATA-003",
        f"{_where(feed)}: at {iso_ms(moment_ms)} the last value is {age_ms / 1000:g} s old (row stamped "
        f"{iso_ms(stamp_ms)}), limit {feed.staleness_s} s",
    )


def _gap(feed: Feed, before_ms: int, after_ms: int, limit_s: int) -> InputError:
    apart_s = (after_ms - before_ms) / 1000
    return fault(
        "DATA-004",
        f"{_where(feed)}: gap of {apart_s:g} s between the rows stamped {iso_ms(before_ms)} and {iso_ms(after_ms)}, "
        f"expected at most {limit_s} s",
    )
