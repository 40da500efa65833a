"""Market columns of an exchange, by polling; each value with the exchange's own time of it.

Spot columns are the last price, perp columns the mark: at a tick, what the open of the bar that begins there is in a
catalogue. ``perp_close`` is the mark too (what funding settles with); high and low are of the last bar that has ended.
Funding is the last payment and its time; its mean is over three days. Judged by the caller: staleness (DATA-003), skew.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from basis.models.market import FUNDING_LOOKBACK_S
from basis.venues.live.cex.connection import together, utc
from basis.venues.live.errors import ProvedFailure

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from basis.venues.live.cex.connection import Connection
    from basis.venues.live.cex.profiles import Profile
    from basis.venues.live.cex.trades import Trades
    from basis.venues.live.cex.units import Market

_COLUMN = re.compile(r"(spot|perp|perp_close|perp_high|perp_low|funding|funding_mean):([a-z0-9]+):([A-Z]+)")
_EIGHT_HOURS_MS = 8 * 3_600_000
_BAR, _BAR_MS = "1m", 60_000
Stamped = tuple[float, "datetime"]
"""Value, and when the exchange says that it was so."""


class Wanted(NamedTuple):
    """A column of this exchange."""

    column: str
    kind: str
    market: Market


async def market(link: Connection, profile: Profile, trades: Trades, columns: Sequence[str]) -> Mapping[str, Stamped]:
    """Column -> (value, time) for the columns that are this exchange's; others are left out.

    Raises:
        LiveVenueError: one cannot be read, or is no positive number.
    """
    wanted = []
    for column in columns:
        match = _COLUMN.fullmatch(column)
        if match is not None and match[2] == profile.venue:
            wanted.append(Wanted(column, match[1], trades.market(match[3], perp=match[1] != "spot")))
    by_source: dict[tuple[str, str], list[Wanted]] = {}
    for one in wanted:
        source = {"perp_high": "bar", "perp_low": "bar", "funding": "funding", "funding_mean": "funding"}
        by_source.setdefault((one.market.symbol, source.get(one.kind, "quote")), []).append(one)
    answers = await together(*(_read(link, profile, source, group) for (_, source), group in by_source.items()))
    return {column: value for answer in answers for column, value in answer.items()}


async def _read(link: Connection, profile: Profile, source: str, group: Sequence[Wanted]) -> dict[str, Stamped]:
    of = group[0].market
    if source == "quote":
        quote = await profile.quote(link, of)
        value = (_positive(quote.price, of, profile), utc(quote.at_ms))
        return {one.column: value for one in group}
    if source == "bar":
        high, low, ended = await _last_bar(link, profile, of)
        return {one.column: (high if one.kind == "perp_high" else low, ended) for one in group}
    last, mean, at = await _funding(link, profile, of)
    return {one.column: (mean if one.kind == "funding_mean" else last, at) for one in group}


async def _last_bar(link: Connection, profile: Profile, of: Market) -> tuple[float, float, datetime]:
    """High and low of the last minute that has ended, and when it ended."""
    now = link.now_ms()
    rows = await link.ask("bars", link.client.fetch_ohlcv, of.symbol, _BAR, None, 3)
    ended = [row for row in rows if row[0] + _BAR_MS <= now]
    if not ended:
        raise ProvedFailure("VEN-003", f"{profile.venue} gives no bar of {of.symbol} that has ended", profile.venue)
    start, _, high, low, *_ = ended[-1]
    return _positive(high, of, profile), _positive(low, of, profile), utc(start + _BAR_MS)


async def _funding(link: Connection, profile: Profile, of: Market) -> tuple[float, float, datetime]:
    """Last rate, mean rate of three days, and when the last was paid."""
    now = link.now_ms()
    since = now - 1000 * FUNDING_LOOKBACK_S + 1
    rows = await link.ask("funding rates", link.client.fetch_funding_rate_history, of.symbol, since, 100)
    # payments are stamped some milliseconds late
    found = sorted((int(row["timestamp"]) // 1000 * 1000, float(row["fundingRate"])) for row in rows)
    found = [(at, rate) for at, rate in found if at <= now]
    if not found or not all(-1.0 < rate < 1.0 for _, rate in found):
        message = f"{profile.venue} gives no funding rate of {of.symbol} of the last three days"
        raise ProvedFailure("VEN-003", message, profile.venue)
    at, rate = found[-1]
    return rate, sum(rate for _, rate in found) / len(found), utc(at)


def _positive(price: float | None, of: Market, profile: Profile) -> float:
    """A price.

    Raises:
        ProvedFailure: DATA-002, it is none.
    """
    if price is None or not 0.0 < price < float("inf"):
        raise ProvedFailure("DATA-002", f"{profile.venue} quotes {price!r} for {of.symbol}", profile.venue)
    return price
