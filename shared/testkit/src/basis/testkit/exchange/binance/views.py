"""How Binance shows orders, trades and positions."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Any

from basis.testkit.exchange.binance.market import contracts, market_id
from basis.testkit.exchange.face import text

if TYPE_CHECKING:
    from basis.testkit.exchange.accounts import Order, Trade
    from basis.testkit.exchange.instruments import Kind
    from basis.testkit.exchange.matching import Exchange

_STATUS = {"open": "NEW", "waiting": "NEW", "filled": "FILLED", "canceled": "CANCELED", "expired": "EXPIRED"}
_ALGO_STATUS = {"waiting": "NEW", "open": "TRIGGERED", "filled": "FINISHED", "canceled": "CANCELED"}
CONDITIONAL = {"STOP_MARKET": "stop_loss", "TAKE_PROFIT_MARKET": "take_profit"}
"""Type of a conditional order -> its purpose."""


def order_view(exchange: Exchange, order: Order) -> dict[str, Any]:
    """An order."""
    listing = order.listing
    status = "PARTIALLY_FILLED" if order.status == "open" and order.filled else _STATUS[order.status]
    kind = order.type.upper()
    if order.purpose in {"stop_loss", "take_profit"}:
        kind = {name: given for given, name in CONDITIONAL.items()}[order.purpose]
    view: dict[str, Any] = {
        "symbol": market_id(listing),
        "orderId": order.id,
        "clientOrderId": order.client,
        "price": text(order.price or Decimal(0)),
        "origQty": text(contracts(listing, order.amount)),
        "executedQty": text(contracts(listing, order.filled)),
        "status": status,
        "timeInForce": "GTX" if order.tif == "PO" else order.tif,
        "type": kind,
        "side": "BUY" if order.buy else "SELL",
        "time": order.created_ms,
        "updateTime": order.updated_ms,
        "stopPrice": text(order.trigger or Decimal(0)),
    }
    if listing.kind == "spot":
        fills = [
            {
                "price": text(trade.price),
                "qty": text(trade.amount),
                "commission": text(trade.fee),
                "commissionAsset": trade.fee_asset,
                "tradeId": trade.id,
            }
            for trade in exchange.trades_of(order=order)
        ]
        return view | {
            "orderListId": -1,
            "transactTime": order.updated_ms,
            "cummulativeQuoteQty": text(order.cost),
            "fills": fills,
            "isWorking": True,
            "selfTradePreventionMode": "NONE",
        }
    sums = {"cumBase": text(order.cost)} if listing.kind == "inverse" else {"cumQuote": text(order.cost)}
    return (
        view
        | sums
        | {
            "avgPrice": text(order.average),
            "cumQty": text(contracts(listing, order.filled)),
            "reduceOnly": order.reduce_only,
            "closePosition": False,
            "positionSide": "BOTH",
            "origType": kind,
            "workingType": "CONTRACT_PRICE",
            "priceProtect": False,
        }
    )


def algo_view(order: Order) -> dict[str, Any]:
    """A conditional order of USD-M."""
    return {
        "algoId": order.id,
        "clientAlgoId": order.client,
        "algoType": "CONDITIONAL",
        "orderType": {name: given for given, name in CONDITIONAL.items()}[order.purpose],
        "symbol": market_id(order.listing),
        "side": "BUY" if order.buy else "SELL",
        "positionSide": "BOTH",
        "timeInForce": "GTC",
        "quantity": text(contracts(order.listing, order.amount)),
        "algoStatus": _ALGO_STATUS[order.status],
        "triggerPrice": text(order.trigger or Decimal(0)),
        "price": "0",
        "actualOrderId": str(order.id) if order.filled else "",
        "reduceOnly": True,
        "createTime": order.created_ms,
        "updateTime": order.updated_ms,
    }


def trade_view(trade: Trade) -> dict[str, Any]:
    """A fill."""
    listing, buy = trade.order.listing, trade.order.buy
    view: dict[str, Any] = {
        "symbol": market_id(listing),
        "id": trade.id,
        "orderId": trade.order.id,
        "price": text(trade.price),
        "qty": text(contracts(listing, trade.amount)),
        "commission": text(trade.fee),
        "commissionAsset": trade.fee_asset,
        "time": trade.at_ms,
    }
    if listing.kind == "spot":
        quote = text(trade.amount * trade.price)
        return view | {"quoteQty": quote, "isBuyer": buy, "isMaker": trade.maker, "isBestMatch": True}
    size = text(listing.margin(trade.amount, trade.price))
    sums = {"baseQty": size, "pair": listing.symbol} if listing.kind == "inverse" else {"quoteQty": size}
    return (
        view
        | sums
        | {
            "buyer": buy,
            "maker": trade.maker,
            "side": "BUY" if buy else "SELL",
            "realizedPnl": text(trade.pnl),
            "marginAsset": listing.settle,
            "positionSide": "BOTH",
        }
    )


def position_views(exchange: Exchange, kind: Kind) -> list[dict[str, Any]]:
    """Open positions of an API."""
    found = []
    for listing in exchange.listings.values():
        held = exchange.account.positions[listing.name]
        if listing.kind != kind or not held.amount:
            continue
        mark, margin = exchange.mark(listing), text(exchange.margin_of(listing))
        notional = listing.margin(held.amount, mark).copy_sign(held.amount)
        size = "notionalValue" if kind == "inverse" else "notional"
        found.append(
            {
                "symbol": market_id(listing),
                "positionSide": "BOTH",
                "positionAmt": text(contracts(listing, held.amount)),
                "entryPrice": text(held.entry),
                "breakEvenPrice": text(held.entry),
                "markPrice": text(mark),
                "unRealizedProfit": text(exchange.unrealised(listing)),
                "liquidationPrice": "0",
                "isolatedMargin": "0",
                "isolatedWallet": "0",
                "marginType": "cross",
                size: text(notional),
                "marginAsset": listing.settle,
                "initialMargin": margin,
                "maintMargin": text(abs(notional) / 100),
                "positionInitialMargin": margin,
                "openOrderInitialMargin": "0",
                "adl": 1,
                "bidNotional": "0",
                "askNotional": "0",
                "leverage": text(held.leverage),
                "updateTime": exchange.now_ms(),
            }
        )
    return found
