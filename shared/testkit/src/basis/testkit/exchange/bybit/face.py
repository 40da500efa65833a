"""Bybit's gate: signatures, receive window, return codes; and the table of its routes."""

from __future__ import annotations

import hashlib
import hmac
from typing import TYPE_CHECKING, Any

from basis.testkit.exchange.accounts import Refused, Why
from basis.testkit.exchange.bybit.market import market_routes
from basis.testkit.exchange.bybit.trading import trading_routes
from basis.testkit.exchange.bybit.wallet import wallet_routes
from basis.testkit.exchange.face import Answer, Credentials, Request

if TYPE_CHECKING:
    from basis.testkit.exchange.matching import Exchange

_AHEAD_MS = 1000
_CODES: dict[Why, tuple[int, str]] = {
    Why.BALANCE: (110007, "ab not enough for new order"),
    Why.MARGIN: (110007, "ab not enough for new order"),
    Why.LOT: (10001, "Qty invalid"),
    Why.TICK: (10001, "Price invalid"),
    Why.NOTIONAL: (110094, "Order does not meet minimum order value 5USDT"),
    Why.SYMBOL: (10001, "params error: symbol invalid"),
    Why.DUPLICATE: (110072, "OrderLinkedID is duplicate"),
    Why.NO_ORDER: (110001, "order not exists or too late to cancel"),
    Why.REDUCE_ONLY: (110017, "current position is zero, cannot fix reduce-only order qty"),
    Why.POST_ONLY: (10001, "post only"),
    Why.WITHDRAWAL: (131002, "Withdraw address chain or amount is wrong"),
    Why.DUPLICATE_WITHDRAWAL: (131078, "requestId is duplicate"),
    Why.PARAMETER: (10001, "Request parameter error."),
    Why.REJECTED: (110003, "Order price exceeds the allowable range."),
    Why.KEY: (10003, "API key is invalid."),
    Why.SIGNATURE: (10004, "error sign! please check signature generation algorithm."),
    Why.CLOCK: (10002, "invalid request, please check your server timestamp or recv_window param"),
    Why.RATE: (10006, "Too many visits. Exceeded the API Rate Limit."),
    Why.BANNED: (10018, "Exceeded the IP Rate Limit."),
    Why.UNAVAILABLE: (10016, "Internal error"),
    Why.PATH: (10404, "path not found"),
}


class BybitFace:
    """Bybit over one core."""

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange
        self.routes = market_routes(exchange) | trading_routes(exchange) | wallet_routes(exchange)

    def authenticate(self, request: Request, credentials: Credentials) -> None:
        """HMAC over time, key, window and query or body as they came; at most 1 s ahead."""
        headers = request.headers
        if headers.get("X-BAPI-API-KEY") != credentials.key:
            raise Refused(Why.KEY)
        stamp, window = headers.get("X-BAPI-TIMESTAMP", "0"), headers.get("X-BAPI-RECV-WINDOW", "5000")
        payload = stamp + credentials.key + window + (request.body if request.method == "POST" else request.query)
        wanted = hmac.new(credentials.secret.encode(), payload.encode(), hashlib.sha256).hexdigest()
        if not hmac.compare_digest(wanted, headers.get("X-BAPI-SIGN", "")):
            raise Refused(Why.SIGNATURE)
        age = self._exchange.now_ms() - int(stamp)
        if age < -_AHEAD_MS or age > int(window):
            raise Refused(Why.CLOCK)

    def answer(self, value: Any) -> Answer:
        """In the envelope of v5."""
        return Answer(200, self._envelope(0, "OK", value))

    def refuse(self, refused: Refused, request: Request) -> Answer:
        """HTTP 200 with a return code, but for what the gateway itself answers."""
        del request
        code, words = _CODES[refused.why]
        status = {Why.RATE: 429, Why.BANNED: 403, Why.UNAVAILABLE: 503, Why.PATH: 404}.get(refused.why, 200)
        if refused.why is Why.UNAVAILABLE:
            return Answer(503, {})  # the gateway knows no return codes
        return Answer(status, self._envelope(code, words, {}))

    def _envelope(self, code: int, words: str, value: Any) -> dict[str, Any]:
        return {"retCode": code, "retMsg": words, "result": value, "retExtInfo": {}, "time": self._exchange.now_ms()}
