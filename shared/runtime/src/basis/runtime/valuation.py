"""What an instrument is worth: quantity x index x exchange rate x price of its asset. Pure; floats or arrays alike.

The one place that knows which market column values which instrument; monitors use it on columns, venues on single rows.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

from basis.models.instruments import INSTRUMENTS, Instrument, InstrumentType
from basis.models.market import SHARE_PRICE_COLUMN

if TYPE_CHECKING:
    from collections.abc import Mapping


class Valuation(NamedTuple):
    """How one instrument is valued."""

    instrument: Instrument
    """The instrument."""
    sign: float
    """+1 for assets, -1 for debt."""
    index_column: str | None
    """Aave index that scales the quantity; None where it is 1."""
    rate_column: str | None
    """ETH per LST; None where it is 1."""
    price_column: str | None
    """USD price of the asset; None for a perp, whose PnL settles into its margin."""
    dex_column: str | None
    """Price in ETH where the asset has no USD price of its own (reward tokens)."""


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
    price = SHARE_PRICE_COLUMN.get(found.asset)
    dex = None if price is not None else f"dex:{found.asset}WETH"
    if price is None:
        price = SHARE_PRICE_COLUMN["ETH"]
    if found.type is InstrumentType.PERP:
        price = dex = None
    sign = -1.0 if found.type is InstrumentType.DEBT_TOKEN else 1.0
    return Valuation(found, sign, index, rate, price, dex)


def unit_value_usd(key: str, market: Mapping[str, float]) -> float:
    """USD value of one unit of an instrument (negative for debt, 0 for a perp) at one tick.

    Raises:
        KeyError: the market row lacks a column that it needs.
    """
    how = valuation(key)
    if how.price_column is None:
        return 0.0
    value = how.sign * market[how.price_column]
    for column in (how.index_column, how.rate_column, how.dex_column):
        if column is not None:
            value *= market[column]
    return value
