"""Orders against the tape: checks, resting orders, triggers, liquidation. The core of every local exchange; no I/O."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING

from basis.testkit.exchange.accounts import Order, Refused, Why
from basis.testkit.exchange.fills import Fills
from basis.testkit.exchange.instruments import MAINTENANCE, MAX_LEVERAGE

if TYPE_CHECKING:
    from basis.testkit.exchange.accounts import Trade
    from basis.testkit.exchange.instruments import Listing


class Exchange(Fills):
    """One exchange with one account."""

    # ------------------------------------------------------------------------------------------------------ orders

    def place(
        self,
        listing: Listing,
        *,
        buy: bool,
        amount: Decimal,
        price: Decimal | None = None,
        client: str = "",
        tif: str = "GTC",
        reduce_only: bool = False,
        trigger: Decimal | None = None,
        trigger_above: bool = False,
        purpose: str = "",
        parent: int | None = None,
    ) -> Order:
        """Take an order; a market order where it has no price.

        Raises:
            Refused: a rule of the exchange; nothing changed.
        """
        now = self.now_ms()
        self.advance(now)
        self._require_fresh(listing, client)
        self._require_size(listing, amount, price, reduce_only=reduce_only or bool(trigger))
        number = next(self.ids)
        order = Order(
            id=number,
            client=client or f"auto{number}",
            listing=listing,
            buy=buy,
            type="market" if price is None else "limit",
            amount=amount,
            price=price,
            tif=tif,
            reduce_only=reduce_only,
            created_ms=now,
            updated_ms=now,
            trigger=trigger,
            trigger_above=trigger_above,
            purpose=purpose,
            parent=parent,
        )
        if trigger is not None:
            order.status = "waiting"
            self.account.orders[number] = order
            return order
        self._require_reduction(order)
        if tif == "PO" and self._crosses(order):
            if self.post_only_cancels:
                order.status = "canceled"
                self.account.orders[number] = order
                return order
            raise Refused(Why.POST_ONLY)
        self._require_funds(order)
        self.account.orders[number] = order
        if self._crosses(order):
            self._take(order)
        if order.rest and order.status == "open":
            if order.type == "market" or tif in {"IOC", "FOK"}:
                order.status = "expired"
            else:
                self._hold(order)
        return order

    def find(self, number: str = "", client: str = "", listing: Listing | None = None) -> Order:
        """The newest order with an id of either kind.

        Raises:
            Refused: there is none.
        """
        for order in reversed(self.account.orders.values()):
            if listing is not None and order.listing != listing:
                continue
            if (number and str(order.id) == number) or (client and order.client == client):
                return order
        raise Refused(Why.NO_ORDER)

    def cancel(self, order: Order) -> Order:
        """Take back what is not filled.

        Raises:
            Refused: it is over already.
        """
        if order.status not in {"open", "waiting"}:
            raise Refused(Why.NO_ORDER)
        self._release(order)
        order.status, order.updated_ms = "canceled", self.now_ms()
        return order

    def trades_of(self, listing: Listing | None = None, order: Order | None = None) -> list[Trade]:
        """Fills, oldest first."""
        return [
            trade
            for trade in self.account.trades
            if (listing is None or trade.order.listing == listing) and (order is None or trade.order is order)
        ]

    # ------------------------------------------------------------------------------------------------------ checks

    def _require_fresh(self, listing: Listing, client: str) -> None:
        if not client:
            return
        for order in self.account.orders.values():
            if order.client != client:
                continue
            # the spot API of Binance forgets an id once its order is over: what is sent twice happens twice
            forgets = self.venue == "binance" and listing.kind == "spot" and order.status != "open"
            if order.listing.kind == listing.kind and not forgets:
                raise Refused(Why.DUPLICATE)

    def _require_size(self, listing: Listing, amount: Decimal, price: Decimal | None, *, reduce_only: bool) -> None:
        if amount <= 0 or amount % listing.lot:
            raise Refused(Why.LOT, f"{amount} of {listing.lot}")
        if price is not None and (price <= 0 or price % listing.tick):
            raise Refused(Why.TICK, f"{price} of {listing.tick}")
        if not reduce_only and listing.notional(amount, price or self.mark(listing)) < listing.min_notional:
            raise Refused(Why.NOTIONAL, f"least is {listing.min_notional}")

    def _require_reduction(self, order: Order) -> None:
        if not order.reduce_only:
            return
        held = self.account.positions[order.listing.name].amount
        if held * order.sign >= 0:
            raise Refused(Why.REDUCE_ONLY)
        order.amount = min(order.amount, abs(held))

    def _require_funds(self, order: Order) -> None:
        listing, price = order.listing, order.price or self.touch(order.listing, order.buy)
        wallet = self.wallet_of(listing)
        if listing.kind == "spot":
            asset = order.hold_asset
            needed = order.amount * price if order.buy else order.amount
            if self.free(wallet, asset) < needed:
                raise Refused(Why.BALANCE, f"{asset}: {self.free(wallet, asset)} of {needed}")
            return
        held = self.account.positions[listing.name].amount
        after = held + order.sign * order.amount
        if order.reduce_only or (held * after >= 0 and abs(after) < abs(held)):
            return
        added = (listing.margin(after, price) - listing.margin(held, price)) / MAX_LEVERAGE
        fee = listing.margin(order.amount, price) * self.fee_rate(listing, maker=False)
        if self.free(wallet, listing.settle) < max(added, Decimal(0)) + fee:
            raise Refused(Why.MARGIN)

    # -------------------------------------------------------------------------------------------------------- time

    def _match_resting(self, listing: Listing, low: Decimal, high: Decimal) -> None:
        """Resting and waiting orders of a market after its price went through a range."""
        for order in self.open_orders():
            if order.listing != listing:
                continue
            if order.status == "waiting" and order.trigger is not None:
                if (high >= order.trigger) if order.trigger_above else (low <= order.trigger):
                    self._wake(order)
            elif order.status == "open" and order.price is not None:
                met = low <= order.price if order.buy else high >= order.price
                if met:
                    self._release(order)
                    there = self.liquidity.get(listing.name)
                    amount = order.rest if there is None else min(order.rest, there)
                    if amount:
                        self._fill(order, amount, order.price, maker=True)
                    if there is not None:
                        self.liquidity[listing.name] = there - amount
                    if order.rest:
                        self._hold(order)

    def _wake(self, order: Order) -> None:
        """A conditional order closes at its trigger."""
        held = self.account.positions[order.listing.name].amount
        if held * order.sign >= 0:
            order.status = "canceled"
            return
        order.status = "open"
        order.amount = min(order.amount, abs(held))
        self._fill(order, order.rest, order.trigger or Decimal(0), maker=False)

    def _liquidate_where_short(self) -> None:
        for listing in self.listings.values():
            if listing.kind == "spot":
                continue
            held = self.account.positions[listing.name]
            wallet = self.wallet_of(listing)
            if not held.amount:
                continue
            needed = sum(
                (self.margin_of(other) * MAX_LEVERAGE * MAINTENANCE for other in self.perps_in(wallet, listing.settle)),
                Decimal(0),
            )
            if self.equity(wallet, listing.settle) < needed:
                self._liquidate(listing)

    def _liquidate(self, listing: Listing) -> None:
        held, price = self.account.positions[listing.name], self.mark(listing)
        order = Order(
            next(self.ids),
            f"autoclose-{next(self.ids)}",
            listing,
            held.amount < 0,
            "market",
            abs(held.amount),
            None,
            "IOC",
            True,
            self.now_ms(),
            self.now_ms(),
            purpose="liquidation",
        )
        self.account.orders[order.id] = order
        amount = held.amount
        self._fill(order, abs(amount), price, maker=False)
        self._pay(listing, "liquidation", Decimal(0), amount, price, Decimal(0), self.now_ms())
