"""OKX's public market data."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from basis.testkit.exchange.accounts import Refused, Why
from basis.testkit.exchange.face import Params, Route, text

if TYPE_CHECKING:
    from collections.abc import Callable
    from decimal import Decimal

    from basis.testkit.exchange.instruments import Listing
    from basis.testkit.exchange.matching import Exchange

_BARS_MS = {"m": 60_000, "H": 3_600_000, "D": 86_400_000}
_EIGHT_HOURS_MS = 8 * _BARS_MS["H"]


def inst_id(listing: Listing) -> str:
    """ETH-USDT, ETH-USDT-SWAP."""
    return f"{listing.base}-{listing.quote}" + ("" if listing.kind == "spot" else "-SWAP")


def listing_of(exchange: Exchange, instrument: str | None) -> Listing:
    """Market by its instId.

    Raises:
        Refused: SYMBOL, there is none.
    """
    for listing in exchange.listings.values():
        if inst_id(listing) == instrument:
            return listing
    raise Refused(Why.SYMBOL, str(instrument))


def size(listing: Listing, amount: Decimal) -> str:
    """An amount as OKX counts: contracts where it is a swap."""
    return text(amount / listing.contract)


def market_routes(exchange: Exchange) -> dict[tuple[str, str], Route]:
    """(method, path) -> route, all unsigned."""
    routes: dict[tuple[str, str], Route] = {}

    def on(path: str, operation: str, answer: Callable[[Params], Any]) -> None:
        routes["GET", f"/api/v5/{path}"] = Route(operation, signed=False, answer=answer)

    on("public/time", "time", lambda q: [{"ts": str(exchange.now_ms())}])
    on("public/instruments", "markets", lambda q: _instruments(exchange, q))
    on("market/ticker", "ticker", lambda q: [_ticker(exchange, listing_of(exchange, q["instId"]))])
    on("market/candles", "klines", lambda q: _candles(exchange, q))
    on("market/history-candles", "klines", lambda q: _candles(exchange, q))
    on("public/mark-price", "mark", lambda q: _marks(exchange, q))
    on("public/funding-rate", "mark", lambda q: _funding_rate(exchange, q))
    on("public/funding-rate-history", "funding.rates", lambda q: _funding(exchange, q))
    return routes


def _instruments(exchange: Exchange, query: Params) -> list[dict[str, Any]]:
    wanted = {"SPOT": "spot", "SWAP": "linear"}.get(query["instType"], "")
    return [_instrument(listing) for listing in exchange.listings.values() if listing.kind == wanted]


def _instrument(listing: Listing) -> dict[str, Any]:
    lot = size(listing, listing.lot)
    common: dict[str, Any] = {
        "instId": inst_id(listing),
        "tickSz": text(listing.tick),
        "lotSz": lot,
        "minSz": lot,
        "maxMktSz": "1000000",
        "state": "live",
        "listTime": "1606468572000",
        "expTime": "",
        "instIdCode": 1,
    }
    if listing.kind == "spot":
        pair = {"baseCcy": listing.base, "quoteCcy": listing.quote, "settleCcy": "", "uly": "", "ctVal": ""}
        return common | pair | {"instType": "SPOT", "lever": "1"}
    family = f"{listing.base}-{listing.quote}"
    return common | {
        "instType": "SWAP",
        "baseCcy": "",
        "quoteCcy": "",
        "settleCcy": listing.settle,
        "uly": family,
        "instFamily": family,
        "ctVal": text(listing.contract),
        "ctMult": "1",
        "ctValCcy": listing.base,
        "ctType": "linear",
        "lever": "20",
    }


def _ticker(exchange: Exchange, listing: Listing) -> dict[str, Any]:
    price = text(exchange.mark(listing))
    return {
        "instId": inst_id(listing),
        "last": price,
        "bidPx": text(exchange.touch(listing, buy=False)),
        "bidSz": "100",
        "askPx": text(exchange.touch(listing, buy=True)),
        "askSz": "100",
        "open24h": price,
        "high24h": price,
        "low24h": price,
        "volCcy24h": "1",
        "vol24h": "1",
        "ts": str(exchange.now_ms()),
    }


def _candles(exchange: Exchange, query: Params) -> list[list[str]]:
    """Newest first, in (before, after)."""
    listing, bar = listing_of(exchange, query["instId"]), query.get("bar", "1m").removesuffix("utc")
    step = _BARS_MS[bar[-1]] * int(bar[:-1])
    now = exchange.now_ms()
    limit, end = min(int(query.get("limit", 100)), 300), min(int(query.get("after", now + 1)) - 1, now)
    first = int(query["before"]) + 1 if "before" in query else end // step * step - step * (limit - 1)
    bars = exchange.tapes[listing.name].bars(first, step, end)[-limit:]
    return [
        [
            str(one.start_ms),
            *(text(price) for price in (one.open, one.high, one.low, one.close, one.volume)),
            text(one.volume),
            text(one.volume * one.close),
            "1" if one.start_ms + step <= now else "0",
        ]
        for one in reversed(bars)
    ]


def _marks(exchange: Exchange, query: Params) -> list[dict[str, str]]:
    listing = listing_of(exchange, query["instId"])
    mark = text(exchange.mark(listing))
    return [{"instType": "SWAP", "instId": query["instId"], "markPx": mark, "ts": str(exchange.now_ms())}]


def _funding_rate(exchange: Exchange, query: Params) -> list[dict[str, str]]:
    listing, now = listing_of(exchange, query["instId"]), exchange.now_ms()
    due = (now // _EIGHT_HOURS_MS + 1) * _EIGHT_HOURS_MS
    past = [rate for at, rate in exchange.rates[listing.name] if at <= now]
    rate = text(past[-1]) if past else "0"
    return [
        {
            "instId": query["instId"],
            "fundingRate": rate,
            "fundingTime": str(due),
            "nextFundingRate": "",
            "nextFundingTime": str(due + _EIGHT_HOURS_MS),
        }
    ]


def _funding(exchange: Exchange, query: Params) -> list[dict[str, str]]:
    """Newest first, in (before, after); the newest of the range where it holds more than the limit."""
    listing = listing_of(exchange, query["instId"])
    after, before = int(query.get("after", exchange.now_ms() + 1)), int(query.get("before", -1))
    found = [(at, rate) for at, rate in exchange.rates[listing.name] if before < at < min(after, exchange.now_ms() + 1)]
    return [
        {"instId": query["instId"], "fundingRate": text(rate), "realizedRate": text(rate), "fundingTime": str(at)}
        for at, rate in reversed(found[-min(int(query.get("limit", 100)), 400) :])
    ]
