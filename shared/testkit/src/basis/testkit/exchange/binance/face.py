"""Binance's gate: signatures, receive window, error codes; and the table of its routes."""

from __future__ import annotations

import hashlib
import hmac
from typing import TYPE_CHECKING, Any

from basis.testkit.exchange.accounts import Refused, Why
from basis.testkit.exchange.binance.market import market_routes
from basis.testkit.exchange.binance.trading import trading_routes
from basis.testkit.exchange.binance.wallet import wallet_routes
from basis.testkit.exchange.face import Answer, Credentials, Request

if TYPE_CHECKING:
    from basis.testkit.exchange.matching import Exchange

_AHEAD_MS = 1000
_SPOT: dict[Why, tuple[int, int, str]] = {
    Why.BALANCE: (400, -2010, "Account has insufficient balance for requested action."),
    Why.MARGIN: (400, -2019, "Margin is insufficient."),
    Why.LOT: (400, -1013, "Filter failure: LOT_SIZE"),
    Why.TICK: (400, -1013, "Filter failure: PRICE_FILTER"),
    Why.NOTIONAL: (400, -1013, "Filter failure: NOTIONAL"),
    Why.SYMBOL: (400, -1121, "Invalid symbol."),
    Why.DUPLICATE: (400, -2010, "Duplicate order sent."),
    Why.NO_ORDER: (400, -2013, "Order does not exist."),
    Why.REDUCE_ONLY: (400, -2022, "ReduceOnly Order is rejected."),
    Why.POST_ONLY: (400, -2010, "Order would immediately match and take."),
    Why.WITHDRAWAL: (400, -4026, "The user has insufficient balance"),
    Why.DUPLICATE_WITHDRAWAL: (400, -4104, "withdrawOrderId duplicated"),
    Why.PARAMETER: (400, -1102, "Mandatory parameter was not sent, was empty/null, or malformed."),
    Why.REJECTED: (400, -2010, "New order rejected."),
    Why.KEY: (401, -2014, "API-key format invalid."),
    Why.SIGNATURE: (400, -1022, "Signature for this request is not valid."),
    Why.CLOCK: (400, -1021, "Timestamp for this request is outside of the recvWindow."),
    Why.RATE: (429, -1003, "Too many requests; current limit is 1200 request weight per 1 MINUTE."),
    Why.BANNED: (418, -1003, "Way too many requests; IP banned until later."),
    Why.UNAVAILABLE: (503, -1001, "Internal error; unable to process your request. Please try again."),
    Why.PATH: (404, -5000, "Path is invalid"),
}
_FUTURES: dict[Why, tuple[int, int, str]] = _SPOT | {
    Why.BALANCE: (400, -2019, "Margin is insufficient."),
    Why.LOT: (400, -1111, "Precision is over the maximum defined for this asset."),
    Why.TICK: (400, -4014, "Price not increased by tick size."),
    Why.NOTIONAL: (400, -4164, "Order's notional must be no smaller than 5.0 (unless you choose reduce only)"),
    Why.DUPLICATE: (400, -4116, "ClientOrderId is duplicated."),
    Why.POST_ONLY: (
        400,
        -5022,
        "Due to the order could not be executed as maker, the Post Only order will be rejected.",
    ),
    Why.REJECTED: (400, -2022, "Order is rejected."),
}
_WALLET = {Why.BALANCE: (400, -4026, "The user has insufficient balance")}


class BinanceFace:
    """Binance over one core."""

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange
        self.routes = market_routes(exchange) | trading_routes(exchange) | wallet_routes(exchange)

    def authenticate(self, request: Request, credentials: Credentials) -> None:
        """HMAC over query and body as they came; timestamp within recvWindow (5 s by default), at most 1 s ahead."""
        if request.headers.get("X-MBX-APIKEY") != credentials.key:
            raise Refused(Why.KEY)
        raw = "&".join(part for part in (request.query, request.body) if part)
        payload, _, given = raw.rpartition("&signature=")
        wanted = hmac.new(credentials.secret.encode(), payload.encode(), hashlib.sha256).hexdigest()
        if not hmac.compare_digest(wanted, given):
            raise Refused(Why.SIGNATURE)
        age = self._exchange.now_ms() - int(request.params.get("timestamp", 0))
        if age < -_AHEAD_MS or age > int(request.params.get("recvWindow", 5000)):
            raise Refused(Why.CLOCK)

    def answer(self, value: Any) -> Answer:
        """As it is."""
        return Answer(200, value, {"X-MBX-USED-WEIGHT-1M": "1"})

    def refuse(self, refused: Refused, request: Request) -> Answer:
        """Code and words by the API that was asked."""
        futures = request.path.startswith(("/fapi", "/dapi"))
        table = _FUTURES if futures else _SPOT | (_WALLET if request.path.startswith("/sapi") else {})
        status, code, words = table[refused.why]
        if refused.why is Why.NO_ORDER and request.method == "DELETE":
            code, words = -2011, "Unknown order sent."
        headers = {"Retry-After": str(self._exchange.retry_after_s)} if status in {418, 429} else {}
        return Answer(status, {"code": code, "msg": words}, headers)
