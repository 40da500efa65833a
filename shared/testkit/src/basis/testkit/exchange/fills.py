"""How orders of a local exchange fill: prices, fees, what moves in wallets and positions. No I/O."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING

from basis.testkit.exchange.accounts import Trade
from basis.testkit.exchange.treasury import Treasury

if TYPE_CHECKING:
    from basis.testkit.exchange.accounts import Order
    from basis.testkit.exchange.instruments import Listing


class Fills(Treasury):
    """One exchange with one account: what fills do."""

    def open_orders(self) -> list[Order]:
        """Live and waiting ones, oldest first."""
        return [order for order in self.account.orders.values() if order.status in {"open", "waiting"}]

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


def _pieces(amount: Decimal, lot: Decimal, count: int) -> list[Decimal]:
    """An amount in so many parts of whole lots."""
    part = (amount / count) - (amount / count) % lot
    if count <= 1 or part <= 0:
        return [amount] if amount > 0 else []
    return [part] * (count - 1) + [amount - part * (count - 1)]
