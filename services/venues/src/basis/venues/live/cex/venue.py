"""A live exchange: :class:`basis.venues.live.interface.LiveVenue` over ccxt."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from basis.models.instruments import INSTRUMENTS, InstrumentType
from basis.models.live_cex_config import CexLiveConfig
from basis.models.operations import OperationType
from basis.venues.core.interface import VenueRefusal
from basis.venues.live.cex import account, exits, quotes
from basis.venues.live.cex.clients import Credentials
from basis.venues.live.cex.connection import Connection
from basis.venues.live.cex.profiles import PROFILES
from basis.venues.live.cex.settlements import Seen, settled
from basis.venues.live.cex.trades import Trades
from basis.venues.live.cex.transfers import Transfers
from basis.venues.live.cex.wallets import Wallets
from basis.venues.live.errors import Fatal, ProvedFailure

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence
    from datetime import datetime

    from basis.models.execution import ExecutionHandshake
    from basis.models.messages import Settlement
    from basis.models.order import Order
    from basis.models.venue_config import MarketConfig
    from basis.runtime.clock import Clock
    from basis.venues.live.cex.account import Margin
    from basis.venues.live.cex.units import Market
    from basis.venues.live.interface import Prepared


class LiveExchange:
    """binance, bybit or okx.

    Args:
        venue: which.
        keys: instrument keys that the mode may hold, of all venues.
        config: how it is talked to.
        credentials: keys of the account; None: it opens and quotes, and everything else is refused (paper runs).
        clock: engine time.
        markets: the mode's own limits by market, e.g. ``BTCUSDT-PERP``; the exchange's own are kept besides.
    """

    operations = frozenset({OperationType.SPOT_TRADE, OperationType.PERP_TRADE, OperationType.TRANSFER})

    def __init__(
        self,
        venue: str,
        keys: Collection[str],
        config: CexLiveConfig,
        credentials: Credentials | None,
        clock: Clock,
        markets: Mapping[str, MarketConfig] | None = None,
    ) -> None:
        self.name = venue
        self._profile = PROFILES[venue]
        self._keys = tuple(key for key in keys if key in INSTRUMENTS and INSTRUMENTS[key].venue == venue)
        self._all_keys = frozenset(keys)
        self._link = Connection(venue, config, credentials, clock)
        self._wallets = Wallets(self._link, self._profile, keys)
        self._trades = Trades(self._link, self._profile, self._wallets, markets or {})
        self._transfers = Transfers(self._link, self._profile, self._wallets, keys)
        self._perps: dict[str, Market] = {}
        self._spots: dict[str, Market] = {}
        self._seen: Seen = {}
        self._has_keys = credentials is not None

    def __repr__(self) -> str:
        return f"LiveExchange({self.name!r})"

    async def open(self) -> None:
        """Check clock, keys and account, load markets, move idle money to where it is margin.

        Raises:
            LiveVenueError: VEN-011 the clocks differ; VEN-005 the keys are refused; VEN-009 fees are charged in BNB; VEN-003
                no answer.
            VenueRefusal: VEN-001, the exchange does not trade a perp that the mode may hold.
        """
        await self._link.open()
        for key in self._keys:
            found = INSTRUMENTS[key]
            if found.type is InstrumentType.PERP:
                self._perps[found.symbol] = self._trades.market(found.symbol, perp=True)
            elif found.symbol != "USDT":
                self._spots[found.symbol] = self._trades.market(f"{found.symbol}USDT", perp=False)
        if not self._has_keys:
            return
        await self._require_own_fees()
        await self._wallets.home()
        for market in self._perps.values():
            if await self._profile.open_exits(self._link, market):
                self._trades.exits_at.add(market.symbol)

    async def _require_own_fees(self) -> None:
        """Fees in BNB would come out of what no mode holds."""
        if self.name != "binance":
            return
        client = self._link.client
        spot = await self._link.ask("fee token", client.sapiGetBnbBurn)
        burns = bool(spot.get("spotBNBBurn"))
        if any(not market.inverse for market in self._perps.values()):
            futures = await self._link.ask("fee token", client.fapiPrivateGetFeeBurn)
            burns = burns or bool(futures.get("feeBurn"))
        if burns:
            message = (
                "fees are paid in BNB, which no mode holds: turn 'use BNB to pay for fees' off, for spot and futures"
            )
            raise Fatal("VEN-009", message, self.name)

    async def close(self) -> None:
        """Let go of connections."""
        await self._link.close()

    # ------------------------------------------------------------------------------------------------------ orders

    def _require_keys(self) -> None:
        if not self._has_keys:
            prefix = f"BASIS_{self.name.upper()}_API_"
            raise Fatal("VEN-005", f"no keys: set {prefix}KEY and {prefix}SECRET, or the same with _FILE", self.name)

    def _one(self, orders: Sequence[Order]) -> Order:
        if len(orders) != 1:
            message = f"an exchange takes orders one by one, got {len(orders)}: nothing here is atomic"
            raise VenueRefusal("VEN-009", message, self.name)
        (order,) = orders
        if order.venue != self.name or order.operation not in self.operations:
            raise VenueRefusal("VEN-001", f"{self.name} does not offer {order.operation} for {order.venue}", self.name)
        if order.atomic_group_id is not None:
            raise VenueRefusal(
                "VEN-009", f"{self.name}: nothing at an exchange is a step of an atomic group", self.name
            )
        return order

    def _require_held(self, order: Order) -> None:
        pair = str(order.pair)
        if order.operation is OperationType.PERP_TRADE:
            market = self._trades.market(pair, perp=True)
            needed = (f"{self.name}:Perp:{pair}", f"{self.name}:BaseToken:{market.margin}")
        else:
            market = self._trades.market(pair, perp=False)
            needed = (f"{self.name}:BaseToken:{market.base}", f"{self.name}:BaseToken:USDT")
        for key in needed:
            if key not in self._all_keys:
                raise VenueRefusal("VEN-001", f"{pair}: the mode does not hold {key!r}", self.name)

    async def prepare(self, orders: Sequence[Order]) -> Prepared:
        """One order: check it against the market's limits; send nothing.

        Raises:
            VenueRefusal: VEN-001, VEN-007, VEN-009; see :mod:`basis.venues.live.cex.units`.
            LiveVenueError: a price or a fee that is needed for it cannot be read.
        """
        order = self._require_offered(orders)
        if order.operation is OperationType.TRANSFER:
            return await self._transfers.prepare(order)
        return await self._trades.prepare(order)

    def prepare_at_once(self, orders: Sequence[Order]) -> Prepared | None:
        """A trade that brings its price along; the fee of a withdrawal has to be asked for.

        Raises:
            VenueRefusal: as :meth:`prepare`.
        """
        order = self._require_offered(orders)
        return None if order.operation is OperationType.TRANSFER else self._trades.prepare_at_once(order)

    def _require_offered(self, orders: Sequence[Order]) -> Order:
        order = self._one(orders)
        self._require_keys()
        if order.operation is not OperationType.TRANSFER:
            self._require_held(order)
        return order

    async def send(self, orders: Sequence[Order], prepared: Prepared) -> tuple[ExecutionHandshake, ...]:
        """Send once, follow to the end. Never raises for what the exchange says: see LiveVenue."""
        order = self._one(orders)
        done = self._transfers.send if order.operation is OperationType.TRANSFER else self._trades.send
        return (await done(order, prepared),)

    async def resolve(self, orders: Sequence[Order], prepared: Prepared) -> tuple[ExecutionHandshake, ...]:
        """What became of it, by its client order id; VEN-014 is proof that it never arrived, and never will."""
        order = self._one(orders)
        done = self._transfers.resolve if order.operation is OperationType.TRANSFER else self._trades.resolve
        return (await done(order, prepared),)

    async def protect(self, order: Order, purposes: Sequence[str]) -> Mapping[str, str] | None:
        """Set exits of an entry that are not there: purpose -> why it is still missing; None where its position is gone.

        Raises:
            LiveVenueError: it cannot be read whether they are.
            VenueRefusal: VEN-001, the perp is not traded any more.
        """
        self._require_keys()
        return await self._trades.protect(order, purposes)

    async def cancel_all(self) -> int:
        """Cancel every open order of the mode's markets, conditional ones too.

        Raises:
            LiveVenueError: the first failure, once all markets have been asked.
        """
        self._require_keys()
        # one market that fails does not keep the others from it
        told = await asyncio.gather(*(self._cancel_at(market) for market in self._markets()), return_exceptions=True)
        failures = [one for one in told if isinstance(one, BaseException)]
        if failures:
            raise failures[0]
        return sum(one for one in told if isinstance(one, int))

    async def _cancel_at(self, market: Market) -> int:
        link, done = self._link, 0
        for row in await link.ask("open orders", link.client.fetch_open_orders, market.symbol):
            if row.get("triggerPrice"):
                continue  # below
            try:
                await link.send("cancel", link.client.cancel_order, str(row["id"]), market.symbol)
            except ProvedFailure:
                continue  # filled in the meantime
            done += 1
        return done + (await exits.cancel(link, self._profile, market) if market.perp else 0)

    def _markets(self) -> list[Market]:
        return [*self._spots.values(), *self._perps.values()]

    # --------------------------------------------------------------------------------------------------- questions

    async def balances(self, keys: Sequence[str]) -> Mapping[str, float]:
        """Instrument key -> what the exchange says; keys of other venues are left out.

        Raises:
            LiveVenueError: they cannot be read.
        """
        self._require_keys()
        mine = [key for key in keys if key in self._keys]
        return await account.balances(self._link, self._profile, self._wallets, mine, self._perps)

    async def margins(self) -> Mapping[str, Margin]:
        """Margin token -> equity, free margin and notional of its perps, as the exchange sees them.

        Raises:
            LiveVenueError: they cannot be read.
        """
        self._require_keys()
        return await account.margins(self._link, self._profile, self._wallets, self._perps)

    async def settlements(self, since: datetime, until: datetime) -> Sequence[Settlement]:
        """Funding, liquidations, take profits, stop losses and deposits in (since, until], by time.

        Raises:
            LiveVenueError: they cannot be read in full.
        """
        bounds = (round(since.timestamp() * 1000), round(until.timestamp() * 1000))
        self._require_keys()
        perps = list(self._perps.values())
        found = await settled(
            self._link, self._profile, perps, self._wallets.tokens, self._all_keys, self._seen, *bounds
        )
        arrived = [one for one in found if any("BaseToken" in key for key in one.deltas)]
        if arrived:
            self._wallets.touch(*(key.rsplit(":", 1)[1] for one in arrived for key in one.deltas))
            await self._wallets.home()
        return found

    async def market(self, columns: Sequence[str]) -> Mapping[str, tuple[float, datetime]]:
        """Columns of this exchange; see :mod:`basis.venues.live.cex.quotes`.

        Raises:
            LiveVenueError: one cannot be read.
        """
        return await quotes.market(self._link, self._profile, self._trades, columns)

    async def check_clock(self) -> int:
        """How much the exchange's clock is ahead of ours, milliseconds.

        Raises:
            Fatal: VEN-011, too much.
        """
        return await self._link.check_clock()
