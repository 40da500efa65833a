"""The face of OKX: v5, a trading account and a funding account."""
