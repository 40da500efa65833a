"""What an account holds at an exchange, in the units of the system."""

from __future__ import annotations

from collections import defaultdict
from decimal import Decimal
from typing import TYPE_CHECKING, Any, NamedTuple

from basis.models.instruments import INSTRUMENTS, InstrumentType
from basis.venues.live.cex.connection import together
from basis.venues.live.errors import ProvedFailure

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from basis.venues.live.cex.connection import Connection
    from basis.venues.live.cex.profiles import Profile, Row
    from basis.venues.live.cex.units import Market
    from basis.venues.live.cex.wallets import Holdings, Wallets


class Margin(NamedTuple):
    """A margin account as the exchange sees it."""

    token: str
    """Token that it is in."""
    equity: float
    """Balance with unrealised PnL."""
    free: float
    """What no position needs."""
    notional: float
    """Of all perps that settle in it, in the token."""
    ratio: float | None
    """Equity over notional; None without perps."""


async def positions(link: Connection, profile: Profile, markets: Sequence[Market]) -> dict[str, Row]:
    """ccxt's symbol -> open position, for perps that have one.

    Raises:
        LiveVenueError: they cannot be read.
    """

    async def one(market: Market) -> tuple[str, Row | None]:
        params = {"subType": "inverse"} if market.inverse else {}
        rows = await link.ask("positions", link.client.fetch_positions, [market.symbol], params)
        rows = [row for row in rows if row.get("symbol") == market.symbol and row.get("contracts")]
        if len(rows) > 1:
            message = f"{market.symbol}: {len(rows)} positions; the account must be in one-way mode"
            raise ProvedFailure("VEN-009", message, profile.venue)
        return market.symbol, rows[0] if rows else None

    found = await together(*(one(market) for market in markets))
    return {symbol: row for symbol, row in found if row is not None}


def quantity(row: Row | None, market: Market) -> Decimal:
    """Signed size of a position: base units, USD where inverse.

    Raises:
        ProvedFailure: VEN-009, it does not say which side it is on.
    """
    if row is None:
        return Decimal(0)
    size = abs(Decimal(str(row["contracts"]))) * market.contract
    if row.get("side") not in {"long", "short"}:
        raise ProvedFailure("VEN-009", f"{market.symbol}: a position without a side", market.symbol)
    return size if row["side"] == "long" else -size


async def position(link: Connection, profile: Profile, market: Market) -> Decimal:
    """Signed size of a position now.

    Raises:
        LiveVenueError: it cannot be read.
    """
    return quantity((await positions(link, profile, [market])).get(market.symbol), market)


async def balances(
    link: Connection, profile: Profile, wallets: Wallets, keys: Sequence[str], markets: Mapping[str, Market]
) -> dict[str, float]:
    """Instrument key -> what the exchange says: tokens over all wallets with unrealised PnL, and signed perps.

    Args:
        link: the exchange.
        profile: where it differs from others.
        wallets: its wallets.
        keys: keys of this venue.
        markets: perp symbol of the system -> its market.

    Raises:
        LiveVenueError: they cannot be read.
    """
    perps = [key for key in keys if INSTRUMENTS[key].type is InstrumentType.PERP]
    held, open_ = await _both(link, profile, wallets, [markets[INSTRUMENTS[key].symbol] for key in perps])
    totals: dict[str, Decimal] = defaultdict(Decimal)
    for (_, token), one in held.items():
        totals[token] += one.total
    found = {}
    for key in keys:
        symbol = INSTRUMENTS[key].symbol
        if key in perps:
            found[key] = float(quantity(open_.get(markets[symbol].symbol), markets[symbol]))
        else:
            found[key] = float(totals[symbol])
    return found


async def margins(
    link: Connection, profile: Profile, wallets: Wallets, markets: Mapping[str, Market]
) -> dict[str, Margin]:
    """Margin token -> its account, for the perps of the mode.

    Raises:
        LiveVenueError: it cannot be read.
    """
    held, open_ = await _both(link, profile, wallets, list(markets.values()))
    found = {}
    for token in sorted({market.margin for market in markets.values()}):
        mine = [market for market in markets.values() if market.margin == token]
        account = held.get((profile.wallet(mine[0]), token))
        if account is None:
            continue
        notional = Decimal(0)
        for market in mine:
            row = open_.get(market.symbol)
            if row is not None:
                mark = Decimal(str(row["markPrice"]))
                size = abs(quantity(row, market))
                notional += size / mark if market.inverse else size * mark
        ratio = float(account.total / notional) if notional else None
        found[token] = Margin(token, float(account.total), float(account.free), float(notional), ratio)
    return found


async def _both(
    link: Connection, profile: Profile, wallets: Wallets, markets: Sequence[Market]
) -> tuple[Holdings, dict[str, Row]]:
    """Wallets and positions, at one time."""
    told: list[Any] = await together(wallets.read(), positions(link, profile, markets))
    held, open_ = told
    return held, open_
