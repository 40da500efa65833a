"""Orders against the tape: checks, fills, resting orders, triggers, margin. The core of every local exchange; no I/O."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING

from basis.testkit.exchange.accounts import Order, Refused, Trade, Why
from basis.testkit.exchange.instruments import MAINTENANCE, MAX_LEVERAGE
from basis.testkit.exchange.treasury import Treasury

if TYPE_CHECKING:
    from basis.testkit.exchange.instruments import Listing


class Exchange(Treasury):
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

    def open_orders(self) -> list[Order]:
        """Live and waiting ones, oldest first."""
        return [order for order in self.account.orders.values() if order.status in {"open", "waiting"}]

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

    # ------------------------------------------------------------------------------------------------------- fills

    def touch(self, listing: Listing, buy: bool) -> Decimal:
        """Best price on the other side, rounded away from the mark to a tick."""
        half = self.mark(listing) * self.half_spread
        raw = self.mark(listing) + (half if buy else -half)
        ticks = (raw / listing.tick).to_integral_value("ROUND_CEILING" if buy else "ROUND_FLOOR")
        return ticks * listing.tick

    def _crosses(self, order: Order) -> bool:
        if order.price is None:
            return True
        best = self.touch(order.listing, order.buy)
        return order.price >= best if order.buy else order.price <= best

    def _take(self, order: Order) -> None:
        """Fill against the book: all of it, or what liquidity there is, in so many pieces at worse prices."""
        there = self.liquidity.get(order.listing.name)
        amount = order.rest if there is None else min(order.rest, there)
        amount -= amount % order.listing.lot
        if order.tif == "FOK" and amount < order.rest:
            amount = Decimal(0)
        best = self.touch(order.listing, order.buy)
        for place, part in enumerate(_pieces(amount, order.listing.lot, self.pieces)):
            price = best + order.sign * place * order.listing.tick
            if order.price is not None and order.sign * (price - order.price) > 0:
                break
            self._fill(order, part, price, maker=False)
        if there is not None:
            self.liquidity[order.listing.name] = there - order.filled

    def _fill(self, order: Order, amount: Decimal, price: Decimal, *, maker: bool) -> None:
        listing, wallet = order.listing, self.wallet_of(order.listing)
        balances = self.account.wallets[wallet]
        rate = self.fee_rate(listing, maker=maker)
        if listing.kind == "spot":
            pnl = Decimal(0)
            received, given = (listing.base, listing.quote) if order.buy else (listing.quote, listing.base)
            value = amount * price
            got, gave = (amount, value) if order.buy else (value, amount)
            balances[received] += got
            balances[given] -= gave
            fee, fee_asset = got * rate, received
            if self.fee_asset == "BNB":
                fee, fee_asset = value * rate / self.bnb_price, "BNB"
            elif self.fee_asset == "quote" and fee_asset != listing.quote:
                fee, fee_asset = value * rate, listing.quote
            balances[fee_asset] -= fee
        else:
            fee, fee_asset = listing.margin(amount, price) * rate, listing.settle
            pnl = self._move_position(order, amount, price)
            balances[listing.settle] += pnl - fee
        order.filled += amount
        order.cost += amount / price if listing.kind == "inverse" else amount * price
        order.updated_ms = self.now_ms()
        if not order.rest:
            order.status = "filled"
        self.account.trades.append(
            Trade(next(self.ids), order, amount, price, fee, fee_asset, pnl, self.now_ms(), maker)
        )
        if self.account.positions[listing.name].amount == 0 and listing.kind != "spot":
            self._drop_exits(listing)

    def _move_position(self, order: Order, amount: Decimal, price: Decimal) -> Decimal:
        """Change the position; what it realised."""
        held = self.account.positions[order.listing.name]
        after = held.amount + order.sign * amount
        closing = min(abs(held.amount), amount) if held.amount * order.sign < 0 else Decimal(0)
        pnl = order.listing.pnl(closing.copy_sign(held.amount), held.entry, price) if closing else Decimal(0)
        if after == 0:
            held.entry = Decimal(0)
        elif held.amount * order.sign >= 0:
            if order.listing.kind == "inverse" and held.amount:
                held.entry = abs(after) / (abs(held.amount) / held.entry + amount / price)
            elif held.amount:
                held.entry = (abs(held.amount) * held.entry + amount * price) / abs(after)
            else:
                held.entry = price
        elif held.amount * after < 0:
            held.entry = price
        held.amount = after
        return pnl

    def _drop_exits(self, listing: Listing) -> None:
        """A closed position has no take profit and no stop loss any more; Binance leaves them for their owner to cancel."""
        if self.venue == "binance":
            return
        for order in self.open_orders():
            if order.listing == listing and order.status == "waiting":
                order.status, order.updated_ms = "canceled", self.now_ms()

    def _hold(self, order: Order) -> None:
        if order.listing.kind == "spot":
            wallet = self.wallet_of(order.listing)
            order.hold = order.rest * (order.price or Decimal(0)) if order.buy else order.rest
            self.account.held[wallet][order.hold_asset] += order.hold

    def _release(self, order: Order) -> None:
        self.account.held[self.wallet_of(order.listing)][order.hold_asset] -= order.hold
        order.hold = Decimal(0)

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


def _pieces(amount: Decimal, lot: Decimal, count: int) -> list[Decimal]:
    """An amount in so many parts of whole lots."""
    part = (amount / count) - (amount / count) % lot
    if count <= 1 or part <= 0:
        return [amount] if amount > 0 else []
    return [part] * (count - 1) + [amount - part * (count - 1)]
