"""A model's signals: read from the catalogue, a file or an HTTP endpoint, and refused unless they are sound.

Format: ``docs/how-to/bring-your-own-signals.md``. Every error names the source, the row (the first row of data is row 1)
and the time.
"""

from __future__ import annotations

import csv
import hashlib
import http.client
import io
import time
import urllib.error
import urllib.request
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import urlsplit, urlunsplit

import numpy as np
import orjson

from basis.models.errors import InputError
from basis.models.market import SIGNAL_SERIES, FeedKind
from basis.venues.core.availability import COMPONENT, fault, iso_ms, span
from basis.venues.data import cache
from basis.venues.data.cache import TIMESTAMP
from basis.venues.data.catalogue import Series, assemble, fields_by_series

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import NDArray

    from basis.models.market import Feed
    from basis.models.strategy_config import SignalsConfig
    from basis.venues.data.catalogue import Catalogue, Market

    FloatArray = NDArray[np.float64]
    IntArray = NDArray[np.int64]

DATA_UNTIL = "data_until"
"""Optional column: end of the last data that a signal was made from."""

_FORMAT = 1
"""Raised whenever the same file reads as other columns: part of the key of its cached columns."""
_SIDES = {"long": 1.0, "short": -1.0, "neutral": 0.0}
_SIDE_COLUMNS = ("signal", "side")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MS = timedelta(milliseconds=1)
_TIMEOUT_S, _PAUSES_S = 10.0, (0.5, 1.0)
"""Longest wait for an answer, and before the second and third try."""
_MAX_BYTES = 256_000_000
_RETRIED = frozenset({408, 425, 429, 500, 502, 503, 504})
"""HTTP answers after which the same request may do better."""


class _Table(NamedTuple):
    """Columns of a source before their values are checked; each cell is there and of its type."""

    timestamp: IntArray
    side: FloatArray
    confidence: FloatArray
    sd: FloatArray
    data_until: IntArray | None


def load(config: SignalsConfig, root: Path, cache_dir: Path | None = None, series: str = SIGNAL_SERIES) -> Series:
    """Read the signals of a mode; every row is checked, whatever range a run takes of them.

    Args:
        config: provider and location; a relative path is relative to the working directory of this process.
        root: folder of the catalogue.
        cache_dir: folder of the column cache (files only); None: done without.
        series: name in the catalogue; provider catalogue only.

    Returns:
        Columns ``timestamp`` (int64 ms), ``side`` (1, -1, 0), ``confidence``, ``sd`` (float64) and, where the source has
        it, ``data_until`` (int64 ms). Its SHA-256 is that of the file; over HTTP that of the rows.

    Raises:
        InputError: DATA-001 no such source, no answer, or no rows; DATA-002 not readable, a value missing or out of its
            range, rows not sorted or twice; DATA-005 made from data after its own time; CONFIG-003 unknown kind of
            location.
    """
    where = source(config, root, series)
    if config.provider == "http":
        columns = _checked(_rows_of_json(_get(config.location or "", where), where), where)
        return _series(_digest(columns), columns)
    path = _path(config, root, series)
    parse = _PARSERS.get(path.suffix.lower())
    if parse is None:
        message = f"strategy.signals.location {where}: expected a file that ends in {' or '.join(sorted(_PARSERS))}"
        raise InputError("CONFIG-003", message, COMPONENT)
    try:
        content = path.read_bytes()
    except FileNotFoundError as error:
        hint = "; 'basis data sample' writes one, and strategy.signals.provider names another source"
        message = f"signals {where}: no such file{hint if config.provider == 'catalogue' else ''}"
        raise fault("DATA-001", message) from error
    except OSError as error:
        raise fault("DATA-001", f"signals {where}: cannot be read: {error.strerror}") from error
    digest = hashlib.sha256(content).hexdigest()
    # another key than the catalogue's own for the same file: other columns come of it
    key = hashlib.sha256(f"signals {_FORMAT} {path.suffix.lower()} {digest}".encode()).hexdigest()
    hit = None if cache_dir is None else cache.load(cache_dir, key, ("side", "confidence", "sd", DATA_UNTIL))
    if hit is not None:
        return Series(digest, *hit)
    columns = _checked(parse(content, where), where)
    if cache_dir is not None:
        cache.store(cache_dir, key, columns)
    return _series(digest, columns)


def source(config: SignalsConfig, root: Path, series: str = SIGNAL_SERIES) -> str:
    """Where the signals come from, for messages: a path, or a URL without what may be secret in it."""
    if config.provider != "http":
        return str(_path(config, root, series))
    parts = urlsplit(config.location or "")
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))


def open_market(catalogue: Catalogue, feeds: tuple[Feed, ...], config: SignalsConfig) -> Market:
    """The market of a mode on signals: those from their provider, all other series from the catalogue.

    Raises:
        InputError: as :func:`load` and :meth:`basis.venues.data.catalogue.Catalogue.open`.
    """
    ours = sorted({feed.series for feed in feeds if feed.kind is FeedKind.SIGNAL})
    others = fields_by_series(feed for feed in feeds if feed.kind is not FeedKind.SIGNAL)
    read = {name: catalogue.series(name, fields) for name, fields in others.items()}
    told: list[str] = []
    for name in ours:
        read[name] = load(config, catalogue.root, catalogue.cache_dir, name)
        told += notes(read[name], source(config, catalogue.root, name))
    return replace(assemble(feeds, read), notes=tuple(told))


def check_market(market: Market, config: SignalsConfig, root: Path, start_ms: int, end_ms: int) -> None:
    """Refuse a market whose signals cannot feed the ticks from start to end.

    Raises:
        InputError: as :func:`check`.
    """
    data_end_ms = data_end(market)
    for series, column in {feed.series: feed.column for feed in market.feeds if feed.kind is FeedKind.SIGNAL}.items():
        where = source(config, root, series)
        times = market.rows[column].times
        check(times, where, max_age_s=config.max_age_s, start_ms=start_ms, end_ms=end_ms, data_end_ms=data_end_ms)


def check(times: IntArray, where: str, *, max_age_s: int, start_ms: int, end_ms: int, data_end_ms: int) -> None:
    """Refuse signals that cannot feed a run, before it begins.

    Args:
        times: stamps of the signals, ms, sorted, at least one.
        where: what :func:`source` returned.
        max_age_s: oldest signal that still counts, seconds.
        start_ms: first tick, ms.
        end_ms: last tick, ms.
        data_end_ms: end of the market data, ms, see :func:`data_end`.

    Raises:
        InputError: DATA-001 the first signal comes after the start, DATA-002 one is stamped after the end of the market
            data, DATA-003 the last one is too old at the end, DATA-004 two are too far apart.
    """
    if times[0] > start_ms:
        begins = f"the first signal is stamped {iso_ms(times[0])} (row 1)"
        raise fault("DATA-001", f"signals {where}: {begins}, after the start of the run {iso_ms(start_ms)}")
    if times[-1] > data_end_ms:
        place = int(np.searchsorted(times, data_end_ms, side="right"))
        stamped = f"row {place + 1} is stamped {iso_ms(times[place])}"
        raise fault("DATA-002", f"signals {where}: {stamped}, after the end of the market data {iso_ms(data_end_ms)}")
    first, last = (int(np.searchsorted(times, moment, side="right")) - 1 for moment in (start_ms, end_ms))
    apart = np.diff(times[first : last + 1])
    wide = np.flatnonzero(apart > 1000 * max_age_s)
    if len(wide):
        place = first + int(wide[0])
        rows = f"rows {place + 1} and {place + 2}, stamped {iso_ms(times[place])} and {iso_ms(times[place + 1])}"
        gap = f"gap of {apart[wide[0]] / 1000:g} s between {rows}"
        raise fault("DATA-004", f"signals {where}: {gap}, expected at most {max_age_s} s (max_age_s)")
    if end_ms - times[last] > 1000 * max_age_s:
        age = f"at the end of the run {iso_ms(end_ms)} it is {(end_ms - times[last]) / 1000:g} s old"
        latest = f"the last signal is stamped {iso_ms(times[last])} (row {last + 1})"
        raise fault("DATA-003", f"signals {where}: {latest}; {age}, expected at most {max_age_s} s (max_age_s)")


def data_end(market: Market) -> int:
    """End of the market data that is not signals, ms: of the series that reaches farthest.

    Raises:
        InputError: DATA-001, there is none.
    """
    spans = (span(feed, market.rows[feed.column]) for feed in market.feeds if feed.kind is not FeedKind.SIGNAL)
    ends = [found.last_ms for found in spans if found.last_ms is not None]
    if not ends:
        raise fault("DATA-001", "no series says until when there is market data")
    return max(ends)


def notes(series: Series, where: str) -> tuple[str, ...]:
    """What a reader of a result must know of its signals, for its metadata."""
    read = f"signals: {len(series.columns[TIMESTAMP])} rows of {where}"
    if DATA_UNTIL in series.columns:
        return (f"{read}, none made from data after its own time (data_until)",)
    return (
        f"{read}; they do not say what data they were made from (no data_until), so look-ahead cannot be ruled out",
    )


def _path(config: SignalsConfig, root: Path, series: str) -> Path:
    return root / f"{series}.parquet" if config.provider == "catalogue" else Path(config.location or "")


def _series(digest: str, columns: dict[str, NDArray[Any]]) -> Series:
    return Series(digest, columns, tuple(sorted(name for name in columns if name != TIMESTAMP)))


def _digest(columns: dict[str, NDArray[Any]]) -> str:
    """SHA-256 of rows that no file holds: names and little-endian values."""
    found = hashlib.sha256()
    for name, values in sorted(columns.items()):
        found.update(f"{name} {len(values)}\n".encode())
        found.update(values.astype(values.dtype.newbyteorder("<")).tobytes())
    return found.hexdigest()


def _checked(table: _Table, where: str) -> dict[str, NDArray[Any]]:
    """Columns of a table whose values are all in their ranges."""
    times = table.timestamp
    if len(times) == 0:
        raise fault("DATA-001", f"signals {where}: no rows")
    falling = np.flatnonzero(np.diff(times) <= 0)
    if len(falling):
        place = int(falling[0])
        same = times[place] == times[place + 1]
        what = "is there twice" if same else f"comes after {iso_ms(times[place])}: rows must be sorted"
        raise fault("DATA-002", f"signals {where}: row {place + 2} stamped {iso_ms(times[place + 1])} {what}")
    # the negation refuses NaN too
    _refuse(table, where, ~((table.confidence >= 0) & (table.confidence <= 1)), "confidence", "a number from 0 to 1")
    _refuse(table, where, ~((table.sd > 0) & np.isfinite(table.sd)), "sd", "a number above 0")
    _refuse(table, where, ~np.isin(table.side, tuple(_SIDES.values())), "side", "long, short, neutral, or 1, -1, 0")
    columns: dict[str, NDArray[Any]] = {
        TIMESTAMP: times,
        "side": table.side,
        "confidence": table.confidence,
        "sd": table.sd,
    }
    if table.data_until is not None:
        early = np.flatnonzero(table.data_until > times)
        if len(early):
            place = int(early[0])
            stamps = f"row {place + 1} is stamped {iso_ms(times[place])} but was made from data until"
            raise fault(
                "DATA-005",
                f"signals {where}: {stamps} {iso_ms(table.data_until[place])} (data_until): it looks ahead, "
                "expected data_until at or before timestamp",
            )
        columns[DATA_UNTIL] = table.data_until
    return columns


def _refuse(table: _Table, where: str, bad: NDArray[np.bool_], name: str, expected: str) -> None:
    if bad.any():
        place = int(np.argmax(bad))
        value = getattr(table, name)[place]
        stamped = f"row {place + 1} stamped {iso_ms(table.timestamp[place])}"
        raise fault("DATA-002", f"signals {where}: {stamped}: {name} is {value:g}, expected {expected}")


# ------------------------------------------------------------------------------------------------ CSV and JSON


def _rows_of_csv(content: bytes, where: str) -> _Table:
    try:
        lines = list(csv.reader(io.StringIO(content.decode("utf-8-sig"), newline=""), strict=True))
    except (UnicodeDecodeError, csv.Error) as error:
        raise fault("DATA-002", f"signals {where}: not readable as CSV: {error}") from error
    if not lines:
        raise fault("DATA-001", f"signals {where}: no rows")
    names = [name.strip() for name in lines[0]]
    side = _side_column(names, where)
    rows = [line for line in lines[1:] if line]  # a blank line is no row
    for place, line in enumerate(rows):
        if len(line) != len(names):
            raise fault("DATA-002", f"signals {where}: row {place + 1} has {len(line)} cells, expected {len(names)}")
    cells = dict(zip(names, zip(*rows, strict=True), strict=True)) if rows else dict.fromkeys(names, ())
    return _parsed(cells, side, where)


def _rows_of_json(content: bytes, where: str) -> _Table:
    try:
        rows = orjson.loads(content)
    except orjson.JSONDecodeError as error:
        raise fault("DATA-002", f"signals {where}: the answer is not JSON: {error}") from error
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise fault("DATA-002", f"signals {where}: the answer is not a JSON list of objects, one a row")
    if not rows:
        raise fault("DATA-001", f"signals {where}: no rows")
    side = _side_column(list(rows[0]), where)
    names = [TIMESTAMP, side, "confidence", "sd"]
    if any(DATA_UNTIL in row for row in rows):
        names.append(DATA_UNTIL)
    return _parsed({name: [row.get(name) for row in rows] for name in names}, side, where)


def _side_column(names: Sequence[str], where: str) -> str:
    """Which of the two names the side has; refuses columns that are missing or there twice."""
    for name in (TIMESTAMP, "confidence", "sd"):
        if name not in names:
            raise fault("DATA-001", f"signals {where}: no column {name!r}; it has: {', '.join(names)}")
    known = {TIMESTAMP, DATA_UNTIL, "confidence", "sd", *_SIDE_COLUMNS}
    for name in known:
        if list(names).count(name) > 1:
            raise fault("DATA-002", f"signals {where}: column {name!r} is there twice")
    sides = [name for name in _SIDE_COLUMNS if name in names]
    if not sides:
        raise fault("DATA-001", f"signals {where}: no column 'signal' or 'side'; it has: {', '.join(names)}")
    if len(sides) > 1:
        raise fault("DATA-002", f"signals {where}: both 'signal' and 'side' are there, expected one of them")
    return sides[0]


def _parsed(cells: dict[str, Any], side: str, where: str) -> _Table:
    def column(name: str, parse: Callable[[Any], float], dtype: Any) -> NDArray[Any]:
        return np.fromiter(_cells(cells[name], parse, name, where), dtype=dtype, count=len(cells[name]))

    return _Table(
        column(TIMESTAMP, _time, np.int64),
        column(side, _side, np.float64),
        column("confidence", _number, np.float64),
        column("sd", _number, np.float64),
        column(DATA_UNTIL, _time, np.int64) if DATA_UNTIL in cells else None,
    )


def _cells(cells: Sequence[Any], parse: Callable[[Any], float], name: str, where: str) -> Iterator[float]:
    for place, cell in enumerate(cells):
        if cell is None or cell == "":
            raise fault("DATA-002", f"signals {where}: row {place + 1}: {name} is empty")
        try:
            yield parse(cell)
        except (ValueError, OverflowError) as error:
            message = f"signals {where}: row {place + 1}: {name} is {str(cell)[:60]!r}, expected {error}"
            raise fault("DATA-002", message) from error


def _time(cell: Any) -> int:
    """Milliseconds of an ISO 8601 time with an offset."""
    expected = "ISO 8601 with an offset, whole milliseconds, e.g. 2024-01-01T00:00:00Z"
    try:
        moment = datetime.fromisoformat(cell.strip())
    except (ValueError, AttributeError) as error:
        raise ValueError(expected) from error
    if moment.tzinfo is None or moment.microsecond % 1000:
        raise ValueError(expected)
    return (moment - _EPOCH) // _MS


def _number(cell: Any) -> float:
    if isinstance(cell, bool) or not isinstance(cell, str | int | float):
        raise ValueError("a number")  # noqa: TRY004 - the caller names the row
    try:
        return float(cell)
    except ValueError as error:
        raise ValueError("a number") from error


def _side(cell: Any) -> float:
    if isinstance(cell, str) and cell.strip() in _SIDES:
        return _SIDES[cell.strip()]
    try:
        found = _number(cell)
    except ValueError as error:
        raise ValueError("long, short or neutral, or 1, -1 or 0") from error
    if found not in _SIDES.values():
        raise ValueError("long, short or neutral, or 1, -1 or 0")
    return found


# ------------------------------------------------------------------------------------------------ Parquet


def _rows_of_parquet(content: bytes, where: str) -> _Table:
    # Imported here: it takes half a second, and a run whose signals are cached has no use for it.
    import pyarrow as pa  # noqa: PLC0415
    import pyarrow.parquet as pq  # noqa: PLC0415

    try:
        table = pq.read_table(pa.BufferReader(content))
    except (pa.ArrowException, OSError) as error:
        raise fault("DATA-002", f"signals {where}: not readable as Parquet: {' '.join(str(error).split())}") from error
    side = _side_column(table.column_names, where)
    return _Table(
        _arrow_times(table, TIMESTAMP, where),
        _arrow_sides(table, side, where),
        _arrow_numbers(table, "confidence", where),
        _arrow_numbers(table, "sd", where),
        _arrow_times(table, DATA_UNTIL, where) if DATA_UNTIL in table.column_names else None,
    )


def _arrow_column(table: Any, name: str, where: str) -> Any:
    """A column without nulls."""
    column = table.column(name)
    if column.null_count:
        place = int(np.argmax(column.is_null().to_numpy()))
        raise fault("DATA-002", f"signals {where}: row {place + 1}: {name} is null")
    return column


def _arrow_times(table: Any, name: str, where: str) -> IntArray:
    import pyarrow as pa  # noqa: PLC0415

    column = _arrow_column(table, name, where)
    if not pa.types.is_timestamp(column.type) or column.type.tz is None:
        raise fault("DATA-002", f"signals {where}: {name} is {column.type}, expected timestamp[ms, tz=UTC]")
    try:
        in_ms = column.cast(pa.timestamp("ms", tz="UTC"))
    except pa.ArrowInvalid as error:
        raise fault("DATA-002", f"signals {where}: {name} is finer than milliseconds") from error
    return np.ascontiguousarray(in_ms.cast(pa.int64()).to_numpy(), dtype=np.int64)


def _arrow_numbers(table: Any, name: str, where: str) -> FloatArray:
    import pyarrow as pa  # noqa: PLC0415

    column = _arrow_column(table, name, where)
    if not (pa.types.is_floating(column.type) or pa.types.is_integer(column.type)):
        raise fault("DATA-002", f"signals {where}: {name} is {column.type}, expected a number")
    return np.ascontiguousarray(column.cast(pa.float64(), safe=False).to_numpy(), dtype=np.float64)


def _arrow_sides(table: Any, name: str, where: str) -> FloatArray:
    import pyarrow as pa  # noqa: PLC0415

    column = _arrow_column(table, name, where)
    if pa.types.is_floating(column.type) or pa.types.is_integer(column.type):
        return _arrow_numbers(table, name, where)
    return np.fromiter(_cells(column.to_pylist(), _side, name, where), dtype=np.float64, count=len(column))


_PARSERS: dict[str, Callable[[bytes, str], _Table]] = {".csv": _rows_of_csv, ".parquet": _rows_of_parquet}


# ------------------------------------------------------------------------------------------------ HTTP


def _get(url: str, where: str) -> bytes:
    """Body of a GET; three tries where a further one may do better.

    Raises:
        InputError: CONFIG-003 not an HTTP address, DATA-001 no usable answer, DATA-002 an answer too large to read.
    """
    if urlsplit(url).scheme not in {"http", "https"} or not urlsplit(url).hostname:
        # urllib would open file: and ftp: too
        raise InputError("CONFIG-003", f"strategy.signals.location {where}: expected http:// or https://", COMPONENT)
    reason = ""
    for pause in (*_PAUSES_S, None):
        try:
            return _answer(url, where)
        except urllib.error.HTTPError as error:
            error.close()
            reason = f"HTTP {error.code} {error.reason}"
            if error.code not in _RETRIED:
                raise fault("DATA-001", f"signals {where}: {reason}") from error
        except urllib.error.URLError as error:
            reason = str(error.reason)
        except (OSError, http.client.HTTPException) as error:
            reason = str(error) or type(error).__name__
        if pause is not None:
            time.sleep(pause)
    raise fault("DATA-001", f"signals {where}: no answer in {len(_PAUSES_S) + 1} tries: {reason}")


def _answer(url: str, where: str) -> bytes:
    request = urllib.request.Request(url, headers={"Accept": "application/json", "User-Agent": "basis"})
    with urllib.request.urlopen(request, timeout=_TIMEOUT_S) as answer:
        body: bytes = answer.read(_MAX_BYTES + 1)
    if len(body) > _MAX_BYTES:
        raise fault("DATA-002", f"signals {where}: the answer is larger than {_MAX_BYTES} bytes")
    return body
