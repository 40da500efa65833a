"""Bybit's orders, executions and positions."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Any

from basis.testkit.exchange.accounts import Refused, Why
from basis.testkit.exchange.bybit.market import listing_of
from basis.testkit.exchange.face import Params, Route, text

if TYPE_CHECKING:
    from collections.abc import Callable

    from basis.testkit.exchange.accounts import Income, Order, Trade
    from basis.testkit.exchange.instruments import Listing
    from basis.testkit.exchange.matching import Exchange

_STATUS = {"open": "New", "waiting": "Untriggered", "filled": "Filled", "canceled": "Cancelled", "expired": "Cancelled"}
_TIF = {"GTC": "GTC", "IOC": "IOC", "FOK": "FOK", "PostOnly": "PO"}
_STOP = {"take_profit": "TakeProfit", "stop_loss": "StopLoss"}


def trading_routes(exchange: Exchange) -> dict[tuple[str, str], Route]:
    """(method, path) -> route, all signed."""
    routes: dict[tuple[str, str], Route] = {}

    def on(method: str, path: str, operation: str, answer: Callable[[Params], Any]) -> None:
        routes[method, f"/v5/{path}"] = Route(operation, signed=True, answer=answer)

    on("POST", "order/create", "order.create", lambda q: _place(exchange, q))
    on("GET", "order/realtime", "order.get", lambda q: _realtime(exchange, q))
    on("GET", "order/history", "order.get", lambda q: _realtime(exchange, q))
    on("POST", "order/cancel", "order.cancel", lambda q: _cancel(exchange, q))
    on("POST", "order/cancel-all", "order.cancel", lambda q: _cancel_all(exchange, q))
    on("GET", "execution/list", "trades", lambda q: _executions(exchange, q))
    on("GET", "position/list", "positions", lambda q: _positions(exchange, q))
    on("POST", "position/set-leverage", "leverage", lambda q: {})
    return routes


def _ids(order: Order) -> dict[str, str]:
    return {"orderId": str(order.id), "orderLinkId": order.client}


def _place(exchange: Exchange, query: Params) -> dict[str, str]:
    listing = listing_of(exchange, query)
    buy = query["side"] == "Buy"
    amount = Decimal(query["qty"])
    if listing.kind == "spot" and query["orderType"] == "Market" and query.get("marketUnit") == "quoteCoin":
        amount /= exchange.mark(listing)
        amount -= amount % listing.lot
    if query.get("triggerPrice"):
        above = int(query["triggerDirection"]) == 1
        waiting = exchange.place(
            listing,
            buy=buy,
            amount=amount,
            client=query.get("orderLinkId", ""),
            reduce_only=True,
            trigger=Decimal(query["triggerPrice"]),
            trigger_above=above,
            purpose="stop_loss" if buy == above else "take_profit",
        )
        return _ids(waiting)
    order = exchange.place(
        listing,
        buy=buy,
        amount=amount,
        price=Decimal(query["price"]) if query["orderType"] == "Limit" else None,
        client=query.get("orderLinkId", ""),
        tif=_TIF[query.get("timeInForce", "GTC")],
        reduce_only=bool(query.get("reduceOnly", False)),
    )
    for purpose, name in (("take_profit", "takeProfit"), ("stop_loss", "stopLoss")):
        if query.get(name) and order.filled:
            _attach(exchange, listing, order, purpose, Decimal(query[name]))
    return _ids(order)


def _attach(exchange: Exchange, listing: Listing, order: Order, purpose: str, trigger: Decimal) -> None:
    """A level of the position: one of a kind, of its whole size."""
    for other in exchange.open_orders():
        if other.listing == listing and other.purpose == purpose:
            exchange.cancel(other)
    exchange.place(
        listing,
        buy=not order.buy,
        amount=abs(exchange.account.positions[listing.name].amount) or order.amount,
        reduce_only=True,
        trigger=trigger,
        trigger_above=order.buy == (purpose == "take_profit"),
        purpose=purpose,
        parent=order.id,
    )


def _wanted(exchange: Exchange, query: Params) -> list[Order]:
    def fits(order: Order) -> bool:
        return (
            order.listing.kind == query["category"]
            and query.get("symbol", order.listing.symbol) == order.listing.symbol
            and query.get("orderId", str(order.id)) == str(order.id)
            and query.get("orderLinkId", order.client) == order.client
        )

    return [order for order in exchange.account.orders.values() if fits(order)]


def _realtime(exchange: Exchange, query: Params) -> dict[str, Any]:
    found = _wanted(exchange, query)
    if "orderId" not in query and "orderLinkId" not in query:
        live = {"waiting"} if query.get("orderFilter") == "StopOrder" else {"open", "waiting"}
        found = [order for order in found if order.status in live]
    rows = [_order(order, exchange) for order in reversed(found[-500:])]
    return {"category": query["category"], "list": rows, "nextPageCursor": ""}


def _cancel(exchange: Exchange, query: Params) -> dict[str, str]:
    found = _wanted(exchange, query)
    if not found:
        raise Refused(Why.NO_ORDER)
    return _ids(exchange.cancel(found[-1]))


def _cancel_all(exchange: Exchange, query: Params) -> dict[str, Any]:
    waiting = query.get("orderFilter") == "StopOrder"
    found = [
        order
        for order in exchange.open_orders()
        if order.listing.kind == query["category"]
        and query.get("symbol", order.listing.symbol) == order.listing.symbol
        and (not waiting or order.status == "waiting")
    ]
    return {"list": [_ids(exchange.cancel(order)) for order in found], "success": "1"}


def _order(order: Order, exchange: Exchange) -> dict[str, Any]:
    status = _STATUS[order.status]
    if order.filled and order.rest:
        status = "PartiallyFilled" if order.status == "open" else "PartiallyFilledCanceled"
    fees = sum((trade.fee for trade in exchange.trades_of(order=order)), Decimal(0))
    view: dict[str, Any] = _ids(order) | {
        "symbol": order.listing.symbol,
        "side": "Buy" if order.buy else "Sell",
        "orderType": order.type.capitalize(),
        "price": text(order.price or Decimal(0)),
        "qty": text(order.amount),
        "cumExecQty": text(order.filled),
        "cumExecValue": text(order.cost),
        "cumExecFee": text(fees),
        "leavesQty": text(order.rest if order.status in {"open", "waiting"} else Decimal(0)),
        "avgPrice": text(order.average),
        "orderStatus": status,
        "timeInForce": "PostOnly" if order.tif == "PO" else order.tif,
        "reduceOnly": order.reduce_only,
        "triggerPrice": text(order.trigger or Decimal(0)),
        "stopOrderType": _STOP.get(order.purpose, ""),
        "createType": "CreateByLiq" if order.purpose == "liquidation" else "CreateByUser",
        "createdTime": str(order.created_ms),
        "updatedTime": str(order.updated_ms),
    }
    return view if order.listing.kind == "spot" else view | {"tpslMode": "Full", "positionIdx": 0}


def _executions(exchange: Exchange, query: Params) -> dict[str, Any]:
    start, end = int(query.get("startTime", 0)), int(query.get("endTime", 1 << 60))
    if query.get("execType") == "Funding":
        rows = [
            _funding(income)
            for income in exchange.account.income
            if income.kind == "funding"
            and start <= income.at_ms <= end
            and query.get("symbol", income.listing.symbol) == income.listing.symbol
        ]
    else:
        wanted = {order.id for order in _wanted(exchange, query)}
        rows = [
            _trade(trade)
            for trade in exchange.account.trades
            if trade.order.id in wanted and start <= trade.at_ms <= end
        ]
    limit = min(int(query.get("limit", 50)), 100)
    return {"category": query["category"], "list": rows[::-1][:limit], "nextPageCursor": ""}


def _trade(trade: Trade) -> dict[str, Any]:
    order = trade.order
    return _ids(order) | {
        "symbol": order.listing.symbol,
        "side": "Buy" if order.buy else "Sell",
        "orderType": order.type.capitalize(),
        "orderPrice": text(order.price or Decimal(0)),
        "orderQty": text(order.amount),
        "execId": f"e{trade.id}",
        "execType": "Trade",
        "execPrice": text(trade.price),
        "execQty": text(trade.amount),
        "execValue": text(trade.amount * trade.price),
        "execFee": text(trade.fee),
        "feeCurrency": trade.fee_asset if order.listing.kind == "spot" else "",
        "feeRate": "0.001",
        "isMaker": trade.maker,
        "execTime": str(trade.at_ms),
        "stopOrderType": _STOP.get(order.purpose, ""),
        "createType": "CreateByUser",
        "closedSize": "0",
    }


def _funding(income: Income) -> dict[str, Any]:
    """A fee: positive where the account pays."""
    return {
        "symbol": income.listing.symbol,
        "execType": "Funding",
        "execId": f"f{income.id}",
        "execFee": text(-income.amount),
        "feeRate": text(income.rate),
        "execQty": text(abs(income.position)),
        "execPrice": text(income.price),
        "execValue": text(abs(income.position) * income.price),
        "execTime": str(income.at_ms),
        "side": "Sell" if income.position > 0 else "Buy",
        "orderId": "",
    }


def _positions(exchange: Exchange, query: Params) -> dict[str, Any]:
    rows = []
    for listing in exchange.listings.values():
        held = exchange.account.positions[listing.name]
        if listing.kind != query["category"] or query.get("symbol", listing.symbol) != listing.symbol:
            continue
        if not held.amount and "symbol" not in query:
            continue
        mark, margin = exchange.mark(listing), text(exchange.margin_of(listing))
        rows.append(
            {
                "positionIdx": 0,
                "symbol": listing.symbol,
                "side": "Buy" if held.amount > 0 else "Sell" if held.amount < 0 else "",
                "size": text(abs(held.amount)),
                "avgPrice": text(held.entry),
                "positionValue": text(abs(held.amount) * held.entry),
                "markPrice": text(mark),
                "unrealisedPnl": text(exchange.unrealised(listing)),
                "positionIM": margin,
                "positionMM": margin,
                "liqPrice": "",
                "leverage": "20",
                "positionBalance": margin,
                "takeProfit": "",
                "stopLoss": "",
                "createdTime": str(exchange.now_ms()),
                "updatedTime": str(exchange.now_ms()),
            }
        )
    return {"category": query["category"], "list": rows, "nextPageCursor": ""}
