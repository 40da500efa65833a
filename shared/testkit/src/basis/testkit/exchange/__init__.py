"""Exchanges to test against: real HTTP servers on loopback that unmodified ccxt takes for binance, bybit and okx.

One core (accounts, matching, funding, withdrawals, faults) behind three faces. Start one with::

    with ExchangeServer("binance") as server:
        server.exchange.deposit("spot", "USDT", 100_000)
        ...  # server.url, server.credentials

or as a process of its own, with its control interface over HTTP: ``python -m basis.testkit.exchange --venue binance``.
"""

from basis.testkit.exchange.server import ExchangeServer

__all__ = ["ExchangeServer"]
