"""Exchanges through ccxt: binance, bybit, okx. ccxt itself is imported when a connection is made, and never by a backtest."""
