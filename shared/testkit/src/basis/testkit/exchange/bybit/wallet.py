"""Bybit's balances, transfers between wallets, deposits and withdrawals."""

from __future__ import annotations

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

_WALLETS = {"UNIFIED": "unified", "FUND": "fund"}
NETWORKS = {"USDT": "ETH", "ETH": "ETH", "BTC": "BTC"}


def wallet_routes(exchange: Exchange) -> dict[tuple[str, str], Route]:
    """(method, path) -> route, all signed."""
    routes: dict[tuple[str, str], Route] = {}
    transfers: dict[str, str] = {}

    def on(method: str, path: str, operation: str, answer: Callable[[Params], Any]) -> None:
        routes[method, f"/v5/{path}"] = Route(operation, signed=True, answer=answer)

    on("GET", "user/query-api", "account", lambda q: {"unified": 0, "uta": 1, "readOnly": 0})
    on("GET", "account/info", "account", lambda q: {"unifiedMarginStatus": 6, "marginMode": "REGULAR_MARGIN"})
    on("GET", "account/wallet-balance", "balance", lambda q: _unified(exchange))
    on("GET", "asset/transfer/query-account-coins-balance", "balance", lambda q: _fund(exchange))
    on("POST", "asset/transfer/inter-transfer", "transfer", lambda q: _transfer(exchange, q, transfers))
    on("POST", "asset/withdraw/create", "withdraw", lambda q: _withdraw(exchange, q))
    on("GET", "asset/withdraw/query-record", "withdrawals", lambda q: _withdrawals(exchange, q))
    on("GET", "asset/deposit/query-record", "deposits", lambda q: _deposits(exchange, q))
    on("GET", "asset/deposit/query-address", "address", _address)
    on("GET", "asset/coin/query-info", "currencies", lambda q: {"rows": [_coin(asset) for asset in ASSETS]})
    return routes


def _unified(exchange: Exchange) -> dict[str, Any]:
    coins = []
    for asset in sorted({*ASSETS, *exchange.account.wallets["unified"]}):
        balance, equity = exchange.account.wallets["unified"][asset], exchange.equity("unified", asset)
        margin = sum((exchange.margin_of(listing) for listing in exchange.perps_in("unified", asset)), Decimal(0))
        coins.append(
            {
                "coin": asset,
                "walletBalance": text(balance),
                "equity": text(equity),
                "unrealisedPnl": text(equity - balance),
                "locked": text(exchange.account.held["unified"][asset]),
                "totalPositionIM": text(margin),
                "totalPositionMM": text(margin / 10),
                "totalOrderIM": "0",
                "borrowAmount": "0",
                "accruedInterest": "0",
            }
        )
    return {"list": [{"accountType": "UNIFIED", "totalEquity": "0", "coin": coins}]}


def _fund(exchange: Exchange) -> dict[str, Any]:
    rows = [
        {"coin": asset, "walletBalance": text(held), "transferBalance": text(held), "bonus": ""}
        for asset in ASSETS
        for held in [exchange.account.wallets["fund"][asset]]
    ]
    return {"accountType": "FUND", "memberId": "1", "balance": rows}


def _transfer(exchange: Exchange, query: Params, done: dict[str, str]) -> dict[str, str]:
    number = query["transferId"]
    if number in done:
        raise Refused(Why.DUPLICATE_WITHDRAWAL)
    exchange.transfer(
        _WALLETS[query["fromAccountType"]], _WALLETS[query["toAccountType"]], query["coin"], Decimal(query["amount"])
    )
    done[number] = "SUCCESS"
    return {"transferId": number, "status": "SUCCESS"}


def _withdraw(exchange: Exchange, query: Params) -> dict[str, str]:
    if query.get("accountType", "FUND") != "FUND":
        raise Refused(Why.WITHDRAWAL, "this server pays out of FUND alone")
    amount = Decimal(query["amount"])
    # feeType 0: the amount is what arrives, the fee comes on top; 1: the fee is inside
    total = amount if int(query.get("feeType", 0)) == 1 else amount + WITHDRAWAL_FEES[query["coin"]]
    chain = query.get("chain", NETWORKS[query["coin"]])
    return {"id": exchange.withdraw(query["coin"], total, query["address"], chain, query.get("requestId", "")).id}


def _chosen(exchange: Exchange, kind: str, query: Params) -> list[Movement]:
    start, end = int(query.get("startTime", 0)), int(query.get("endTime", 1 << 60))
    return [
        movement
        for movement in exchange.account.movements
        if movement.kind == kind
        and start <= movement.created_ms <= end
        and query.get("coin", movement.asset) == movement.asset
        and query.get("withdrawID", movement.id) == movement.id
    ]


def _withdrawals(exchange: Exchange, query: Params) -> dict[str, Any]:
    rows = [
        {
            "withdrawId": movement.id,
            "txID": movement.txid,
            "coin": movement.asset,
            "chain": movement.network,
            "amount": text(movement.amount - movement.fee),
            "withdrawFee": text(movement.fee),
            "status": {"pending": "Pending", "done": "success", "failed": "Fail"}[movement.status],
            "toAddress": movement.address,
            "createTime": str(movement.created_ms),
            "updateTime": str(movement.due_ms),
        }
        for movement in _chosen(exchange, "withdrawal", query)
    ]
    return {"rows": rows[::-1], "nextPageCursor": ""}


def _deposits(exchange: Exchange, query: Params) -> dict[str, Any]:
    rows = [
        {
            "id": movement.id,
            "coin": movement.asset,
            "chain": movement.network,
            "amount": text(movement.amount),
            "txID": movement.txid,
            "status": {"pending": 1, "done": 3, "failed": 4}[movement.status],
            "toAddress": movement.address,
            "tag": "",
            "depositFee": "0",
            "successAt": str(movement.due_ms),
        }
        for movement in _chosen(exchange, "deposit", query)
    ]
    return {"rows": rows[::-1], "nextPageCursor": ""}


def _address(query: Params) -> dict[str, Any]:
    chain = {"chainType": "ERC20", "addressDeposit": ADDRESS, "tagDeposit": "", "chain": NETWORKS[query["coin"]]}
    return {"coin": query["coin"], "chains": [chain]}


def _coin(asset: str) -> dict[str, Any]:
    chain = {
        "chain": NETWORKS[asset],
        "chainType": "ERC20",
        "chainDeposit": "1",
        "chainWithdraw": "1",
        "withdrawFee": text(WITHDRAWAL_FEES[asset]),
        "withdrawMin": text(WITHDRAWAL_FEES[asset] * 2),
        "depositMin": "0",
        "minAccuracy": "8",
        "withdrawPercentageFee": "0",
    }
    return {"coin": asset, "name": asset, "remainAmount": "1000000", "chains": [chain]}
