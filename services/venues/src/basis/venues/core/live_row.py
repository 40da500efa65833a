"""The market row of a live tick: what counterparts quote, as the columns of the catalogue. Pure.

A column means the same live as in a backtest (behaviour.md section 1): prices and states as they are known now, payments
where one lies between the last tick and this one, else 0. Nothing is filled in: a missing, stale or impossible value is an
error that names the column.
"""

from __future__ import annotations

import math
from datetime import timedelta
from typing import TYPE_CHECKING, NamedTuple

from basis.models.errors import ComponentError
from basis.models.market import FeedKind
from basis.venues.core.availability import COMPONENT

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import datetime

    from basis.models.config import LiveConfig
    from basis.models.market import Feed

_PAYMENTS = frozenset({FeedKind.EVENT, FeedKind.REWARD})
_POSITIVE_KINDS = frozenset({FeedKind.BAR, FeedKind.INDEX, FeedKind.CLOSE, FeedKind.HIGH, FeedKind.LOW})
_POSITIVE_COLUMNS = ("price_usd:", "oracle_price_eth:", "dex_price_eth:")


class Quote(NamedTuple):
    """What a counterpart says."""

    value: float
    at: datetime
    """When it says that it was so."""
    source: str
    """Who says it."""


def market_row(
    feeds: Iterable[Feed],
    quotes: Mapping[str, Quote],
    since: datetime,
    now: datetime,
    live: LiveConfig,
) -> dict[str, float]:
    """The row of a tick.

    Args:
        feeds: columns that the run needs, signals aside.
        quotes: column -> newest quote; of a payment the last one.
        since: time of the row before; payments after it belong to this tick.
        now: time of this row.
        live: limits of age and skew, and columns that the operator vouches for.

    Raises:
        ComponentError: DATA-001 no one quotes a column; DATA-002 a value that cannot be; DATA-003 one that is too old;
            VEN-011 one from the future: the clocks differ.
    """
    return {feed.column: _value(feed, quotes.get(feed.column), since, now, live) for feed in feeds}


def _value(feed: Feed, quote: Quote | None, since: datetime, now: datetime, live: LiveConfig) -> float:
    fixed = live.fixed_columns.get(feed.column)
    if fixed is not None:
        return fixed
    if quote is None:
        if feed.kind is FeedKind.REWARD:
            return 0.0
        message = (
            f"{feed.column}: no venue of the run quotes it; live.fixed_columns can vouch for one that stands still"
        )
        raise ComponentError("DATA-001", message, COMPONENT)
    _check(feed, quote, now, live)
    if feed.kind in _PAYMENTS:
        return quote.value if since < quote.at <= now else 0.0
    return quote.value


def _check(feed: Feed, quote: Quote, now: datetime, live: LiveConfig) -> None:
    positive = feed.kind in _POSITIVE_KINDS or feed.column.startswith(_POSITIVE_COLUMNS)
    if not math.isfinite(quote.value) or (positive and quote.value <= 0.0):
        raise ComponentError("DATA-002", f"{feed.column}: {quote.source} says {quote.value!r}", COMPONENT)
    ahead = (quote.at - now).total_seconds()
    if ahead > live.max_clock_skew_s:
        message = (
            f"{feed.column}: {quote.source} says it was so at {quote.at.isoformat()}, {ahead:g} s ahead of our clock; "
            f"at most {live.max_clock_skew_s:g} s are accepted"
        )
        raise ComponentError("VEN-011", message, COMPONENT)
    if feed.kind is FeedKind.REWARD:
        return  # paid when it is paid
    limit = staleness_s(feed, live)
    if now - quote.at > timedelta(seconds=limit):
        message = (
            f"{feed.column}: the newest value of {quote.source} is of {quote.at.isoformat()}, older than {limit:g} s"
        )
        raise ComponentError("DATA-003", message, COMPONENT)


def staleness_s(feed: Feed, live: LiveConfig) -> float:
    """Oldest value of a column that still counts as known, seconds: prices of exchanges are of now, the rest as its feed."""
    return live.quote_max_age_s if feed.kind is FeedKind.BAR else float(feed.staleness_s)
