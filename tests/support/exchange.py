"""Unmodified ccxt clients of the local exchanges."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from basis.testkit.exchange import ExchangeServer

VENUES = ("binance", "bybit", "okx")
SPOT, PERP, INVERSE = "ETH/USDT", "ETH/USDT:USDT", "BTC/USD:BTC"
TYPES = {"binance": ["spot", "linear", "inverse"], "bybit": ["spot", "linear"], "okx": ["spot", "swap"]}


@asynccontextmanager
async def ccxt_client(server: ExchangeServer, **settings: Any) -> AsyncIterator[Any]:
    """A client that is pointed at the server, and closed after use."""
    import ccxt.async_support as ccxt

    keys = server.credentials
    found = getattr(ccxt, server.venue)(
        {
            "apiKey": keys.key,
            "secret": keys.secret,
            "password": keys.password,
            "timeout": 1000,
            "enableRateLimit": False,
            "options": {"fetchMarkets": {"types": TYPES[server.venue]}},
        }
        | settings
    )
    found.urls["api"] = {name: server.url + urlsplit(url).path for name, url in found.urls["api"].items()}
    try:
        yield found
    finally:
        await found.close()


def fund(server: ExchangeServer, usdt: float = 100_000, btc: float = 0.0) -> None:
    """Money in every wallet of the account."""
    wallets = {"binance": ("spot", "linear", "inverse"), "bybit": ("unified", "fund"), "okx": ("trading", "funding")}
    for wallet in wallets[server.venue]:
        server.exchange.deposit(wallet, "USDT", usdt)
        if btc:
            server.exchange.deposit(wallet, "BTC", btc)
