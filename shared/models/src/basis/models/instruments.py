"""Instruments: the keys that positions are held under, and the registry of all that exist.

A key is ``venue:type:symbol``, e.g. ``aave_v3:aToken:aUSDT``. Amounts: tokens in tokens; aToken and debtToken in
**scaled** quantity (constant between actions, debt stored positive); Perp in signed base quantity, short negative
(inverse contracts: signed USD contracts).
"""

from __future__ import annotations

import re
from enum import StrEnum
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple

from basis.models.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Mapping

_KEY = re.compile(r"([a-z0-9_]+):(BaseToken|aToken|debtToken|LST|Perp):([A-Za-z0-9]+)")


class InstrumentType(StrEnum):
    """Kind of an instrument; decides the unit of its quantity and how it is valued."""

    BASE_TOKEN = "BaseToken"
    A_TOKEN = "aToken"
    DEBT_TOKEN = "debtToken"
    LST = "LST"
    PERP = "Perp"


class Venue(StrEnum):
    """Every venue that the system knows."""

    WALLET = "wallet"
    AAVE_V3 = "aave_v3"
    LIDO = "lido"
    ETHERFI = "etherfi"
    UNISWAP = "uniswap"
    MORPHO = "morpho"
    BINANCE = "binance"
    BYBIT = "bybit"
    OKX = "okx"
    TRANSIT = "transit"
    """Not a counterpart: tokens that have left one venue and not reached the other. Counted once, usable nowhere."""


CLIENT = "client"
"""Target of a transfer that pays capital back to the owner of the account; no venue, holds nothing."""
CEX_VENUES = (Venue.BINANCE, Venue.BYBIT, Venue.OKX)
"""Centralised exchanges, in the order in which orders are sent to them."""


class InstrumentKey(NamedTuple):
    """A parsed instrument key."""

    venue: str
    """Venue that holds it."""
    type: InstrumentType
    """Kind."""
    symbol: str
    """Symbol at the venue, e.g. ``aUSDT``."""

    def __str__(self) -> str:
        return f"{self.venue}:{self.type}:{self.symbol}"


class Instrument(NamedTuple):
    """One entry of the registry."""

    key: str
    """``venue:type:symbol``."""
    venue: str
    """Venue that holds it."""
    type: InstrumentType
    """Kind."""
    symbol: str
    """Symbol at the venue."""
    asset: str
    """Base asset whose price values it: USDT, ETH, BTC, EIGEN, ...; WETH is ETH 1:1."""
    underlying: str
    """Token that the quantity converts to before pricing: itself, or weETH for aweETH, ETH for weETH, ..."""
    decimals: int
    """Smallest unit is 10**-decimals tokens."""


TOKEN_DECIMALS: Mapping[str, int] = MappingProxyType(
    {"USDT": 6, "ETH": 18, "WETH": 18, "BTC": 8, "weETH": 18, "wstETH": 18, "EIGEN": 18, "ETHFI": 18, "KING": 18}
)
"""Token -> decimals of its smallest unit (wei, ticks)."""

AAVE_RESERVES = ("USDT", "WETH", "weETH", "wstETH")
"""Tokens with an Aave v3 reserve."""


def asset_of(token: str) -> str:
    """Base asset of a token: ETH for ETH, WETH, weETH and wstETH, else the token itself."""
    return "ETH" if token in {"ETH", "WETH", "weETH", "wstETH"} else token


LST_VENUES: Mapping[str, Venue] = MappingProxyType({"weETH": Venue.ETHERFI, "wstETH": Venue.LIDO})
"""LST -> protocol that issues it."""
LST_OF: Mapping[Venue, str] = MappingProxyType({venue: lst for lst, venue in LST_VENUES.items()})
"""Protocol -> its LST."""


def holding_key(token: str) -> str:
    """Instrument that a token is on chain while it is not supplied: the LST of its protocol, else in the wallet."""
    venue = LST_VENUES.get(token)
    return f"{venue}:LST:{token}" if venue else f"wallet:BaseToken:{wallet_token(token)}"


def wallet_token(token: str) -> str:
    """Symbol under which the wallet holds a token: WETH and ETH are one token there, as ETH."""
    return "ETH" if token == "WETH" else token


def _entries() -> list[Instrument]:
    base, perp = InstrumentType.BASE_TOKEN, InstrumentType.PERP
    rows: list[tuple[str, InstrumentType, str, str, int]] = [
        ("wallet", base, token, token, TOKEN_DECIMALS[token])
        for token in ("USDT", "ETH", "BTC", "EIGEN", "ETHFI", "KING")
    ]
    for token in AAVE_RESERVES:
        rows.append(("aave_v3", InstrumentType.A_TOKEN, f"a{token}", token, TOKEN_DECIMALS[token]))
        rows.append(("aave_v3", InstrumentType.DEBT_TOKEN, f"debt{token}", token, TOKEN_DECIMALS[token]))
    rows.append(("etherfi", InstrumentType.LST, "weETH", "ETH", 18))
    rows.append(("lido", InstrumentType.LST, "wstETH", "ETH", 18))
    # claims in the unstake queue of each protocol
    rows += [(venue, base, "ETH", "ETH", 18) for venue in ("etherfi", "lido")]
    rows += [("transit", base, token, token, TOKEN_DECIMALS[token]) for token in ("USDT", "ETH", "BTC")]
    rows.append(("morpho", InstrumentType.DEBT_TOKEN, "flashWETH", "WETH", 18))
    for venue in CEX_VENUES:
        rows += [(venue, base, token, token, 8) for token in ("USDT", "ETH", "BTC")]
        rows += [(venue, perp, f"{asset}USDT", asset, 8) for asset in ("BTC", "ETH")]
    rows.append(("binance", perp, "BTCUSD", "BTC", 0))
    return [
        Instrument(f"{venue}:{kind}:{symbol}", venue, kind, symbol, asset_of(underlying), underlying, decimals)
        for venue, kind, symbol, underlying, decimals in rows
    ]


INSTRUMENTS: Mapping[str, Instrument] = MappingProxyType({entry.key: entry for entry in _entries()})
"""Key -> instrument, every one that a mode may subscribe to."""


def is_inverse(symbol: str) -> bool:
    """True for a perp that is margined in its base asset: BTCUSD; quantity in USD contracts, PnL in BTC."""
    return symbol.endswith("USD")


def margin_token(symbol: str) -> str:
    """Token that a perp's PnL, funding and fees are settled in: USDT for BTCUSDT, BTC for the inverse BTCUSD."""
    return symbol.removesuffix("USD") if is_inverse(symbol) else "USDT"


def margin_key(venue: str, symbol: str) -> str:
    """Balance that a perp of a venue settles into, e.g. ``binance:BaseToken:USDT``."""
    return f"{venue}:BaseToken:{margin_token(symbol)}"


def split_key(key: str) -> InstrumentKey:
    """Parse ``venue:type:symbol``.

    Raises:
        ValueError: not of that form; names the key and the form.
    """
    match = _KEY.fullmatch(key)
    if match is None:
        kinds = "|".join(InstrumentType)
        raise ValueError(f"instrument key {key!r} is not venue:type:symbol with type one of {kinds}")
    return InstrumentKey(match[1], InstrumentType(match[2]), match[3])


def instrument(key: str) -> Instrument:
    """Look a key up in the registry.

    Raises:
        InputError: POS-002, unknown key; lists those of the same venue.
    """
    found = INSTRUMENTS.get(key)
    if found is None:
        venue = key.split(":", 1)[0]
        known = ", ".join(sorted(k for k in INSTRUMENTS if k.startswith(f"{venue}:"))) or ", ".join(Venue)
        raise InputError("POS-002", f"unknown instrument {key!r}; known here: {known}", "instrument_registry")
    return found
