"""Money of a local exchange: wallets, margin, funding, transfers inside the account, deposits and withdrawals."""

from __future__ import annotations

import itertools
import time
from decimal import Decimal
from typing import TYPE_CHECKING

from basis.testkit.exchange.accounts import Account, Income, Movement, Refused, Why
from basis.testkit.exchange.instruments import LISTINGS, MAX_LEVERAGE, WITHDRAWAL_FEES, Listing
from basis.testkit.exchange.tapes import Steps, read_bars, read_funding

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from basis.testkit.exchange.tapes import Tape

_PRICES = {"BTC": Decimal(60_000), "ETH": Decimal(3_000)}
WALLETS: Mapping[str, Mapping[str, str]] = {
    "binance": {"spot": "spot", "linear": "linear", "inverse": "inverse", "cash": "spot"},
    "bybit": {"spot": "unified", "linear": "unified", "cash": "fund"},
    "okx": {"spot": "trading", "linear": "trading", "cash": "funding"},
}
"""Venue -> kind of market -> wallet that it trades from; ``cash`` is where deposits land and withdrawals leave."""
ADDRESS = "0x" + "12" * 20
"""Deposit address of every asset."""
_FEES = {
    "spot": (Decimal("0.001"), Decimal("0.001")),
    "linear": (Decimal("0.0005"), Decimal("0.0002")),
    "inverse": (Decimal("0.0005"), Decimal("0.0001")),
}


def wall_ms() -> int:
    """Milliseconds since the epoch."""
    return int(time.time() * 1000)


class Treasury:
    """One exchange with one account: everything but orders.

    Args:
        venue: binance, bybit or okx.
        clock: milliseconds of the exchange's own clock; the wall clock by default.
    """

    def __init__(self, venue: str, clock: Callable[[], int] = wall_ms) -> None:
        self.venue = venue
        self.clock = clock
        self.listings: dict[tuple[str, str], Listing] = {listing.name: listing for listing in LISTINGS[venue].values()}
        self.account = Account()
        self.tapes: dict[tuple[str, str], Tape] = {
            name: Steps(_PRICES[listing.base]) for name, listing in self.listings.items()
        }
        self.rates: dict[tuple[str, str], list[tuple[int, Decimal]]] = {name: [] for name in self.listings}
        """Market -> funding payments (ms, rate), rising; those that lie ahead are paid when their time comes."""
        self.ids = itertools.count(1001)
        self.fees = {kind: _FEES[kind] for kind in _FEES}
        """Kind of market -> taker and maker fee rate."""
        self.fee_asset = "received"
        """Spot fees: received (as the exchanges do), quote, or BNB."""
        self.bnb_price = Decimal(600)
        self.half_spread = Decimal(0)
        """Distance of the best prices from the mark, a fraction."""
        self.liquidity: dict[tuple[str, str], Decimal | None] = {}
        """Market -> amount that can still be taken; without end where left out."""
        self.pieces = 1
        """Fills that a taking order is cut into, each one tick worse."""
        self.deposit_delay_ms = 0
        self.withdrawal_delay_ms = 0
        self.withdrawals_stuck = False
        """A withdrawal then stays pending."""
        self.post_only_cancels = venue != "binance"
        """Bybit and OKX take a post-only order that would take, and cancel it; Binance refuses it."""
        self.retry_after_s = 0
        """Seconds that a 429 or 418 says to wait."""
        self._advanced_ms = clock()

    def now_ms(self) -> int:
        """The exchange's own time."""
        return self.clock()

    # ------------------------------------------------------------------------------------------------------ prices

    def mark(self, listing: Listing) -> Decimal:
        """Price now; mark, index and last are one."""
        return self.tapes[listing.name].price(self.now_ms())

    def set_price(self, symbol: str, kind: str, price: float | str | Decimal) -> None:
        """From now on; resting orders that it meets fill."""
        now = self.now_ms()
        self.advance(now)
        tape = self.tapes[symbol, kind]
        if not isinstance(tape, Steps):
            tape = self.tapes[symbol, kind] = Steps(tape.price(now))
        tape.set(now, Decimal(str(price)))
        self._after_prices(self._advanced_ms, now)

    def replay(self, folder: Path) -> list[str]:
        """Prices and funding of a catalogue, for every market that it has hourly bars of; the series that were found."""
        found = []
        for (symbol, kind), listing in self.listings.items():
            name = f"{self.venue}/{symbol.lower()}"
            bars, funding = (
                folder / f"{name}_{'spot' if kind == 'spot' else 'perp'}_1h.parquet",
                folder / f"{name}_funding.parquet",
            )
            if bars.is_file():
                self.tapes[listing.name] = read_bars(bars)
                found.append(bars.stem)
            if kind != "spot" and funding.is_file():
                self.rates[listing.name] = read_funding(funding)
                found.append(funding.stem)
        self._advanced_ms = self.now_ms()
        return found

    def advance(self, now: int) -> None:
        """Let happen what was due until now: funding, fills, triggers, liquidations, arrivals."""
        before = self._advanced_ms
        if now <= before:
            return
        self._advanced_ms = now
        self._after_prices(before, now)
        for name, rates in self.rates.items():
            for at_ms, rate in rates:
                if before < at_ms <= now:
                    listing = self.listings[name]
                    self._fund(listing, rate, at_ms, self.tapes[name].price(at_ms))
        for movement in self.account.movements:
            if movement.status == "pending" and movement.due_ms <= now:
                self._complete(movement)

    def _after_prices(self, before: int, now: int) -> None:
        for name, listing in self.listings.items():
            low, high = self.tapes[name].extremes(before, now)
            self._match_resting(listing, low, high)
        self._liquidate_where_short()

    def _match_resting(self, listing: Listing, low: Decimal, high: Decimal) -> None:
        raise NotImplementedError

    def _liquidate_where_short(self) -> None:
        raise NotImplementedError

    # ----------------------------------------------------------------------------------------------------- wallets

    def wallet_of(self, listing: Listing) -> str:
        """Wallet that a market trades from."""
        return WALLETS[self.venue][listing.kind]

    def fee_rate(self, listing: Listing, *, maker: bool) -> Decimal:
        """Fraction of the notional."""
        return self.fees[listing.kind][1 if maker else 0]

    def perps_in(self, wallet: str, asset: str) -> list[Listing]:
        """Open perps that settle into a balance."""
        return [
            listing
            for listing in self.listings.values()
            if listing.kind != "spot"
            and listing.settle == asset
            and self.wallet_of(listing) == wallet
            and self.account.positions[listing.name].amount
        ]

    def unrealised(self, listing: Listing) -> Decimal:
        """PnL of a position at the mark, in its settlement asset."""
        held = self.account.positions[listing.name]
        return listing.pnl(held.amount, held.entry, self.mark(listing))

    def margin_of(self, listing: Listing) -> Decimal:
        """Initial margin of a position, in its settlement asset."""
        return listing.margin(self.account.positions[listing.name].amount, self.mark(listing)) / MAX_LEVERAGE

    def equity(self, wallet: str, asset: str) -> Decimal:
        """Balance with unrealised PnL."""
        perps = self.perps_in(wallet, asset)
        return self.account.wallets[wallet][asset] + sum((self.unrealised(listing) for listing in perps), Decimal(0))

    def free(self, wallet: str, asset: str) -> Decimal:
        """What may be used: not held by orders, not needed as initial margin."""
        needed = sum((self.margin_of(listing) for listing in self.perps_in(wallet, asset)), Decimal(0))
        balance = self.account.wallets[wallet][asset]
        return max(min(self.equity(wallet, asset), balance) - self.account.held[wallet][asset] - needed, Decimal(0))

    def deposit(self, wallet: str, asset: str, amount: float | str | Decimal) -> None:
        """Put money into a wallet, out of nothing (tests)."""
        self.account.wallets[wallet][asset] += Decimal(str(amount))

    def transfer(self, source: str, target: str, asset: str, amount: Decimal) -> int:
        """Move between wallets of the account.

        Raises:
            Refused: BALANCE, the source has less that is free.
        """
        if amount <= 0 or self.free(source, asset) < amount:
            raise Refused(Why.BALANCE, f"{source} has {self.free(source, asset)} {asset}")
        self.account.wallets[source][asset] -= amount
        self.account.wallets[target][asset] += amount
        self.account.transfers.append((source, target, asset, amount))
        return next(self.ids)

    # ----------------------------------------------------------------------------------------------------- funding

    def fund(self, symbol: str, kind: str, rate: float | str | Decimal) -> None:
        """Pay funding now."""
        now, amount = self.now_ms(), Decimal(str(rate))
        self.advance(now)
        self.rates[symbol, kind].append((now, amount))
        self._fund(self.listings[symbol, kind], amount, now, self.mark(self.listings[symbol, kind]))

    def _fund(self, listing: Listing, rate: Decimal, at_ms: int, price: Decimal) -> None:
        held = self.account.positions[listing.name].amount
        if held:
            paid = -listing.margin(held, price).copy_sign(held) * rate
            self.account.wallets[self.wallet_of(listing)][listing.settle] += paid
            self._pay(listing, "funding", paid, held, price, rate, at_ms)

    def _pay(
        self, listing: Listing, kind: str, amount: Decimal, position: Decimal, price: Decimal, rate: Decimal, at_ms: int
    ) -> None:
        self.account.income.append(
            Income(next(self.ids), listing, kind, listing.settle, amount, position, price, rate, at_ms)
        )

    # ------------------------------------------------------------------------------------------------- in and out

    def withdraw(self, asset: str, amount: Decimal, address: str, network: str, client: str = "") -> Movement:
        """Take money out; ``amount`` is all that leaves, the fee inside.

        Raises:
            Refused: BALANCE, WITHDRAWAL (no more than the fee, no address), DUPLICATE_WITHDRAWAL.
        """
        wallet, fee = WALLETS[self.venue]["cash"], WITHDRAWAL_FEES[asset]
        if client and any(movement.client == client for movement in self.account.movements):
            raise Refused(Why.DUPLICATE_WITHDRAWAL)
        if amount <= fee or not address:
            raise Refused(Why.WITHDRAWAL, f"fee is {fee}, address {address!r}")
        if self.free(wallet, asset) < amount:
            raise Refused(Why.BALANCE, f"{wallet} has {self.free(wallet, asset)} {asset}")
        self.account.wallets[wallet][asset] -= amount
        now, number = self.now_ms(), next(self.ids)
        movement = Movement(
            f"w{number}",
            "withdrawal",
            asset,
            amount,
            fee,
            address,
            network,
            now,
            now + self.withdrawal_delay_ms,
            client,
        )
        self.account.movements.append(movement)
        if not self.withdrawal_delay_ms:
            self._complete(movement)
        return movement

    def receive(self, asset: str, amount: float | str | Decimal, txid: str) -> Movement:
        """A transaction to the deposit address has been seen on chain; credited after the delay."""
        now = self.now_ms()
        movement = Movement(
            f"d{next(self.ids)}",
            "deposit",
            asset,
            Decimal(str(amount)),
            Decimal(0),
            ADDRESS,
            "ETH",
            now,
            now + self.deposit_delay_ms,
            txid=txid,
        )
        self.account.movements.append(movement)
        if not self.deposit_delay_ms:
            self._complete(movement)
        return movement

    def _complete(self, movement: Movement) -> None:
        if movement.kind == "withdrawal" and self.withdrawals_stuck:
            return
        movement.status = "done"
        if movement.kind == "deposit":
            self.account.wallets[WALLETS[self.venue]["cash"]][movement.asset] += movement.amount
        else:
            movement.txid = movement.txid or "0x" + f"{int(movement.id[1:]):064x}"
