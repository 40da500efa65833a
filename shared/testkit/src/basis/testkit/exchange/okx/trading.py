"""OKX's orders, fills, positions and bills."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Any

from basis.testkit.exchange.accounts import Refused, Why
from basis.testkit.exchange.face import Params, Route, text
from basis.testkit.exchange.okx.market import inst_id, listing_of, size

if TYPE_CHECKING:
    from collections.abc import Callable

    from basis.testkit.exchange.accounts import Order, Trade
    from basis.testkit.exchange.instruments import Listing
    from basis.testkit.exchange.matching import Exchange

_TIF = {"limit": "GTC", "ioc": "IOC", "fok": "FOK", "post_only": "PO", "market": "GTC", "optimal_limit_ioc": "IOC"}
_TYPES = {"GTC": "limit", "IOC": "ioc", "FOK": "fok", "PO": "post_only"}
_STATES = {"open": "live", "waiting": "live", "filled": "filled", "canceled": "canceled", "expired": "canceled"}


def trading_routes(exchange: Exchange) -> dict[tuple[str, str], Route]:
    """(method, path) -> route, all signed."""
    routes: dict[tuple[str, str], Route] = {}

    def on(method: str, path: str, operation: str, answer: Callable[[Any], Any]) -> None:
        routes[method, f"/api/v5/{path}"] = Route(operation, signed=True, answer=answer)

    on("POST", "trade/batch-orders", "order.create", lambda q: [_place(exchange, one) for one in q[""]])
    on("POST", "trade/order", "order.create", lambda q: [_place(exchange, q)])
    on("POST", "trade/order-algo", "order.conditional", lambda q: [_place_algo(exchange, q)])
    on("GET", "trade/order-algo", "order.get", lambda q: [_algo(exchange.find(client=q["algoClOrdId"]))])
    on("GET", "trade/order", "order.get", lambda q: [_order(exchange, _find(exchange, q))])
    on("POST", "trade/cancel-order", "order.cancel", lambda q: [_ids(exchange.cancel(_find(exchange, q)))])
    on("POST", "trade/cancel-batch-orders", "order.cancel", lambda q: _cancel(exchange, q[""]))
    on("GET", "trade/orders-pending", "order.open", lambda q: _pending(exchange, q))
    on("GET", "trade/orders-algo-pending", "order.open", lambda q: _algos(exchange, q))
    on("POST", "trade/cancel-algos", "order.cancel", lambda q: _cancel_algos(exchange, q[""]))
    on("GET", "trade/fills", "trades", lambda q: _fills(exchange, q))
    on("GET", "trade/fills-history", "trades", lambda q: _fills(exchange, q))
    on("GET", "account/positions", "positions", lambda q: _positions(exchange, q))
    on("GET", "account/bills", "income", lambda q: _bills(exchange, q))
    on("GET", "account/bills-archive", "income", lambda q: _bills(exchange, q))
    on(
        "POST",
        "account/set-leverage",
        "leverage",
        lambda q: [{"lever": q["lever"], "mgnMode": "cross", "instId": q.get("instId", "")}],
    )
    return routes


def _ids(order: Order) -> dict[str, str]:
    return {"ordId": str(order.id), "clOrdId": order.client, "tag": "", "sCode": "0", "sMsg": ""}


def _place(exchange: Exchange, query: dict[str, Any]) -> dict[str, str]:
    listing = listing_of(exchange, query["instId"])
    kind = query["ordType"]
    if kind not in _TIF:
        raise Refused(Why.PARAMETER, kind)
    order = exchange.place(
        listing,
        buy=query["side"] == "buy",
        amount=Decimal(query["sz"]) * listing.contract,
        price=Decimal(query["px"]) if "px" in query else None,
        client=query.get("clOrdId", ""),
        tif=_TIF[kind],
        reduce_only=str(query.get("reduceOnly", "")).lower() == "true",
    )
    for attached in query.get("attachAlgoOrds", ()):
        for purpose, name in (("take_profit", "tpTriggerPx"), ("stop_loss", "slTriggerPx")):
            if attached.get(name) and order.filled:
                _attach(exchange, listing, order, purpose, Decimal(attached[name]))
    return _ids(order)


def _attach(exchange: Exchange, listing: Listing, order: Order, purpose: str, trigger: Decimal) -> None:
    exchange.place(
        listing,
        buy=not order.buy,
        amount=order.filled,
        reduce_only=True,
        trigger=trigger,
        trigger_above=order.buy == (purpose == "take_profit"),
        purpose=purpose,
        parent=order.id,
    )


def _find(exchange: Exchange, query: Params) -> Order:
    return exchange.find(query.get("ordId", ""), query.get("clOrdId", ""), listing_of(exchange, query["instId"]))


def _cancel(exchange: Exchange, orders: list[Params]) -> list[dict[str, str]]:
    return [_ids(exchange.cancel(_find(exchange, query))) for query in orders]


def _cancel_algos(exchange: Exchange, orders: list[Params]) -> list[dict[str, str]]:
    return [
        {"algoId": query["algoId"], "sCode": "0", "sMsg": ""}
        for query in orders
        if exchange.cancel(exchange.find(query["algoId"]))
    ]


def _pending(exchange: Exchange, query: Params) -> list[dict[str, Any]]:
    return [
        _order(exchange, order)
        for order in exchange.open_orders()
        if order.status == "open" and query.get("instId", inst_id(order.listing)) == inst_id(order.listing)
    ]


def _place_algo(exchange: Exchange, query: dict[str, Any]) -> dict[str, str]:
    listing = listing_of(exchange, query["instId"])
    purpose = "take_profit" if query.get("tpTriggerPx") else "stop_loss"
    buy = query["side"] == "buy"
    order = exchange.place(
        listing,
        buy=buy,
        amount=Decimal(query["sz"]) * listing.contract,
        client=query.get("algoClOrdId", ""),
        reduce_only=True,
        trigger=Decimal(query.get("tpTriggerPx") or query["slTriggerPx"]),
        trigger_above=buy == (purpose == "stop_loss"),
        purpose=purpose,
    )
    return {"algoId": str(order.id), "algoClOrdId": order.client, "sCode": "0", "sMsg": ""}


def _algos(exchange: Exchange, query: Params) -> list[dict[str, Any]]:
    return [
        _algo(order)
        for order in exchange.open_orders()
        if order.status == "waiting"
        and query.get("ordType", "conditional") == "conditional"
        and query.get("instId", inst_id(order.listing)) == inst_id(order.listing)
    ]


def _algo(order: Order) -> dict[str, Any]:
    return {
        "algoId": str(order.id),
        "algoClOrdId": order.client,
        "instId": inst_id(order.listing),
        "instType": "SWAP",
        "ordType": "conditional",
        "side": "buy" if order.buy else "sell",
        "sz": size(order.listing, order.amount),
        "state": {"waiting": "live", "filled": "effective", "canceled": "canceled"}[order.status],
        "tpTriggerPx": text(order.trigger) if order.purpose == "take_profit" and order.trigger else "",
        "slTriggerPx": text(order.trigger) if order.purpose == "stop_loss" and order.trigger else "",
        "cTime": str(order.created_ms),
        "uTime": str(order.updated_ms),
    }


def _order(exchange: Exchange, order: Order) -> dict[str, Any]:
    listing = order.listing
    state = "partially_filled" if order.status == "open" and order.filled else _STATES[order.status]
    trades = exchange.trades_of(order=order)
    # an order that an algo order became has the algo's id beside its own, and no client id
    algo = {"clOrdId": "", "algoClOrdId": order.client, "algoId": str(order.id)} if order.trigger else {}
    category = {"category": "full_liquidation" if order.purpose == "liquidation" else "normal"}
    return (
        _ids(order)
        | algo
        | category
        | {
            "instId": inst_id(listing),
            "instType": "SPOT" if listing.kind == "spot" else "SWAP",
            "ordType": "market" if order.type == "market" else _TYPES[order.tif],
            "tgtCcy": "base_ccy" if listing.kind == "spot" else "",
            "side": "buy" if order.buy else "sell",
            "px": text(order.price) if order.price else "",
            "sz": size(listing, order.amount),
            "accFillSz": size(listing, order.filled),
            "avgPx": text(order.average) if order.filled else "",
            "state": state,
            "fee": text(-sum((trade.fee for trade in trades), Decimal(0))),
            "feeCcy": trades[0].fee_asset if trades else "",
            "reduceOnly": "true" if order.reduce_only else "false",
            "fillTime": str(order.updated_ms) if order.filled else "",
            "cTime": str(order.created_ms),
            "uTime": str(order.updated_ms),
        }
    )


def _fills(exchange: Exchange, query: Params) -> list[dict[str, Any]]:
    begin, end = int(query.get("begin", 0)), int(query.get("end", 1 << 60))
    found = [
        trade
        for trade in exchange.account.trades
        if begin <= trade.at_ms <= end
        and query.get("ordId", str(trade.order.id)) == str(trade.order.id)
        and query.get("instId", inst_id(trade.order.listing)) == inst_id(trade.order.listing)
        and query.get("instType", _type(trade.order.listing)) == _type(trade.order.listing)
    ]
    return [_fill(trade) for trade in reversed(found[-100:])]


def _type(listing: Listing) -> str:
    return "SPOT" if listing.kind == "spot" else "SWAP"


def _fill(trade: Trade) -> dict[str, Any]:
    order = trade.order
    return {
        "instType": _type(order.listing),
        "instId": inst_id(order.listing),
        "tradeId": str(trade.id),
        "billId": str(trade.id),
        "ordId": str(order.id),
        "clOrdId": order.client,
        "side": "buy" if order.buy else "sell",
        "fillPx": text(trade.price),
        "fillSz": size(order.listing, trade.amount),
        "fillPnl": text(trade.pnl),
        "fee": text(-trade.fee),
        "feeCcy": trade.fee_asset,
        "execType": "M" if trade.maker else "T",
        "ts": str(trade.at_ms),
        "fillTime": str(trade.at_ms),
    }


def _positions(exchange: Exchange, query: Params) -> list[dict[str, Any]]:
    rows = []
    for listing in exchange.listings.values():
        held = exchange.account.positions[listing.name]
        if listing.kind == "spot" or not held.amount or query.get("instId", inst_id(listing)) != inst_id(listing):
            continue
        mark, margin = exchange.mark(listing), text(exchange.margin_of(listing))
        rows.append(
            {
                "instType": "SWAP",
                "instId": inst_id(listing),
                "mgnMode": "cross",
                "posSide": "net",
                "pos": size(listing, held.amount),
                "avgPx": text(held.entry),
                "markPx": text(mark),
                "upl": text(exchange.unrealised(listing)),
                "uplRatio": "0",
                "notionalUsd": text(listing.notional(held.amount, mark)),
                "imr": margin,
                "mmr": text(exchange.margin_of(listing) / 10),
                "mgnRatio": "10",
                "lever": "20",
                "liqPx": "",
                "ccy": listing.settle,
                "posId": "1",
                "cTime": str(exchange.now_ms()),
                "uTime": str(exchange.now_ms()),
            }
        )
    return rows


def _bills(exchange: Exchange, query: Params) -> list[dict[str, str]]:
    kinds = {"funding": "8", "liquidation": "5"}
    begin, end = int(query.get("begin", 0)), int(query.get("end", 1 << 60))
    return [
        {
            "billId": str(income.id),
            "ccy": income.asset,
            "balChg": text(income.amount),
            "posBalChg": "0",
            "pnl": text(income.amount),
            "instId": inst_id(income.listing),
            "instType": "SWAP",
            "px": text(income.price),
            "sz": size(income.listing, abs(income.position)),
            "type": kinds[income.kind],
            "ts": str(income.at_ms),
        }
        for income in reversed(exchange.account.income)
        if kinds[income.kind] == query.get("type", kinds[income.kind]) and begin <= income.at_ms <= end
    ][:100]
