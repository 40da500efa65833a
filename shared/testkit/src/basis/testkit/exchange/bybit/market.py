"""Bybit's public market data."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Any

from basis.testkit.exchange.accounts import Refused, Why
from basis.testkit.exchange.face import Params, Route, text

if TYPE_CHECKING:
    from collections.abc import Callable

    from basis.testkit.exchange.instruments import Listing
    from basis.testkit.exchange.matching import Exchange

_MINUTE_MS = 60_000
_EIGHT_HOURS_MS = 8 * 60 * _MINUTE_MS


def listing_of(exchange: Exchange, query: Params) -> Listing:
    """Market of a request by category and symbol.

    Raises:
        Refused: SYMBOL, there is none.
    """
    found = exchange.listings.get((query.get("symbol", ""), query.get("category", "")))
    if found is None:
        raise Refused(Why.SYMBOL, str(query.get("symbol")))
    return found


def market_routes(exchange: Exchange) -> dict[tuple[str, str], Route]:
    """(method, path) -> route, all unsigned."""
    routes: dict[tuple[str, str], Route] = {}

    def on(path: str, operation: str, answer: Callable[[Params], Any]) -> None:
        routes["GET", f"/v5/market/{path}"] = Route(operation, signed=False, answer=answer)

    on("time", "time", lambda q: _time(exchange))
    on("instruments-info", "markets", lambda q: _instruments(exchange, q))
    on("tickers", "ticker", lambda q: _tickers(exchange, q))
    on("kline", "klines", lambda q: _klines(exchange, q))
    on("funding/history", "funding.rates", lambda q: _funding(exchange, q))
    on("orderbook", "depth", lambda q: _depth(exchange, q))
    return routes


def _time(exchange: Exchange) -> dict[str, Any]:
    now = exchange.now_ms()
    return {"timeSecond": str(now // 1000), "timeNano": str(now * 1_000_000)}


def _instruments(exchange: Exchange, query: Params) -> dict[str, Any]:
    wanted = query.get("status", "Trading") == "Trading"
    rows = [
        _instrument(listing) for listing in exchange.listings.values() if listing.kind == query["category"] and wanted
    ]
    return {"category": query["category"], "list": rows, "nextPageCursor": ""}


def _instrument(listing: Listing) -> dict[str, Any]:
    lot, least = text(listing.lot), text(listing.min_notional)
    common: dict[str, Any] = {
        "symbol": listing.symbol,
        "baseCoin": listing.base,
        "quoteCoin": listing.quote,
        "status": "Trading",
    }
    price = {"tickSize": text(listing.tick), "minPrice": text(listing.tick), "maxPrice": "1999999"}
    if listing.kind == "spot":
        sizes = {"basePrecision": lot, "quotePrecision": "0.0000001", "minOrderQty": lot, "maxOrderQty": "900000"}
        sizes |= {"minOrderAmt": least, "maxOrderAmt": "8000000"}
        return common | {"innovation": "0", "marginTrading": "none", "lotSizeFilter": sizes, "priceFilter": price}
    sizes = {"qtyStep": lot, "minOrderQty": lot, "maxOrderQty": "900000", "minNotionalValue": least}
    return common | {
        "contractType": "LinearPerpetual",
        "settleCoin": listing.settle,
        "launchTime": "1584230400000",
        "deliveryTime": "0",
        "priceScale": "2",
        "fundingInterval": 480,
        "leverageFilter": {"minLeverage": "1", "maxLeverage": "20", "leverageStep": "0.01"},
        "lotSizeFilter": sizes,
        "priceFilter": price,
        "unifiedMarginTrade": True,
    }


def _tickers(exchange: Exchange, query: Params) -> dict[str, Any]:
    rows = []
    for listing in exchange.listings.values():
        if listing.kind != query["category"] or query.get("symbol", listing.symbol) != listing.symbol:
            continue
        now, price = exchange.now_ms(), text(exchange.mark(listing))
        past = [rate for at, rate in exchange.rates[listing.name] if at <= now]
        rows.append(
            {
                "symbol": listing.symbol,
                "lastPrice": price,
                "markPrice": price,
                "indexPrice": price,
                "bid1Price": text(exchange.touch(listing, buy=False)),
                "bid1Size": "100",
                "ask1Price": text(exchange.touch(listing, buy=True)),
                "ask1Size": "100",
                "prevPrice24h": price,
                "highPrice24h": price,
                "lowPrice24h": price,
                "price24hPcnt": "0",
                "turnover24h": price,
                "volume24h": "1",
                "fundingRate": text(past[-1] if past else Decimal(0)),
                "nextFundingTime": str((now // _EIGHT_HOURS_MS + 1) * _EIGHT_HOURS_MS),
            }
        )
    if not rows:
        raise Refused(Why.SYMBOL)
    return {"category": query["category"], "list": rows}


def _klines(exchange: Exchange, query: Params) -> dict[str, Any]:
    """Newest first, as v5 gives them."""
    listing = listing_of(exchange, query)
    step = _MINUTE_MS * (1440 if query["interval"] == "D" else int(query["interval"]))
    limit, now = min(int(query.get("limit", 200)), 1000), exchange.now_ms()
    last = min(int(query.get("end", now)), now)
    first = int(query["start"]) if "start" in query else last // step * step - step * (limit - 1)
    bars = exchange.tapes[listing.name].bars(first, step, last)
    # between start and end there may be more than the limit: the newest are given, unless only start is
    bars = bars[:limit] if "start" in query and "end" not in query else bars[-limit:]
    rows = [
        [
            str(bar.start_ms),
            *(text(price) for price in (bar.open, bar.high, bar.low, bar.close, bar.volume)),
            text(bar.volume * bar.close),
        ]
        for bar in reversed(bars)
    ]
    return {"category": query["category"], "symbol": listing.symbol, "list": rows}


def _funding(exchange: Exchange, query: Params) -> dict[str, Any]:
    """Newest first; the newest of the range where it holds more than the limit."""
    listing = listing_of(exchange, query)
    start, end = int(query.get("startTime", 0)), min(int(query.get("endTime", 1 << 60)), exchange.now_ms())
    found = [(at, rate) for at, rate in exchange.rates[listing.name] if start <= at <= end]
    rows = [
        {"symbol": listing.symbol, "fundingRate": text(rate), "fundingRateTimestamp": str(at)}
        for at, rate in reversed(found[-min(int(query.get("limit", 200)), 200) :])
    ]
    return {"category": query["category"], "list": rows}


def _depth(exchange: Exchange, query: Params) -> dict[str, Any]:
    listing = listing_of(exchange, query)
    bid, ask = exchange.touch(listing, buy=False), exchange.touch(listing, buy=True)
    return {"s": listing.symbol, "b": [[text(bid), "100"]], "a": [[text(ask), "100"]], "ts": exchange.now_ms(), "u": 1}
