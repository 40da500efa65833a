"""Bars and funding of an exchange, through ccxt; public data, no keys."""

from __future__ import annotations

from typing import TYPE_CHECKING

from basis.models.errors import InputError
from basis.models.live_cex_config import CexLiveConfig
from basis.runtime.clock import SystemClock
from basis.venues.live.cex.connection import Connection
from basis.venues.live.cex.units import ccxt_symbol

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Self

    from basis.runtime.clock import Clock
    from basis.venues.fetch.series import SeriesPlan

_MOST_BARS = {"binance": 1000, "bybit": 1000, "okx": 100}
"""Bars that one answer holds at most."""
_FUNDING_PAGE_MS = 14 * 86_400_000
_MOST_PAYMENTS = {"binance": 1000, "bybit": 200, "okx": 100}
"""Payments that one answer holds at most: 14 days of one every four hours are 84."""


class ExchangeSource:
    """Rows of one exchange. Use as an async context manager.

    Args:
        venue: binance, bybit or okx.
        config: how it is talked to.
        clock: only for the check of the clock; None: the machine's.
    """

    def __init__(self, venue: str, config: CexLiveConfig | None = None, clock: Clock | None = None) -> None:
        self._venue = venue
        self._link = Connection(venue, config or CexLiveConfig(), None, clock or SystemClock())

    async def __aenter__(self) -> Self:
        try:
            await self._link.ask("load markets", self._link.client.load_markets)
        except BaseException:
            await self._link.close()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._link.close()

    def page_ms(self, plan: SeriesPlan) -> int:
        """As many bars as one answer holds; of funding, two weeks."""
        return _FUNDING_PAGE_MS if plan.kind == "funding" else _MOST_BARS[self._venue] * plan.period_ms

    async def now_ms(self) -> int:
        """The exchange's clock."""
        return int(await self._link.ask("time", self._link.client.fetch_time))

    async def rows(self, plan: SeriesPlan, start_ms: int, end_ms: int) -> Sequence[Sequence[float]]:
        """Rows stamped in [start, end).

        Raises:
            InputError: DATA-001, the exchange has no such market.
            LiveVenueError: no answer; VEN-006 too many requests.
        """
        symbol = ccxt_symbol(plan.pair, perp=plan.perp)
        if symbol not in self._link.client.markets:
            raise InputError("DATA-001", f"{self._venue} has no market {symbol} for the series {plan.name}", "fetch")
        found = await (self._funding if plan.kind == "funding" else self._bars)(plan, symbol, start_ms, end_ms)
        return [row for row in found if start_ms <= row[0] < end_ms]

    async def _bars(self, plan: SeriesPlan, symbol: str, start_ms: int, end_ms: int) -> list[Sequence[float]]:
        # OKX takes the end as exclusive, the others as inclusive: one bar more than an answer holds would push out the first
        params = {"until": end_ms if self._venue == "okx" else end_ms - 1}
        found = await self._link.ask(
            "bars", self._link.client.fetch_ohlcv, symbol, plan.bar, start_ms, _MOST_BARS[self._venue], params
        )
        return [row[:6] for row in found]

    async def _funding(self, plan: SeriesPlan, symbol: str, start_ms: int, end_ms: int) -> list[Sequence[float]]:
        most = _MOST_PAYMENTS[self._venue]
        params = {"after": str(end_ms)} if self._venue == "okx" else {"until": end_ms - 1}
        found = await self._link.ask(
            "funding rates", self._link.client.fetch_funding_rate_history, symbol, start_ms, most, params
        )
        if len(found) >= most:
            message = f"series {plan.name}: {self._venue} has more payments in two weeks than one answer holds"
            raise InputError("DATA-002", message, "fetch")
        return [(row["timestamp"], row["fundingRate"]) for row in found]
