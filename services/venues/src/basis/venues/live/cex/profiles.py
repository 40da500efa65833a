"""Where the exchanges differ: wallets, how an order is found by its client id, conditional orders, withdrawals, quotes.

Everything else is the same code for all of them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from basis.models.instruments import Venue, is_inverse
from basis.venues.live.errors import ProvedFailure

if TYPE_CHECKING:
    from collections.abc import Mapping

    from basis.venues.live.cex.connection import Connection
    from basis.venues.live.cex.units import Market

FUNDING_HISTORY, TRADE_HISTORY = "funding history", "trades"
"""Histories that are read in pages."""
Row = dict[str, Any]
"""A structure of ccxt."""


class Quote(NamedTuple):
    """A price."""

    price: float
    at_ms: int
    """The exchange's own time of it."""


@dataclass(frozen=True)
class Profile:
    """One exchange; this one is what they have in common."""

    venue: str
    """Name."""
    accounts: Mapping[str, str]
    """Our wallet -> ccxt's name for transfers. ``cash``: deposits land and withdrawals leave there."""
    balances: Mapping[str, Mapping[str, str]]
    """Our wallet -> parameters of ccxt's fetch_balance."""
    spot: str
    """Wallet that spot trades from."""
    linear: str
    """Wallet that linear perps are margined in."""
    inverse: str
    """Wallet that inverse perps are margined in."""
    cash: str
    """Wallet that deposits land in and withdrawals leave from."""
    funding_sign: int = 1
    """-1 where ccxt hands on a fee instead of a payment."""
    total_has_pnl: bool = True
    """True where the total of a margin wallet has unrealised PnL in it."""
    history_days: int = 7
    """Longest stretch of one question for trades and payments, days."""

    def history_params(self, what: str, start_ms: int, end_ms: int, most: int) -> Row:
        """Parameters of a history in [start, end]; :data:`FUNDING_HISTORY` or :data:`TRADE_HISTORY`."""
        del what, start_ms, most
        return {"until": end_ms}

    def wallet(self, market: Market) -> str:
        """Wallet that a market trades from."""
        if not market.perp:
            return self.spot
        return self.inverse if is_inverse(market.pair) else self.linear

    async def find_order(self, link: Connection, market: Market, client_id: str, *, trigger: bool = False) -> Row:
        """An order by its client id.

        Raises:
            ProvedFailure: VEN-014, the exchange knows no such order.
        """
        params: Row = {"clientOrderId": client_id} | ({"trigger": True} if trigger else {})
        found: Row = await link.ask("find order", link.client.fetch_order, None, market.symbol, params)
        return found

    async def order(self, link: Connection, market: Market, order_id: str) -> Row:
        """An order by the exchange's id."""
        found: Row = await link.ask("read order", link.client.fetch_order, order_id, market.symbol, {})
        return found

    async def trades(self, link: Connection, market: Market, order_id: str) -> list[Row]:
        """Trades of an order."""
        found: list[Row] = await link.ask(
            "trades of order", link.client.fetch_my_trades, market.symbol, None, None, {"orderId": order_id}
        )
        return [row for row in found if str(row.get("order")) == order_id]

    def exit_params(self, client_id: str, purpose: str, trigger: float) -> Row:
        """Parameters of a conditional order that closes a position at a level."""
        name = "takeProfitPrice" if purpose == "take_profit" else "stopLossPrice"
        return {"clientOrderId": client_id, name: trigger, "reduceOnly": True}

    async def open_exits(self, link: Connection, market: Market) -> list[Row]:
        """Conditional orders that wait."""
        found: list[Row] = await link.ask(
            "open exits", link.client.fetch_open_orders, market.symbol, None, None, {"trigger": True}
        )
        return found

    async def cancel_exit(self, link: Connection, market: Market, order_id: str) -> None:
        """Cancel a conditional order."""
        await link.send("cancel exit", link.client.cancel_order, order_id, market.symbol, {"trigger": True})

    def withdrawal(self, client_id: str, amount: float, fee: float) -> tuple[float, Row]:
        """(amount, parameters) so that ``amount`` leaves the account in all, the fee inside."""
        del fee
        return amount, {"withdrawOrderId": client_id}

    def is_withdrawal(self, row: Row, client_id: str) -> bool | None:
        """Whether a row of the history is the withdrawal with an id; None where the exchange does not say."""
        return bool(row["info"].get("withdrawOrderId") == client_id)

    async def quote(self, link: Connection, market: Market) -> Quote:
        """Last price of a spot market, mark price of a perp."""
        raise NotImplementedError

    def is_liquidation(self, order: Row) -> bool:
        """True where the exchange itself sent the order to close a position."""
        return str(order.get("clientOrderId") or "").startswith(("autoclose", "adl_autoclose"))


class Binance(Profile):
    """Three wallets; spot client ids are forgotten when an order is over."""

    async def quote(self, link: Connection, market: Market) -> Quote:
        if market.perp:
            found = await link.ask("mark price", link.client.fetch_funding_rate, market.symbol)
            return Quote(found["markPrice"], found["timestamp"])
        found = await link.ask("ticker", link.client.fetch_ticker, market.symbol)
        return Quote(found["last"], found["timestamp"])

    async def find_order(self, link: Connection, market: Market, client_id: str, *, trigger: bool = False) -> Row:
        # COIN-M keeps conditional orders with the others
        return await super().find_order(link, market, client_id, trigger=trigger and not market.inverse)

    async def open_exits(self, link: Connection, market: Market) -> list[Row]:
        if not market.inverse:
            return await super().open_exits(link, market)
        found = await link.ask("open exits", link.client.fetch_open_orders, market.symbol)
        return [row for row in found if row.get("triggerPrice")]

    async def cancel_exit(self, link: Connection, market: Market, order_id: str) -> None:
        params = {} if market.inverse else {"trigger": True}
        await link.send("cancel exit", link.client.cancel_order, order_id, market.symbol, params)


class Bybit(Profile):
    """One unified account, and one for deposits and withdrawals."""

    def history_params(self, what: str, start_ms: int, end_ms: int, most: int) -> Row:
        # ccxt asks for funding with ``size``, which v5 does not know: it would answer with 50
        return super().history_params(what, start_ms, end_ms, most) | {"limit": most}

    async def find_order(self, link: Connection, market: Market, client_id: str, *, trigger: bool = False) -> Row:
        del trigger  # one list holds them all
        return await self._find(link, market, {"orderLinkId": client_id})

    async def order(self, link: Connection, market: Market, order_id: str) -> Row:
        return await self._find(link, market, {"orderId": order_id})

    async def _find(self, link: Connection, market: Market, by: Row) -> Row:
        """Among recent orders, then in the history; ccxt's own fetch_order takes no client id here."""
        client = link.client
        listed = client.market(market.symbol)
        request = {"category": "linear" if market.perp else "spot", "symbol": listed["id"], **by}
        for what in (client.privateGetV5OrderRealtime, client.privateGetV5OrderHistory):
            answer = await link.ask("find order", what, request)
            rows = answer["result"]["list"]
            if rows:
                found: Row = client.parse_order(rows[0], listed)
                return found
        raise _not_found(self.venue)

    async def trades(self, link: Connection, market: Market, order_id: str) -> list[Row]:
        """With the token that Bybit says paid the fee: ccxt guesses it from the side."""
        rows = await super().trades(link, market, order_id)
        return [row | {"fees": [], "fee": _named_fee(row)} for row in rows]

    async def cancel_exit(self, link: Connection, market: Market, order_id: str) -> None:
        await link.send("cancel exit", link.client.cancel_order, order_id, market.symbol, {})

    def withdrawal(self, client_id: str, amount: float, fee: float) -> tuple[float, Row]:
        del fee
        return amount, {"requestId": client_id, "feeType": 1, "accountType": "FUND"}

    def is_withdrawal(self, row: Row, client_id: str) -> bool | None:
        del row, client_id
        return None  # the history does not show requestId

    async def quote(self, link: Connection, market: Market) -> Quote:
        category, listed = "linear" if market.perp else "spot", link.client.market(market.symbol)
        request = {"category": category, "symbol": listed["id"]}
        answer = await link.ask("ticker", link.client.publicGetV5MarketTickers, request)
        row = answer["result"]["list"][0]
        return Quote(float(row["markPrice" if market.perp else "lastPrice"]), int(answer["time"]))

    def is_liquidation(self, order: Row) -> bool:
        return str(order["info"].get("createType", "")) in {"CreateByLiq", "CreateByAdl_PassThrough"}


class Okx(Profile):
    """A trading account, and a funding account for deposits and withdrawals."""

    def history_params(self, what: str, start_ms: int, end_ms: int, most: int) -> Row:
        if what == TRADE_HISTORY:
            return super().history_params(what, start_ms, end_ms, most)
        return {"begin": str(start_ms), "end": str(end_ms)}  # ccxt asks for the newest bills alone

    async def trades(self, link: Connection, market: Market, order_id: str) -> list[Row]:
        found: list[Row] = await link.ask("trades of order", link.client.fetch_order_trades, order_id, market.symbol)
        return found

    def exit_params(self, client_id: str, purpose: str, trigger: float) -> Row:
        return super().exit_params(client_id, purpose, trigger) | {"algoClOrdId": client_id}

    async def open_exits(self, link: Connection, market: Market) -> list[Row]:
        params = {"trigger": True, "ordType": "conditional"}
        found: list[Row] = await link.ask(
            "open exits", link.client.fetch_open_orders, market.symbol, None, None, params
        )
        return found

    def withdrawal(self, client_id: str, amount: float, fee: float) -> tuple[float, Row]:
        return round(amount - fee, 12), {"clientId": client_id, "fee": f"{fee:.12f}".rstrip("0").rstrip(".")}

    def is_withdrawal(self, row: Row, client_id: str) -> bool | None:
        return bool(row["info"].get("clientId") == client_id)

    async def quote(self, link: Connection, market: Market) -> Quote:
        listed = link.client.market(market.symbol)
        if market.perp:
            request = {"instType": "SWAP", "instId": listed["id"]}
            answer = await link.ask("mark price", link.client.publicGetPublicMarkPrice, request)
            row = answer["data"][0]
            return Quote(float(row["markPx"]), int(row["ts"]))
        found = await link.ask("ticker", link.client.fetch_ticker, market.symbol)
        return Quote(found["last"], found["timestamp"])

    def is_liquidation(self, order: Row) -> bool:
        return str(order["info"].get("category", "")) in {"full_liquidation", "partial_liquidation", "adl"}


def _named_fee(row: Row) -> Row | None:
    fee: Row | None = row.get("fee")
    named = row["info"].get("feeCurrency")
    return fee | {"currency": named} if fee and named else fee


def _not_found(venue: str) -> ProvedFailure:
    return ProvedFailure("VEN-014", "the exchange knows no such order", venue)


PROFILES: Mapping[str, Profile] = {
    Venue.BINANCE: Binance(
        venue="binance",
        accounts={"spot": "spot", "linear": "future", "inverse": "delivery"},
        balances={
            "spot": {"type": "spot"},
            "linear": {"type": "swap", "subType": "linear"},
            "inverse": {"type": "swap", "subType": "inverse"},
        },
        spot="spot",
        linear="linear",
        inverse="inverse",
        cash="spot",
    ),
    Venue.BYBIT: Bybit(
        venue="bybit",
        accounts={"unified": "unified", "fund": "fund"},
        balances={"unified": {"type": "swap"}, "fund": {"type": "funding"}},
        spot="unified",
        linear="unified",
        inverse="unified",
        cash="fund",
        funding_sign=-1,
        total_has_pnl=False,
    ),
    Venue.OKX: Okx(
        venue="okx",
        accounts={"trading": "trading", "funding": "funding"},
        balances={"trading": {"type": "trading"}, "funding": {"type": "funding"}},
        spot="trading",
        linear="trading",
        inverse="trading",
        cash="funding",
        history_days=90,
    ),
}
"""Venue -> its profile."""
