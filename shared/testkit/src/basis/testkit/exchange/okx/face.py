"""OKX's gate: signatures, timestamps and expiry, codes; and the table of its routes."""

from __future__ import annotations

import base64
import hashlib
import hmac
from datetime import datetime
from typing import TYPE_CHECKING, Any

from basis.testkit.exchange.accounts import Refused, Why
from basis.testkit.exchange.face import Answer, Credentials, Request
from basis.testkit.exchange.okx.market import market_routes
from basis.testkit.exchange.okx.trading import trading_routes
from basis.testkit.exchange.okx.wallet import wallet_routes

if TYPE_CHECKING:
    from basis.testkit.exchange.matching import Exchange

_WINDOW_MS = 30_000
_CODES: dict[Why, tuple[str, str]] = {
    Why.BALANCE: ("51008", "Order failed. Insufficient balance in account."),
    Why.MARGIN: ("51008", "Order failed. Insufficient margin in account."),
    Why.LOT: ("51121", "Order quantity must be a multiple of the lot size."),
    Why.TICK: ("51006", "Order price is not within the price limit or tick."),
    Why.NOTIONAL: ("51020", "Your order should meet or exceed the minimum order amount."),
    Why.SYMBOL: ("51001", "Instrument ID does not exist."),
    Why.DUPLICATE: ("51016", "Client order ID already exists."),
    Why.NO_ORDER: ("51603", "Order does not exist."),
    Why.REDUCE_ONLY: (
        "51169",
        "Order failed because you don't have any positions in this direction to reduce or close.",
    ),
    Why.POST_ONLY: ("51006", "Post only"),
    Why.WITHDRAWAL: ("58207", "Withdrawal address or amount is not valid."),
    Why.DUPLICATE_WITHDRAWAL: ("58213", "Client id of the withdrawal exists."),
    Why.PARAMETER: ("51000", "Parameter error."),
    Why.REJECTED: ("51006", "Order price is not within the price limit."),
    Why.KEY: ("50111", "Invalid OK-ACCESS-KEY"),
    Why.SIGNATURE: ("50113", "Invalid Sign"),
    Why.CLOCK: ("50102", "Timestamp request expired"),
    Why.RATE: ("50011", "Too Many Requests"),
    Why.BANNED: ("50011", "Too Many Requests"),
    Why.UNAVAILABLE: ("50026", "System error. Try again later"),
    Why.PATH: ("50404", "path not found"),
}
_BALANCE_OF_FUNDING = ("58350", "Insufficient balance.")


class OkxFace:
    """OKX over one core."""

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange
        self.routes = market_routes(exchange) | trading_routes(exchange) | wallet_routes(exchange)

    def authenticate(self, request: Request, credentials: Credentials) -> None:
        """HMAC over time, method, path with query, and body; at most 30 s old, and not beyond ``expTime``."""
        headers = request.headers
        if headers.get("OK-ACCESS-KEY") != credentials.key:
            raise Refused(Why.KEY)
        stamp = headers.get("OK-ACCESS-TIMESTAMP", "")
        path = request.path + (f"?{request.query}" if request.query else "")
        payload = stamp + request.method + path + (request.body if request.method == "POST" else "")
        digest = hmac.new(credentials.secret.encode(), payload.encode(), hashlib.sha256).digest()
        if not hmac.compare_digest(base64.b64encode(digest).decode(), headers.get("OK-ACCESS-SIGN", "")):
            raise Refused(Why.SIGNATURE)
        if headers.get("OK-ACCESS-PASSPHRASE") != credentials.password:
            raise Refused(Why.SIGNATURE)
        now = self._exchange.now_ms()
        age = now - int(datetime.fromisoformat(stamp).timestamp() * 1000)
        if abs(age) > _WINDOW_MS or now > int(headers.get("expTime", now)):
            raise Refused(Why.CLOCK)

    def answer(self, value: Any) -> Answer:
        """In the envelope of v5."""
        return Answer(200, {"code": "0", "msg": "", "data": value})

    def refuse(self, refused: Refused, request: Request) -> Answer:
        """Orders: code 1 with the code of each order; all else: the code itself."""
        code, words = _CODES[refused.why]
        if refused.why is Why.BALANCE and request.path.startswith("/api/v5/asset"):
            code, words = _BALANCE_OF_FUNDING
        status = {Why.RATE: 429, Why.BANNED: 429, Why.UNAVAILABLE: 503, Why.PATH: 404, Why.KEY: 401, Why.SIGNATURE: 401}
        status_code = status.get(
            refused.why, 401 if refused.why is Why.CLOCK and "expTime" not in request.headers else 200
        )
        gate = refused.why in {Why.RATE, Why.BANNED, Why.UNAVAILABLE, Why.PATH, Why.KEY, Why.SIGNATURE, Why.CLOCK}
        if refused.why is Why.UNAVAILABLE:
            return Answer(503, {})
        if request.method == "POST" and "/trade/" in request.path and not gate:
            row = {"ordId": "", "clOrdId": "", "sCode": code, "sMsg": words}
            return Answer(200, {"code": "1", "msg": "All operations failed", "data": [row]})
        return Answer(status_code, {"code": code, "msg": words, "data": []})
