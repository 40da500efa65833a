"""Binance's orders, trades, positions and income, on all three trading APIs."""

from __future__ import annotations

from decimal import Decimal
from functools import partial
from typing import TYPE_CHECKING, Any

from basis.testkit.exchange.accounts import Refused, Why
from basis.testkit.exchange.binance.market import APIS, brackets, listing_of, market_id
from basis.testkit.exchange.binance.views import CONDITIONAL, algo_view, order_view, position_views, trade_view
from basis.testkit.exchange.face import Params, Route, text

if TYPE_CHECKING:
    from collections.abc import Callable

    from basis.testkit.exchange.accounts import Income, Order
    from basis.testkit.exchange.instruments import Kind, Listing
    from basis.testkit.exchange.matching import Exchange


def trading_routes(exchange: Exchange) -> dict[tuple[str, str], Route]:
    """(method, path) -> route, all signed."""
    routes: dict[tuple[str, str], Route] = {}

    def on(method: str, path: str, operation: str, answer: Callable[[Params], Any]) -> None:
        routes[method, path] = Route(operation, signed=True, answer=answer)

    for api, kind in APIS.items():
        on("POST", f"{api}/order", "order.create", partial(_place, exchange, kind))
        on("GET", f"{api}/order", "order.get", partial(_find, exchange, kind))
        on("DELETE", f"{api}/order", "order.cancel", partial(_cancel, exchange, kind))
        on("GET", f"{api}/openOrders", "order.open", partial(_open, exchange, kind))
        cancel_all = f"{api}/openOrders" if kind == "spot" else f"{api}/allOpenOrders"
        on("DELETE", cancel_all, "order.cancel", partial(_cancel_all, exchange, kind))
        trades = f"{api}/myTrades" if kind == "spot" else f"{api}/userTrades"
        on("GET", trades, "trades", partial(_trades, exchange, kind))
        if kind == "spot":
            continue
        on("GET", f"{api}/income", "income", partial(_incomes, exchange, kind))
        on("POST", f"{api}/leverage", "leverage", partial(_leverage, exchange, kind))
        on("POST", f"{api}/algoOrder", "order.conditional", partial(_place_algo, exchange, kind))
        on("GET", f"{api}/algoOrder", "order.get", partial(_algo, exchange, kind))
        on("DELETE", f"{api}/algoOrder", "order.cancel", partial(_cancel_algo, exchange, kind))
        on("GET", f"{api}/openAlgoOrders", "order.open", partial(_open_algos, exchange, kind))
        on("DELETE", f"{api}/algoOpenOrders", "order.cancel", partial(_cancel_algos, exchange, kind))
    on("GET", "/fapi/v1/leverageBracket", "brackets", lambda q: brackets(exchange, "linear"))
    on("GET", "/dapi/v2/leverageBracket", "brackets", lambda q: brackets(exchange, "inverse"))
    on("GET", "/fapi/v3/positionRisk", "positions", lambda q: position_views(exchange, "linear"))
    on("GET", "/dapi/v1/positionRisk", "positions", lambda q: position_views(exchange, "inverse"))
    return routes


def _amount(listing: Listing, query: Params) -> Decimal:
    try:
        return Decimal(query["quantity"]) * listing.contract
    except (KeyError, ArithmeticError) as error:
        raise Refused(Why.PARAMETER, "quantity") from error


def _place(exchange: Exchange, kind: Kind, query: Params) -> dict[str, Any]:
    listing = listing_of(exchange, kind, query["symbol"])
    if query["type"] in CONDITIONAL:
        return order_view(exchange, _place_conditional(exchange, listing, query, query.get("newClientOrderId", "")))
    tif = query.get("timeInForce", "GTC")
    if query["type"] == "LIMIT_MAKER" or tif == "GTX":
        tif = "PO"
    if "quoteOrderQty" in query:
        amount = Decimal(query["quoteOrderQty"]) / exchange.mark(listing)
        amount -= amount % listing.lot
    else:
        amount = _amount(listing, query)
    order = exchange.place(
        listing,
        buy=query["side"] == "BUY",
        amount=amount,
        price=None if query["type"] == "MARKET" else Decimal(query["price"]),
        client=query.get("newClientOrderId", ""),
        tif=tif,
        reduce_only=query.get("reduceOnly", "").lower() == "true",
    )
    return order_view(exchange, order)


def _place_conditional(exchange: Exchange, listing: Listing, query: Params, client: str) -> Order:
    buy, trigger = query["side"] == "BUY", Decimal(query.get("triggerPrice") or query["stopPrice"])
    purpose = CONDITIONAL[query["type"]]
    return exchange.place(
        listing,
        buy=buy,
        amount=_amount(listing, query),
        client=client,
        reduce_only=True,
        trigger=trigger,
        trigger_above=buy == (purpose == "stop_loss"),
        purpose=purpose,
    )


def _place_algo(exchange: Exchange, kind: Kind, query: Params) -> dict[str, Any]:
    listing = listing_of(exchange, kind, query["symbol"])
    client = query.get("clientAlgoId") or query.get("newClientOrderId", "")
    return algo_view(_place_conditional(exchange, listing, query, client))


def _sought(exchange: Exchange, kind: Kind, query: Params) -> Order:
    listing = listing_of(exchange, kind, query["symbol"])
    return exchange.find(query.get("orderId", ""), query.get("origClientOrderId", ""), listing)


def _find(exchange: Exchange, kind: Kind, query: Params) -> dict[str, Any]:
    return order_view(exchange, _sought(exchange, kind, query))


def _cancel(exchange: Exchange, kind: Kind, query: Params) -> dict[str, Any]:
    return order_view(exchange, exchange.cancel(_sought(exchange, kind, query)))


def _algo(exchange: Exchange, kind: Kind, query: Params) -> dict[str, Any]:
    del kind
    return algo_view(exchange.find(query.get("algoId", ""), query.get("clientAlgoId", "")))


def _cancel_algo(exchange: Exchange, kind: Kind, query: Params) -> dict[str, Any]:
    del kind
    return algo_view(exchange.cancel(exchange.find(query.get("algoId", ""), query.get("clientAlgoId", ""))))


def _live(exchange: Exchange, kind: Kind, query: Params, *, waiting: bool) -> list[Order]:
    return [
        order
        for order in exchange.open_orders()
        if order.listing.kind == kind
        and (order.status == "waiting") == waiting
        and ("symbol" not in query or market_id(order.listing) == query["symbol"])
    ]


def _open(exchange: Exchange, kind: Kind, query: Params) -> list[dict[str, Any]]:
    waits = kind == "inverse"  # COIN-M lists its conditional orders with the others
    found = _live(exchange, kind, query, waiting=False) + (_live(exchange, kind, query, waiting=True) if waits else [])
    return [order_view(exchange, order) for order in found]


def _open_algos(exchange: Exchange, kind: Kind, query: Params) -> list[dict[str, Any]]:
    return [algo_view(order) for order in _live(exchange, kind, query, waiting=True)]


def _cancel_all(exchange: Exchange, kind: Kind, query: Params) -> Any:
    found = _live(exchange, kind, query, waiting=False)
    if kind == "spot" and not found:
        raise Refused(Why.NO_ORDER)
    cancelled = [order_view(exchange, exchange.cancel(order)) for order in found]
    return cancelled if kind == "spot" else {"code": 200, "msg": "The operation of cancel all open order is done."}


def _cancel_algos(exchange: Exchange, kind: Kind, query: Params) -> dict[str, Any]:
    for order in _live(exchange, kind, query, waiting=True):
        exchange.cancel(order)
    return {"code": "200", "msg": "The operation of cancel all open order is done."}


def _trades(exchange: Exchange, kind: Kind, query: Params) -> list[dict[str, Any]]:
    listing = listing_of(exchange, kind, query["symbol"])
    start, end = int(query.get("startTime", 0)), int(query.get("endTime", 1 << 60))
    found = [
        trade
        for trade in exchange.trades_of(listing)
        if start <= trade.at_ms <= end and query.get("orderId", str(trade.order.id)) == str(trade.order.id)
    ]
    return [trade_view(trade) for trade in found[-min(int(query.get("limit", 500)), 1000) :]]


def _incomes(exchange: Exchange, kind: Kind, query: Params) -> list[dict[str, Any]]:
    start, end = int(query.get("startTime", 0)), int(query.get("endTime", 1 << 60))
    names = {"funding": "FUNDING_FEE", "liquidation": "INSURANCE_CLEAR"}

    def wanted(income: Income) -> bool:
        return (
            income.listing.kind == kind
            and start <= income.at_ms <= end
            and query.get("symbol", market_id(income.listing)) == market_id(income.listing)
            and query.get("incomeType", names[income.kind]) == names[income.kind]
        )

    return [
        {
            "symbol": market_id(income.listing),
            "incomeType": names[income.kind],
            "income": text(income.amount),
            "asset": income.asset,
            "time": income.at_ms,
            "info": names[income.kind],
            "tranId": income.id,
            "tradeId": "",
        }
        for income in [one for one in exchange.account.income if wanted(one)][: min(int(query.get("limit", 100)), 1000)]
    ]


def _leverage(exchange: Exchange, kind: Kind, query: Params) -> dict[str, Any]:
    listing = listing_of(exchange, kind, query["symbol"])
    exchange.account.positions[listing.name].leverage = Decimal(query["leverage"])
    return {"symbol": query["symbol"], "leverage": int(query["leverage"]), "maxNotionalValue": "100000000"}
