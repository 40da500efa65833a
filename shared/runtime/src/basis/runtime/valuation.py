"""What an instrument is worth: quantity x index x exchange rate x price of its asset. Pure; floats or arrays alike.

The one place that knows which market column values which instrument in a mode; monitors use it on columns, venues and
strategies on single rows. A column quoted in the share class is used as it is, so that no rate cancels only nearly.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from basis.models.errors import ComponentError
from basis.models.instruments import INSTRUMENTS, Instrument, InstrumentType
from basis.models.market import AssetPrice, asset_prices

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np
    from numpy.typing import NDArray

    from basis.models.config import RunConfig

T = TypeVar("T", float, "NDArray[np.float64]")


class Valuation(NamedTuple):
    """How one instrument converts to units of its asset."""

    instrument: Instrument
    """The instrument."""
    sign: float
    """+1 for assets, -1 for debt, 0 for a perp, whose PnL settles into its margin."""
    index_column: str | None
    """Aave index that scales the quantity; None where it is 1."""
    rate_column: str | None
    """ETH per LST; None where it is 1."""


@lru_cache(maxsize=256)
def valuation(key: str) -> Valuation:
    """How an instrument of the registry is valued."""
    found = INSTRUMENTS[key]
    index = None
    if found.venue == "aave_v3":
        kind = "liquidity_index" if found.type is InstrumentType.A_TOKEN else "borrow_index"
        index = f"{kind}:{found.underlying}"
    token = found.symbol if found.type is InstrumentType.LST else found.underlying
    rate = f"oracle_price_eth:{token}" if token in {"weETH", "wstETH"} else None
    signs = {InstrumentType.DEBT_TOKEN: -1.0, InstrumentType.PERP: 0.0}
    return Valuation(found, signs.get(found.type, 1.0), index, rate)


class Valuer:
    """Values the instruments of one mode.

    Args:
        prices: asset -> where its price comes from.
        currency: share class.
    """

    def __init__(self, prices: Mapping[str, AssetPrice], currency: str) -> None:
        self._prices = prices
        self._currency = currency

    @classmethod
    def of(cls, config: RunConfig) -> Valuer:
        """The valuer of a configuration."""
        return cls(asset_prices(config.position_subscriptions), config.share_class.currency)

    @property
    def currency(self) -> str:
        """Share class."""
        return self._currency

    def usd(self, asset: str, market: Mapping[str, T]) -> T:
        """USD price of an asset.

        Raises:
            ComponentError: PNL-002, the asset has no price in this mode, or the market lacks a column of it.
        """
        source = self._source(asset)
        price = _read(market, source.column)
        return price if source.quote == "USD" else price * self.usd(source.quote, market)

    def share_usd(self, market: Mapping[str, T]) -> T:
        """USD price of the share class."""
        return self.usd(self._currency, market)

    def share(self, asset: str, market: Mapping[str, T]) -> T:
        """Price of an asset in the share class, exactly 1 where they are the same.

        Raises:
            ComponentError: as :meth:`usd`.
        """
        if asset == self._currency:
            column = _read(market, self._source(asset).column)
            return column * 0.0 + 1.0
        source = self._source(asset)
        if source.quote == self._currency:
            return _read(market, source.column)
        own = self._source(self._currency)
        if own.quote == asset:
            return 1.0 / _read(market, own.column)
        if source.quote not in {"USD", "USDT"}:
            return _read(market, source.column) * self.share(source.quote, market)
        return self.usd(asset, market) / self.usd(self._currency, market)

    def unit_usd(self, key: str, market: Mapping[str, float]) -> float:
        """USD value of one unit of an instrument at one tick: negative for debt, 0 for a perp."""
        how = valuation(key)
        return 0.0 if how.sign == 0.0 else how.sign * self.usd(how.instrument.asset, market) * _units(how, market)

    def unit_share(self, key: str, market: Mapping[str, float]) -> float:
        """Share-class value of one unit of an instrument at one tick: negative for debt, 0 for a perp."""
        how = valuation(key)
        return 0.0 if how.sign == 0.0 else how.sign * self.share(how.instrument.asset, market) * _units(how, market)

    def _source(self, asset: str) -> AssetPrice:
        source = self._prices.get(asset)
        if source is None:
            raise ComponentError("PNL-002", f"{asset} has no price: known: {', '.join(self._prices)}", "valuation")
        return source


def _units(how: Valuation, market: Mapping[str, float]) -> float:
    units = 1.0
    for column in (how.index_column, how.rate_column):
        if column is not None:
            units *= _read(market, column)
    return units


def _read(market: Mapping[str, T], column: str) -> T:
    found = market.get(column)
    if found is None:
        raise ComponentError("PNL-002", f"the market lacks column {column!r}", "valuation")
    return found
