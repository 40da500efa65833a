"""OKX's balances, transfers between accounts, deposits and withdrawals."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Any

from basis.testkit.exchange.face import Params, Route, text
from basis.testkit.exchange.instruments import ASSETS, WITHDRAWAL_FEES
from basis.testkit.exchange.treasury import ADDRESS

if TYPE_CHECKING:
    from collections.abc import Callable

    from basis.testkit.exchange.accounts import Movement
    from basis.testkit.exchange.matching import Exchange

_WALLETS = {"6": "funding", "18": "trading"}
CHAINS = {"USDT": "USDT-ERC20", "ETH": "ETH-ERC20", "BTC": "BTC-Bitcoin"}


def wallet_routes(exchange: Exchange) -> dict[tuple[str, str], Route]:
    """(method, path) -> route, all signed."""
    routes: dict[tuple[str, str], Route] = {}

    def on(method: str, path: str, operation: str, answer: Callable[[Params], Any]) -> None:
        routes[method, f"/api/v5/{path}"] = Route(operation, signed=True, answer=answer)

    on("GET", "account/balance", "balance", lambda q: _trading(exchange))
    on("GET", "account/config", "account", lambda q: [{"acctLv": "2", "posMode": "net_mode", "uid": "1"}])
    on("GET", "asset/balances", "balance", lambda q: _funding(exchange))
    on("POST", "asset/transfer", "transfer", lambda q: _transfer(exchange, q))
    on("POST", "asset/withdrawal", "withdraw", lambda q: _withdraw(exchange, q))
    on("GET", "asset/withdrawal-history", "withdrawals", lambda q: _withdrawals(exchange, q))
    on("GET", "asset/deposit-history", "deposits", lambda q: _deposits(exchange, q))
    on("GET", "asset/deposit-address", "address", _address)
    on("GET", "asset/currencies", "currencies", lambda q: [_currency(asset) for asset in ASSETS])
    return routes


def _trading(exchange: Exchange) -> list[dict[str, Any]]:
    details = []
    for asset in sorted({*ASSETS, *exchange.account.wallets["trading"]}):
        balance, equity = exchange.account.wallets["trading"][asset], exchange.equity("trading", asset)
        details.append(
            {
                "ccy": asset,
                "eq": text(equity),
                "cashBal": text(balance),
                "availEq": text(exchange.free("trading", asset)),
                "availBal": text(exchange.free("trading", asset)),
                "frozenBal": text(exchange.account.held["trading"][asset]),
                "upl": text(equity - balance),
                "uTime": str(exchange.now_ms()),
            }
        )
    return [{"uTime": str(exchange.now_ms()), "totalEq": "0", "details": details}]


def _funding(exchange: Exchange) -> list[dict[str, Any]]:
    return [
        {"ccy": asset, "bal": text(held), "availBal": text(held), "frozenBal": "0"}
        for asset in ASSETS
        for held in [exchange.account.wallets["funding"][asset]]
    ]


def _transfer(exchange: Exchange, query: Params) -> list[dict[str, str]]:
    number = exchange.transfer(_WALLETS[query["from"]], _WALLETS[query["to"]], query["ccy"], Decimal(query["amt"]))
    return [
        {"transId": str(number), "ccy": query["ccy"], "from": query["from"], "to": query["to"], "amt": query["amt"]}
    ]


def _withdraw(exchange: Exchange, query: Params) -> list[dict[str, str]]:
    """The fee comes on top of the amount."""
    total = Decimal(query["amt"]) + WITHDRAWAL_FEES[query["ccy"]]
    chain = query.get("chain", CHAINS[query["ccy"]])
    movement = exchange.withdraw(query["ccy"], total, query["toAddr"], chain, query.get("clientId", ""))
    number = movement.id.removeprefix("w")
    return [{"wdId": number, "ccy": query["ccy"], "amt": query["amt"], "chain": chain, "clientId": movement.client}]


def _chosen(exchange: Exchange, kind: str, query: Params) -> list[Movement]:
    return [
        movement
        for movement in reversed(exchange.account.movements)
        if movement.kind == kind
        and query.get("ccy", movement.asset) == movement.asset
        and query.get("clientId", movement.client) == movement.client
        and int(query.get("before", -1)) < movement.created_ms
    ]


def _withdrawals(exchange: Exchange, query: Params) -> list[dict[str, Any]]:
    return [
        {
            "wdId": movement.id.removeprefix("w"),
            "clientId": movement.client,
            "ccy": movement.asset,
            "chain": movement.network,
            "amt": text(movement.amount - movement.fee),
            "fee": text(movement.fee),
            "to": movement.address,
            "txId": movement.txid,
            "state": {"pending": "0", "done": "2", "failed": "-1"}[movement.status],
            "ts": str(movement.created_ms),
        }
        for movement in _chosen(exchange, "withdrawal", query)
    ]


def _deposits(exchange: Exchange, query: Params) -> list[dict[str, Any]]:
    return [
        {
            "depId": movement.id,
            "ccy": movement.asset,
            "chain": movement.network,
            "amt": text(movement.amount),
            "to": movement.address,
            "from": "",
            "txId": movement.txid,
            "state": {"pending": "0", "done": "2", "failed": "12"}[movement.status],
            "ts": str(movement.created_ms),
        }
        for movement in _chosen(exchange, "deposit", query)
    ]


def _address(query: Params) -> list[dict[str, Any]]:
    return [
        {"ccy": query["ccy"], "chain": CHAINS[query["ccy"]], "addr": ADDRESS, "to": "6", "selected": True, "ctAddr": ""}
    ]


def _currency(asset: str) -> dict[str, Any]:
    return {
        "ccy": asset,
        "name": asset,
        "chain": CHAINS[asset],
        "mainNet": asset != "USDT",
        "canDep": True,
        "canWd": True,
        "canInternal": True,
        "fee": text(WITHDRAWAL_FEES[asset]),
        "minFee": text(WITHDRAWAL_FEES[asset]),
        "maxFee": text(WITHDRAWAL_FEES[asset]),
        "minWd": text(WITHDRAWAL_FEES[asset] * 2),
        "maxWd": "1000000",
        "minDep": "0",
        "wdTickSz": "8",
    }
