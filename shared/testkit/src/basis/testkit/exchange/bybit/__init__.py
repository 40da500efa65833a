"""The face of Bybit: v5, one unified trading account and a funding wallet."""
