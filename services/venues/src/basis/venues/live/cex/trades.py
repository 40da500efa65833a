"""Spot and perp orders at an exchange: prepare, send, follow to the end, resolve.

Every order is over when its handshake is made: filled, filled in part and the rest cancelled, or not filled at all.
"""

from __future__ import annotations

import asyncio
import time
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from basis.models.operations import OperationType, OrderSide, OrderType
from basis.runtime.fills import market_name
from basis.venues.core.interface import VenueRefusal
from basis.venues.live.cex import exits, handshakes
from basis.venues.live.cex.account import position
from basis.venues.live.cex.fills import outcome
from basis.venues.live.cex.following import fills_of, until_over
from basis.venues.live.cex.ids import client_order_id
from basis.venues.live.cex.units import (
    collar,
    exchange_amount,
    exchange_price,
    market_of,
    post_only,
    reduce_only,
)
from basis.venues.live.errors import LiveVenueError, ProvedFailure, UnknownOutcome
from basis.venues.live.interface import Prepared

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from pydantic import JsonValue

    from basis.models.execution import ExecutionHandshake
    from basis.models.order import Order
    from basis.models.venue_config import MarketConfig
    from basis.venues.live.cex.connection import Connection
    from basis.venues.live.cex.fills import Outcome
    from basis.venues.live.cex.profiles import Profile, Row
    from basis.venues.live.cex.units import Market
    from basis.venues.live.cex.wallets import Wallets

_TIMES_IN_FORCE = frozenset({"GTC", "IOC", "FOK"})
_MARGIN_S = 0.25
"""Beyond the receive window, until an order that is not found is proved not to have arrived."""
_REMEMBERED = 4096


class Trades:
    """Orders of one exchange.

    Args:
        link: the exchange.
        profile: where it differs from others.
        wallets: where its money is.
        markets: the mode's own limits by market, e.g. ``BTCUSDT-PERP``.
    """

    def __init__(
        self, link: Connection, profile: Profile, wallets: Wallets, markets: Mapping[str, MarketConfig]
    ) -> None:
        self._markets = markets
        self._link = link
        self._profile = profile
        self._wallets = wallets
        self._sent: dict[str, float] = {}
        """Client order id -> when it was last sent, seconds of the machine's monotonic clock."""
        self.exits_at: set[str] = set()
        """Symbols that take profits or stop losses may wait at."""

    def market(self, pair: str, *, perp: bool) -> Market:
        """A market by its pair.

        Raises:
            VenueRefusal: VEN-001, it is not traded.
        """
        listed, configured = self._link.client.markets or {}, self._markets.get(market_name(pair, perp=perp))
        return market_of(pair, perp=perp, listed=listed, venue=self._profile.venue, configured=configured)

    def _market(self, order: Order) -> Market:
        return self.market(str(order.pair), perp=order.operation is OperationType.PERP_TRADE)

    # ---------------------------------------------------------------------------------------------------- prepare

    async def prepare(self, order: Order) -> Prepared:
        """Check an order against the market's limits; nothing is sent.

        Raises:
            VenueRefusal: VEN-001, VEN-007, VEN-009.
            LiveVenueError: a market order without a reference price, and no price to be had.
        """
        prepared = self.prepare_at_once(order)
        if prepared is not None:
            return prepared
        market = self._market(order)
        return self._prepared(order, market, (await self._profile.quote(self._link, market)).price)

    def prepare_at_once(self, order: Order) -> Prepared | None:
        """The same, where the order has a price; None where one has to be asked for.

        Raises:
            VenueRefusal: VEN-001, VEN-007, VEN-009.
        """
        market = self._market(order)
        self._check(order, market)
        return None if order.price is None else self._prepared(order, market, order.price)

    def _check(self, order: Order, market: Market) -> None:
        venue, tif = self._profile.venue, _time_in_force(order)
        if tif not in _TIMES_IN_FORCE:
            raise VenueRefusal("VEN-009", f"time_in_force {tif!r}: expected one of {sorted(_TIMES_IN_FORCE)}", venue)
        if post_only(order) and (order.order_type is not OrderType.LIMIT or tif != "GTC"):
            raise VenueRefusal("VEN-009", "post_only is for limit orders that may rest (GTC)", venue)
        if order.take_profit is not None or order.stop_loss is not None:
            exits.check(order, market, venue)

    def _prepared(self, order: Order, market: Market, reference: float) -> Prepared:
        """Args: reference: what the amount is checked by, and what bounds a market order."""
        venue, tif, price = self._profile.venue, _time_in_force(order), None
        limit = order.order_type is OrderType.LIMIT
        if limit and order.price is not None:
            price = exchange_price(order.price, market, venue)
        elif self._link.config.market_orders == "protected":
            price, tif = collar(order, reference, market), "IOC"
        amount = exchange_amount(order, market, reference, venue)
        kind: JsonValue = {
            "kind": "trade",
            "client_order_id": client_order_id(order.operation_id),
            "symbol": market.symbol,
            "type": "market" if price is None else "limit",
            "side": str(order.side),
            "amount": str(amount),
            "price": None if price is None else str(price),
            "time_in_force": None if price is None else tif,
            "post_only": post_only(order),
            "reduce_only": reduce_only(order),
            # a limit is no market price: what it filled at is measured by the caller, against the row of its tick
            "market_price": None if limit else reference,
        }
        assert isinstance(kind, dict)
        return Prepared((order.operation_id,), venue, kind)

    # ------------------------------------------------------------------------------------------------------- send

    async def send(self, order: Order, prepared: Prepared) -> ExecutionHandshake:
        """Send an order once, and follow it to its end."""
        submitted, market, reference = self._link.clock.now(), self._market(order), prepared.reference
        client_id = str(reference["client_order_id"])
        try:
            await self._bring_money(order, market, reference)
        except LiveVenueError as failure:  # the order itself was not sent
            code = "VEN-003" if isinstance(failure, UnknownOutcome) else failure.error_code
            return handshakes.failed(order, code, f"before it was sent: {failure.message}", submitted)
        try:
            row = await self._link.send("order", self._link.client.create_order, *self._request(reference))
        except LiveVenueError as failure:
            return handshakes.ended(order, failure, submitted, {"client_order_id": client_id})
        finally:
            self._remember(client_id, self._link.left_at)
            if not market.perp:  # what a perp order frees lies where it is margin already
                self._wallets.touch(market.base, "USDT")
        if not row.get("id"):
            message = "the answer to the order has no id"
            return handshakes.pending(order, message, submitted, {"client_order_id": client_id})
        return await self._follow(order, market, prepared, row, submitted)

    @staticmethod
    def _request(reference: dict[str, JsonValue]) -> tuple[Any, ...]:
        params: dict[str, Any] = {"clientOrderId": reference["client_order_id"]}
        if reference["post_only"]:
            params["postOnly"] = True
        elif reference["time_in_force"] not in {None, "GTC"}:
            params["timeInForce"] = reference["time_in_force"]
        if reference["reduce_only"]:
            params["reduceOnly"] = True
        price = reference["price"]
        return (
            reference["symbol"],
            reference["type"],
            reference["side"],
            float(str(reference["amount"])),
            None if price is None else float(str(price)),
            params,
        )

    async def _bring_money(self, order: Order, market: Market, reference: dict[str, JsonValue]) -> None:
        """Where the account has several wallets: margin home before a perp order, the price of a spot order to spot."""
        if market.perp:
            await self._wallets.home([market.margin])
            return
        amount = Decimal(str(reference["amount"]))
        if order.side is OrderSide.SELL:
            await self._wallets.bring(market.base, self._profile.spot, amount)
            return
        price = reference["price"] if reference["price"] is not None else reference["market_price"]
        await self._wallets.bring("USDT", self._profile.spot, amount * Decimal(str(price)))

    def _remember(self, client_id: str, at: float) -> None:
        self._sent[client_id] = at
        while len(self._sent) > _REMEMBERED:
            self._sent.pop(next(iter(self._sent)))

    # ----------------------------------------------------------------------------------------------------- follow

    async def _follow(
        self, order: Order, market: Market, prepared: Prepared, row: Row, submitted: datetime
    ) -> ExecutionHandshake:
        """From an order that exists to its handshake; pending where it cannot be read now."""
        client_id = str(prepared.reference["client_order_id"])
        metadata: dict[str, JsonValue] = {"client_order_id": client_id, "order_id": str(row["id"])}
        reference = prepared.reference["market_price"]
        try:
            row = await until_over(self._link, self._profile, market, row)
            if not row.get("filled"):
                status = row.get("status")
                why = (
                    "limit not reached"
                    if order.order_type is OrderType.LIMIT
                    else "nothing within the slippage tolerance"
                )
                return handshakes.failed(order, "VEN-009", f"{market.symbol}: {status} unfilled: {why}", submitted)
            fills = await fills_of(self._link, self._profile, market, row)
            found = outcome(order, market, fills, float(str(reference)) if reference is not None else None)
            details = found.details | await self._keep_exits(order, market, found)
            await self._money_home(market)
        except LiveVenueError as failure:
            return handshakes.pending(order, f"sent, and not read: {failure.message}", submitted, metadata)
        except (ValueError, KeyError, TypeError, ArithmeticError) as error:  # what the exchange said makes no sense
            words = self._link.scrub(f"{type(error).__name__}: {error}")
            return handshakes.pending(order, f"sent, and not understood: {words}", submitted, metadata)
        metadata["status"] = str(row.get("status"))
        now = self._link.clock.now()
        return handshakes.confirmed(order, found._replace(details=details), submitted, now, metadata)

    async def _keep_exits(self, order: Order, market: Market, found: Outcome) -> dict[str, JsonValue]:
        """Set the levels of an entry; cancel those of a position that is gone or has turned."""
        if not market.perp:
            return {}
        if order.take_profit is not None or order.stop_loss is not None:
            self.exits_at.add(market.symbol)
            return await exits.place(self._link, self._profile, order, market, found)
        if market.symbol not in self.exits_at:
            return {}
        after = await position(self._link, self._profile, market)
        moved = Decimal(repr(found.deltas[f"{order.venue}:Perp:{market.pair}"]))
        if after * moved > 0 or not after:  # the last trade went beyond what was held, or closed it
            await exits.cancel(self._link, self._profile, market)
            self.exits_at.discard(market.symbol)
        return {}

    async def protect(self, order: Order, purposes: Sequence[str]) -> dict[str, str] | None:
        """Set exits of an entry that are not there.

        Returns:
            purpose -> why it is still missing; None where the position is gone or has turned.

        Raises:
            LiveVenueError: position or orders cannot be read.
            VenueRefusal: VEN-001, the perp is not traded any more.
        """
        market = self._market(order)
        held = await position(self._link, self._profile, market)
        if not held or (held > 0) is not (order.side is OrderSide.BUY):
            return None
        self.exits_at.add(market.symbol)
        return await exits.place_missing(self._link, self._profile, order, market, held, purposes)

    async def _money_home(self, market: Market) -> None:
        """What a spot order left idle goes back to margin; where that fails it is done before the next perp order."""
        if market.perp:
            return
        try:
            await self._wallets.home([market.base, "USDT"])
        except LiveVenueError:
            self._wallets.touch(market.base, "USDT")

    # ---------------------------------------------------------------------------------------------------- resolve

    async def resolve(self, order: Order, prepared: Prepared) -> ExecutionHandshake:
        """What became of an order that may have been sent.

        ``failed`` with VEN-014 once nothing that was sent can arrive any more: the receive window of the last request has
        passed and the exchange knows no such order.
        """
        now = self._link.clock.now()
        client_id = str(prepared.reference["client_order_id"])
        try:
            market = self._market(order)
            row = await self._found(market, client_id)
            if row is None:
                await asyncio.sleep(self._until_proved(client_id))
                row = await self._found(market, client_id)
        except LiveVenueError as failure:
            return handshakes.pending(order, f"not resolved: {failure.message}", now, {"client_order_id": client_id})
        if row is None:
            return handshakes.failed(order, "VEN-014", "the exchange knows no such order: it never arrived", now)
        return await self._follow(order, market, prepared, row, now)

    def _until_proved(self, client_id: str) -> float:
        """Seconds until nothing that was sent can arrive any more.

        What another process sent was signed before this one took over, which is when it asks for the first time.
        """
        config = self._link.config
        window_s = (config.recv_window_ms + config.max_clock_skew_ms) / 1000 + _MARGIN_S
        if client_id not in self._sent:
            self._remember(client_id, time.monotonic())
        return max(self._sent[client_id] + window_s - time.monotonic(), 0.0)

    async def _found(self, market: Market, client_id: str) -> Row | None:
        try:
            row = await self._profile.find_order(self._link, market, client_id)
        except ProvedFailure as failure:
            if failure.error_code == "VEN-014":
                return None
            raise
        return row if row.get("id") else None


def _time_in_force(order: Order) -> str:
    return str(order.operation_details.get("time_in_force", "GTC"))
