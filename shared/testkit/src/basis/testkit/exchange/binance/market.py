"""Binance's public market data: exchange information, prices, bars, funding."""

from __future__ import annotations

from decimal import Decimal
from functools import partial
from typing import TYPE_CHECKING, Any

from basis.testkit.exchange.accounts import Refused, Why
from basis.testkit.exchange.face import Params, Route, text
from basis.testkit.exchange.instruments import MAINTENANCE, MAX_LEVERAGE, Kind, Listing

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from basis.testkit.exchange.matching import Exchange

APIS: Mapping[str, Kind] = {"/api/v3": "spot", "/fapi/v1": "linear", "/dapi/v1": "inverse"}
"""Path of an API -> kind of market."""
UNITS_MS = {"m": 60_000, "h": 3_600_000, "d": 86_400_000}
_FOREVER_MS = 4_133_404_800_000
_FUTURES_TYPES = ["LIMIT", "MARKET", "STOP", "STOP_MARKET", "TAKE_PROFIT", "TAKE_PROFIT_MARKET"]


def market_id(listing: Listing) -> str:
    """Symbol of the API."""
    return "BTCUSD_PERP" if listing.kind == "inverse" else listing.symbol


def listing_of(exchange: Exchange, kind: Kind, symbol: str) -> Listing:
    """Market of an API by its symbol.

    Raises:
        Refused: SYMBOL, there is none.
    """
    for listing in exchange.listings.values():
        if listing.kind == kind and market_id(listing) == symbol:
            return listing
    raise Refused(Why.SYMBOL, symbol)


def contracts(listing: Listing, amount: Decimal) -> Decimal:
    """Amount as the API counts: contracts where inverse."""
    return amount / listing.contract


def market_routes(exchange: Exchange) -> dict[tuple[str, str], Route]:
    """(method, path) -> route, all unsigned."""
    routes: dict[tuple[str, str], Route] = {}

    def on(path: str, operation: str, answer: Callable[[Params], Any], weight: int = 1) -> None:
        routes["GET", path] = Route(operation, signed=False, answer=answer, weight=weight)

    for path in ("allPairs", "isolated/allPairs"):  # ccxt asks for them while it loads markets
        on(f"/sapi/v1/margin/{path}", "markets", lambda q: [])
    for api, kind in APIS.items():
        on(f"{api}/ping", "ping", lambda q: {})
        on(f"{api}/time", "time", lambda q: {"serverTime": exchange.now_ms()})
        on(f"{api}/exchangeInfo", "markets", partial(_information, exchange, kind), 10)
        on(f"{api}/ticker/24hr", "ticker", partial(_ticker, exchange, kind))
        on(f"{api}/ticker/bookTicker", "ticker", partial(_book_ticker, exchange, kind))
        on(f"{api}/depth", "depth", partial(_depth, exchange, kind))
        on(f"{api}/klines", "klines", partial(_klines, exchange, kind), 2)
        if kind != "spot":
            on(f"{api}/fundingRate", "funding.rates", partial(_funding_rates, exchange, kind))
            on(f"{api}/premiumIndex", "mark", partial(_premium, exchange, kind))
    return routes


def _information(exchange: Exchange, kind: Kind, query: Params) -> dict[str, Any]:
    del query
    symbols = [_symbol(listing) for listing in exchange.listings.values() if listing.kind == kind]
    return {
        "timezone": "UTC",
        "serverTime": exchange.now_ms(),
        "rateLimits": [],
        "exchangeFilters": [],
        "assets": [],
        "symbols": symbols,
    }


def _symbol(listing: Listing) -> dict[str, Any]:
    lot, tick = text(contracts(listing, listing.lot)), text(listing.tick)
    filters: list[dict[str, Any]] = [
        {"filterType": "PRICE_FILTER", "minPrice": tick, "maxPrice": "1000000", "tickSize": tick},
        {"filterType": "LOT_SIZE", "minQty": lot, "maxQty": "900000", "stepSize": lot},
        {"filterType": "MARKET_LOT_SIZE", "minQty": lot, "maxQty": "900000", "stepSize": lot},
    ]
    common: dict[str, Any] = {
        "symbol": market_id(listing),
        "baseAsset": listing.base,
        "quoteAsset": listing.quote,
        "baseAssetPrecision": 8,
        "quotePrecision": 8,
        "quoteAssetPrecision": 8,
    }
    if listing.kind == "spot":
        least = {"filterType": "NOTIONAL", "minNotional": text(listing.min_notional), "applyMinToMarket": True}
        return common | {
            "status": "TRADING",
            "orderTypes": ["LIMIT", "LIMIT_MAKER", "MARKET", "STOP_LOSS_LIMIT", "TAKE_PROFIT_LIMIT"],
            "isSpotTradingAllowed": True,
            "isMarginTradingAllowed": False,
            "quoteOrderQtyMarketAllowed": True,
            "permissions": [],
            "permissionSets": [["SPOT"]],
            "filters": [*filters, least],
        }
    common |= {
        "pair": listing.symbol,
        "contractType": "PERPETUAL",
        "deliveryDate": _FOREVER_MS,
        "onboardDate": 1_569_398_400_000,
        "marginAsset": listing.settle,
        "pricePrecision": 2,
        "quantityPrecision": 0 if listing.kind == "inverse" else 3,
        "maintMarginPercent": "2.5000",
        "requiredMarginPercent": "5.0000",
        "orderTypes": _FUTURES_TYPES,
        "timeInForce": ["GTC", "IOC", "FOK", "GTX"],
    }
    if listing.kind == "inverse":
        return common | {"contractStatus": "TRADING", "contractSize": int(listing.contract), "filters": filters}
    least = {"filterType": "MIN_NOTIONAL", "notional": text(listing.min_notional)}
    return common | {"status": "TRADING", "underlyingType": "COIN", "filters": [*filters, least]}


def _ticker(exchange: Exchange, kind: Kind, query: Params) -> Any:
    listing = listing_of(exchange, kind, query["symbol"])
    now, price = exchange.now_ms(), text(exchange.mark(listing))
    names = ("lastPrice", "openPrice", "highPrice", "lowPrice", "weightedAvgPrice")
    found = {
        "symbol": query["symbol"],
        **dict.fromkeys(names, price),
        "bidPrice": text(exchange.touch(listing, buy=False)),
        "askPrice": text(exchange.touch(listing, buy=True)),
        "volume": "1",
        "quoteVolume": price,
        "priceChange": "0",
        "priceChangePercent": "0",
        "openTime": now - UNITS_MS["d"],
        "closeTime": now,
        "count": 1,
    }
    return [found] if kind == "inverse" else found


def _book_ticker(exchange: Exchange, kind: Kind, query: Params) -> Any:
    listing = listing_of(exchange, kind, query["symbol"])
    found = {
        "symbol": query["symbol"],
        "bidPrice": text(exchange.touch(listing, buy=False)),
        "bidQty": "100",
        "askPrice": text(exchange.touch(listing, buy=True)),
        "askQty": "100",
        "time": exchange.now_ms(),
    }
    return [found] if kind == "inverse" else found


def _depth(exchange: Exchange, kind: Kind, query: Params) -> dict[str, Any]:
    listing = listing_of(exchange, kind, query["symbol"])
    now = exchange.now_ms()
    bid, ask = exchange.touch(listing, buy=False), exchange.touch(listing, buy=True)
    return {"lastUpdateId": 1, "E": now, "T": now, "bids": [[text(bid), "100"]], "asks": [[text(ask), "100"]]}


def _klines(exchange: Exchange, kind: Kind, query: Params) -> list[list[Any]]:
    listing = listing_of(exchange, kind, query["symbol"])
    step = UNITS_MS[query["interval"][-1]] * int(query["interval"][:-1])
    limit, now = min(int(query.get("limit", 500)), 1500 if kind != "spot" else 1000), exchange.now_ms()
    last = min(int(query.get("endTime", now)), now)
    first = int(query["startTime"]) if "startTime" in query else last // step * step - step * (limit - 1)
    bars = exchange.tapes[listing.name].bars(first, step, min(last, first + step * (limit + 1)))[:limit]
    return [
        [
            bar.start_ms,
            *(text(price) for price in (bar.open, bar.high, bar.low, bar.close, bar.volume)),
            bar.start_ms + step - 1,
            text(bar.volume * bar.close),
            1,
            "0.5",
            text(bar.close),
            "0",
        ]
        for bar in bars
    ]


def _funding_rates(exchange: Exchange, kind: Kind, query: Params) -> list[dict[str, Any]]:
    listing = listing_of(exchange, kind, query["symbol"])
    start, end = int(query.get("startTime", 0)), min(int(query.get("endTime", 1 << 60)), exchange.now_ms())
    found = [(at, rate) for at, rate in exchange.rates[listing.name] if start <= at <= end]
    limit = min(int(query.get("limit", 100)), 1000)
    chosen = found[:limit] if "startTime" in query else found[-limit:]
    return [
        {
            "symbol": query["symbol"],
            "fundingTime": at,
            "fundingRate": text(rate),
            "markPrice": text(exchange.tapes[listing.name].price(at)),
        }
        for at, rate in chosen
    ]


def _premium(exchange: Exchange, kind: Kind, query: Params) -> Any:
    listing = listing_of(exchange, kind, query["symbol"])
    now, mark = exchange.now_ms(), text(exchange.mark(listing))
    past = [rate for at, rate in exchange.rates[listing.name] if at <= now]
    ahead = [at for at, _ in exchange.rates[listing.name] if at > now]
    found = {
        "symbol": query["symbol"],
        "markPrice": mark,
        "indexPrice": mark,
        "lastFundingRate": text(past[-1] if past else Decimal(0)),
        "interestRate": "0.0001",
        "nextFundingTime": ahead[0] if ahead else (now // (8 * UNITS_MS["h"]) + 1) * 8 * UNITS_MS["h"],
        "time": now,
    }
    return [found] if kind == "inverse" else found


def brackets(exchange: Exchange, kind: Kind) -> list[dict[str, Any]]:
    """Margin tiers: one."""
    tier = {"bracket": 1, "initialLeverage": int(MAX_LEVERAGE), "maintMarginRatio": float(MAINTENANCE), "cum": 0}
    tier |= {"notionalCap": 10**9, "notionalFloor": 0, "qtyCap": 10**9, "qtyFloor": 0}
    return [
        {"symbol": market_id(listing), "brackets": [tier]}
        for listing in exchange.listings.values()
        if listing.kind == kind
    ]
