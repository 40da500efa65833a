"""Markets of the local exchanges: the same lots, ticks and least notionals as ``configs/venues`` (a test compares them)."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Literal, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping

Kind = Literal["spot", "linear", "inverse"]


class Listing(NamedTuple):
    """One market."""

    symbol: str
    """Symbol of the system, e.g. ETHUSDT; BTCUSD for the inverse perp."""
    kind: Kind
    """Spot, perp margined in the quote, perp margined in the base."""
    lot: Decimal
    """Smallest step of an amount: base units, or USD where inverse."""
    tick: Decimal
    """Smallest step of a price."""
    min_notional: Decimal
    """Smallest order in quote currency."""
    contract: Decimal
    """What one contract of the exchange's own is: base units, or USD where inverse; 1 where it counts in base units."""

    @property
    def base(self) -> str:
        """Asset that is traded."""
        return self.symbol.removesuffix("USDT").removesuffix("USD")

    @property
    def quote(self) -> str:
        """Asset that prices are in."""
        return "USD" if self.kind == "inverse" else "USDT"

    @property
    def settle(self) -> str:
        """Asset that PnL and margin are in."""
        return self.base if self.kind == "inverse" else "USDT"

    @property
    def name(self) -> tuple[str, Kind]:
        """Identity."""
        return self.symbol, self.kind

    def notional(self, amount: Decimal, price: Decimal) -> Decimal:
        """Size in quote currency."""
        return abs(amount) if self.kind == "inverse" else abs(amount) * price

    def margin(self, amount: Decimal, price: Decimal) -> Decimal:
        """Size in the settlement asset."""
        return self.notional(amount, price) / price if self.kind == "inverse" else self.notional(amount, price)

    def pnl(self, amount: Decimal, entry: Decimal, price: Decimal) -> Decimal:
        """What a position made between two prices, in the settlement asset."""
        if not amount:
            return Decimal(0)
        return amount * (1 / entry - 1 / price) if self.kind == "inverse" else amount * (price - entry)


def _rows(*rows: tuple[str, Kind, str, str, str, str]) -> dict[tuple[str, Kind], Listing]:
    found = [
        Listing(symbol, kind, Decimal(lot), Decimal(tick), Decimal(least), Decimal(size))
        for symbol, kind, lot, tick, least, size in rows
    ]
    return {listing.name: listing for listing in found}


LISTINGS: Mapping[str, Mapping[tuple[str, Kind], Listing]] = {
    "binance": _rows(
        ("BTCUSDT", "spot", "0.00001", "0.01", "5", "1"),
        ("ETHUSDT", "spot", "0.0001", "0.01", "5", "1"),
        ("BTCUSDT", "linear", "0.001", "0.1", "100", "1"),
        ("ETHUSDT", "linear", "0.001", "0.01", "20", "1"),
        ("BTCUSD", "inverse", "100", "0.1", "100", "100"),
    ),
    "bybit": _rows(
        ("BTCUSDT", "spot", "0.000001", "0.01", "5", "1"),
        ("ETHUSDT", "spot", "0.00001", "0.01", "5", "1"),
        ("BTCUSDT", "linear", "0.001", "0.1", "5", "1"),
        ("ETHUSDT", "linear", "0.01", "0.01", "5", "1"),
    ),
    "okx": _rows(
        ("BTCUSDT", "spot", "0.00000001", "0.1", "1", "1"),
        ("ETHUSDT", "spot", "0.000001", "0.01", "1", "1"),
        ("BTCUSDT", "linear", "0.0001", "0.1", "5", "0.01"),
        ("ETHUSDT", "linear", "0.001", "0.01", "5", "0.1"),
    ),
}
"""Venue -> (symbol, kind) -> market."""

ASSETS = ("USDT", "ETH", "BTC")
"""What accounts hold, and can move in and out."""
WITHDRAWAL_FEES: Mapping[str, Decimal] = {"USDT": Decimal(1), "ETH": Decimal("0.0012"), "BTC": Decimal("0.0002")}
"""Asset -> fee of a withdrawal, in the asset."""
MAX_LEVERAGE = Decimal(20)
"""Initial margin is notional over this."""
MAINTENANCE = Decimal("0.004")
"""Maintenance margin, a fraction of notional."""
