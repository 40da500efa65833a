"""Prices of the local exchanges: set by hand, or replayed from the bars of a catalogue."""

from __future__ import annotations

import bisect
from decimal import Decimal
from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

HOUR_MS = 3_600_000
VOLUME = Decimal(1000)
"""Volume of a bar where the tape has none."""
Prices = tuple[Decimal, Decimal, Decimal, Decimal]
"""Open, high, low, close."""


class Bar(NamedTuple):
    """Prices of [start, start + step)."""

    start_ms: int
    open: Decimal
    high: Decimal
    low: Decimal
    close: Decimal
    volume: Decimal


class Tape(Protocol):
    """Prices of one market over time."""

    def price(self, at_ms: int) -> Decimal:
        """Price at a moment."""
        ...

    def extremes(self, after_ms: int, until_ms: int) -> tuple[Decimal, Decimal]:
        """Lowest and highest price in (after, until]."""
        ...

    def bars(self, start_ms: int, step_ms: int, end_ms: int) -> list[Bar]:
        """Bars that start in [start, end], in order; one without data is left out."""
        ...


class Steps:
    """A price that holds until another is set."""

    def __init__(self, price: Decimal) -> None:
        self._times: list[int] = [0]
        self._prices: list[Decimal] = [price]

    def set(self, at_ms: int, price: Decimal) -> None:
        """From a moment on; never before one already set."""
        self._times.append(max(at_ms, self._times[-1]))
        self._prices.append(price)

    def price(self, at_ms: int) -> Decimal:
        """Last price set at or before a moment."""
        return self._prices[bisect.bisect_right(self._times, at_ms) - 1]

    def extremes(self, after_ms: int, until_ms: int) -> tuple[Decimal, Decimal]:
        """Of the price that held, and those set since."""
        first = bisect.bisect_right(self._times, after_ms)
        last = bisect.bisect_right(self._times, until_ms)
        seen = [*self._prices[first:last], self.price(until_ms)]
        return min(seen), max(seen)

    def bars(self, start_ms: int, step_ms: int, end_ms: int) -> list[Bar]:
        """Bars that start in [start, end]."""
        found = []
        for start in range(-(-start_ms // step_ms) * step_ms, end_ms + 1, step_ms):
            low, high = self.extremes(start, start + step_ms - 1)
            opened, closed = self.price(start), self.price(start + step_ms - 1)
            found.append(Bar(start, opened, max(high, opened), min(low, opened), closed, VOLUME))
        return found


class Replay:
    """Bars of one series. Within a bar the price walks open, nearer extreme, other extreme, close, a third of it each.

    Args:
        times: starts of the bars, ms, rising.
        rows: open, high, low, close of each.
        step_ms: length of a bar.
    """

    def __init__(self, times: Sequence[int], rows: Sequence[Prices], step_ms: int = HOUR_MS) -> None:
        self._times, self._rows, self._step_ms = times, rows, step_ms

    def price(self, at_ms: int) -> Decimal:
        """On the way through the bar; after its end, and before the first, the nearest known price."""
        place = bisect.bisect_right(self._times, at_ms) - 1
        if place < 0:
            return self._rows[0][0]
        into = min(at_ms - self._times[place], self._step_ms)
        path = self._path(place)
        third, rest = divmod(3 * into, self._step_ms)
        if third == 3:
            return path[3]
        way = Decimal(rest) / self._step_ms
        return (path[third] + (path[third + 1] - path[third]) * way).quantize(Decimal("0.01"))

    def extremes(self, after_ms: int, until_ms: int) -> tuple[Decimal, Decimal]:
        """Of both ends and the corners between."""
        seen = [self.price(after_ms), self.price(until_ms)]
        first = max(bisect.bisect_right(self._times, after_ms) - 1, 0)
        last = bisect.bisect_right(self._times, until_ms)
        for place in range(first, last):
            for corner, price in enumerate(self._path(place)):
                if after_ms < self._times[place] + corner * self._step_ms // 3 <= until_ms:
                    seen.append(price)
        return min(seen), max(seen)

    def bars(self, start_ms: int, step_ms: int, end_ms: int) -> list[Bar]:
        """The bars themselves at their own step, else cut from the walk; a missing bar stays missing."""
        found = []
        for start in range(-(-start_ms // step_ms) * step_ms, end_ms + 1, step_ms):
            place = bisect.bisect_right(self._times, start) - 1
            if place < 0 or start >= self._times[place] + self._step_ms:
                continue
            if step_ms == self._step_ms:
                opened, high, low, closed = self._rows[place]
            else:
                opened, closed = self.price(start), self.price(start + step_ms - 1)
                low, high = self.extremes(start, start + step_ms - 1)
            found.append(Bar(start, opened, high, low, closed, VOLUME))
        return found

    def _path(self, place: int) -> Prices:
        opened, high, low, closed = self._rows[place]
        return (opened, low, high, closed) if opened - low <= high - opened else (opened, high, low, closed)


def read_bars(path: Path) -> Replay:
    """Bars of a series of a catalogue; ``docs/reference/market-data-format.md``."""
    import pyarrow as pa  # noqa: PLC0415 - half a second
    import pyarrow.parquet as pq  # noqa: PLC0415

    table = pq.read_table(path)
    times = table.column("timestamp").cast(pa.int64()).to_pylist()
    columns = [
        [Decimal(repr(value)) for value in table.column(name).to_pylist()] for name in ("open", "high", "low", "close")
    ]
    return Replay(times, list(zip(*columns, strict=True)))


def read_funding(path: Path) -> list[tuple[int, Decimal]]:
    """Payments of a series of a catalogue: (ms, rate)."""
    import pyarrow as pa  # noqa: PLC0415
    import pyarrow.parquet as pq  # noqa: PLC0415

    table = pq.read_table(path)
    times = table.column("timestamp").cast(pa.int64()).to_pylist()
    return list(zip(times, (Decimal(repr(rate)) for rate in table.column("funding_rate").to_pylist()), strict=True))
