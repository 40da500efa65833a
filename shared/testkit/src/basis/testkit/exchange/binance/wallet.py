"""Binance's balances, transfers between wallets, deposits and withdrawals."""

from __future__ import annotations

import time
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from basis.testkit.exchange.accounts import Refused, Why
from basis.testkit.exchange.face import Params, Route, text
from basis.testkit.exchange.instruments import ASSETS, WITHDRAWAL_FEES
from basis.testkit.exchange.treasury import ADDRESS

if TYPE_CHECKING:
    from collections.abc import Callable

    from basis.testkit.exchange.accounts import Movement
    from basis.testkit.exchange.matching import Exchange

_WALLETS = {"MAIN": "spot", "UMFUTURE": "linear", "CMFUTURE": "inverse", "FUNDING": "funding"}
NETWORKS = {"USDT": "ETH", "ETH": "ETH", "BTC": "BTC"}


def wallet_routes(exchange: Exchange) -> dict[tuple[str, str], Route]:
    """(method, path) -> route, all signed."""
    routes: dict[tuple[str, str], Route] = {}

    def on(method: str, path: str, operation: str, answer: Callable[[Params], Any]) -> None:
        routes[method, path] = Route(operation, signed=True, answer=answer)

    on("GET", "/api/v3/account", "balance", lambda q: _spot(exchange))
    on("GET", "/fapi/v3/account", "balance", lambda q: _futures(exchange, "linear"))
    on("GET", "/dapi/v1/account", "balance", lambda q: _futures(exchange, "inverse"))
    on("POST", "/sapi/v1/asset/transfer", "transfer", lambda q: _transfer(exchange, q))
    on("POST", "/sapi/v1/capital/withdraw/apply", "withdraw", lambda q: _withdraw(exchange, q))
    on("GET", "/sapi/v1/capital/withdraw/history", "withdrawals", lambda q: _withdrawals(exchange, q))
    on("GET", "/sapi/v1/capital/deposit/hisrec", "deposits", lambda q: _deposits(exchange, q))
    on("GET", "/sapi/v1/capital/deposit/address", "address", _address)
    on("GET", "/sapi/v1/capital/config/getall", "currencies", lambda q: _coins(exchange))
    on("GET", "/sapi/v1/bnbBurn", "bnb", lambda q: _burn(exchange))
    on("GET", "/fapi/v1/feeBurn", "bnb", lambda q: {"feeBurn": False})
    return routes


def _burn(exchange: Exchange) -> dict[str, Any]:
    return {"spotBNBBurn": exchange.fee_asset == "BNB", "interestBNBBurn": False}


def _spot(exchange: Exchange) -> dict[str, Any]:
    held, balances = exchange.account.held["spot"], exchange.account.wallets["spot"]
    rows = [
        {"asset": asset, "free": text(balances[asset] - held[asset]), "locked": text(held[asset])}
        for asset in sorted({*ASSETS, *balances})
    ]
    return {
        "canTrade": True,
        "canWithdraw": True,
        "updateTime": exchange.now_ms(),
        "accountType": "SPOT",
        "balances": rows,
    }


def _futures(exchange: Exchange, wallet: str) -> dict[str, Any]:
    rows = []
    for asset in ASSETS:
        perps = exchange.perps_in(wallet, asset)
        margin = text(sum((exchange.margin_of(listing) for listing in perps), Decimal(0)))
        balance, equity = exchange.account.wallets[wallet][asset], exchange.equity(wallet, asset)
        free = text(exchange.free(wallet, asset))
        rows.append(
            {
                "asset": asset,
                "walletBalance": text(balance),
                "unrealizedProfit": text(equity - balance),
                "marginBalance": text(equity),
                "maintMargin": margin,
                "initialMargin": margin,
                "positionInitialMargin": margin,
                "openOrderInitialMargin": "0",
                "crossWalletBalance": text(balance),
                "crossUnPnl": text(equity - balance),
                "availableBalance": free,
                "maxWithdrawAmount": free,
                "updateTime": exchange.now_ms(),
            }
        )
    return {"canTrade": True, "canDeposit": True, "canWithdraw": True, "assets": rows, "positions": []}


def _transfer(exchange: Exchange, query: Params) -> dict[str, Any]:
    source, _, target = query["type"].partition("_")
    if source not in _WALLETS or target not in _WALLETS:
        raise Refused(Why.PARAMETER, query["type"])
    return {"tranId": exchange.transfer(_WALLETS[source], _WALLETS[target], query["asset"], Decimal(query["amount"]))}


def _withdraw(exchange: Exchange, query: Params) -> dict[str, Any]:
    network = query.get("network") or NETWORKS[query["coin"]]
    client = query.get("withdrawOrderId", "")
    return {"id": exchange.withdraw(query["coin"], Decimal(query["amount"]), query["address"], network, client).id}


def _within(movement: Movement, kind: str, query: Params) -> bool:
    start, end = int(query.get("startTime", 0)), int(query.get("endTime", 1 << 60))
    return (
        movement.kind == kind
        and start <= movement.created_ms <= end
        and query.get("coin", movement.asset) == movement.asset
        and query.get("withdrawOrderId", movement.client) == movement.client
    )


def _withdrawals(exchange: Exchange, query: Params) -> list[dict[str, Any]]:
    status = {"pending": 4, "done": 6, "failed": 5}
    return [
        {
            "id": movement.id,
            "amount": text(movement.amount - movement.fee),
            "transactionFee": text(movement.fee),
            "coin": movement.asset,
            "status": status[movement.status],
            "address": movement.address,
            "txId": movement.txid,
            "applyTime": time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(movement.created_ms / 1000)),
            "completeTime": time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(movement.due_ms / 1000)),
            "network": movement.network,
            "transferType": 0,
            "withdrawOrderId": movement.client,
        }
        for movement in exchange.account.movements
        if _within(movement, "withdrawal", query)
    ]


def _deposits(exchange: Exchange, query: Params) -> list[dict[str, Any]]:
    return [
        {
            "id": movement.id,
            "amount": text(movement.amount),
            "coin": movement.asset,
            "network": movement.network,
            "status": {"pending": 0, "done": 1, "failed": 7}[movement.status],
            "address": movement.address,
            "addressTag": "",
            "txId": movement.txid,
            "insertTime": movement.created_ms,
            "completeTime": movement.due_ms,
            "transferType": 0,
            "confirmTimes": "12/12",
        }
        for movement in exchange.account.movements
        if _within(movement, "deposit", query)
    ]


def _address(query: Params) -> dict[str, Any]:
    return {"coin": query["coin"], "address": ADDRESS, "tag": "", "url": ""}


def _coins(exchange: Exchange) -> list[dict[str, Any]]:
    return [
        {
            "coin": asset,
            "name": asset,
            "free": text(exchange.free("spot", asset)),
            "locked": "0",
            "trading": True,
            "isLegalMoney": False,
            "depositAllEnable": True,
            "withdrawAllEnable": True,
            "networkList": [
                {
                    "network": NETWORKS[asset],
                    "coin": asset,
                    "name": "Ethereum (ERC20)",
                    "isDefault": True,
                    "depositEnable": True,
                    "withdrawEnable": True,
                    "withdrawFee": text(WITHDRAWAL_FEES[asset]),
                    "withdrawMin": text(WITHDRAWAL_FEES[asset] * 2),
                    "withdrawMax": "1000000",
                    "withdrawIntegerMultiple": "0.00000001",
                    "minConfirm": 6,
                    "unLockConfirm": 12,
                }
            ],
        }
        for asset in ASSETS
    ]
